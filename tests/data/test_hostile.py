"""Broken files: a one-line reason, or only right frames; never a copy in place of a frame, never a blow-up."""

import csv
import os
import pickle
import subprocess
import sys

import av
import numpy as np
import pytest

from objadapt.config import Sampling
from objadapt.data.clip import read_clip
from objadapt.data.decode import DecodeError, decode_frames, probe, scan


@pytest.fixture(scope="module")
def listed(shared) -> list[tuple[str, str]]:
    """(path, valid) of every file of the folder: "yes", "no" or "partly"."""
    with open(shared / "hostile/manifest.csv", newline="") as file:
        return [(str(shared / "hostile" / row["file"]), row["valid"]) for row in csv.DictReader(file)]


def really_decoded(path: str) -> list[np.ndarray]:
    """Every frame up to the first error, [H, W, 3] each."""
    frames = []
    try:
        with av.open(path) as container:
            for frame in container.decode(video=0):
                frames.append(frame.to_ndarray(format="rgb24"))
    except (av.FFmpegError, IndexError):
        pass
    return frames


def test_valid_files_are_read_and_the_rest_refused_or_right(listed):
    refused = set()
    for path, valid in listed:
        try:
            clip = read_clip(path, None, None, Sampling(frames=8))
        except DecodeError as error:
            assert valid != "yes", path
            assert error.reason and "\n" not in str(error) and error.stage in ("open", "demux", "decode")
            refused.add(path.rpartition("/")[2])
            continue
        assert valid != "no", path
        real = really_decoded(path)
        for frame, i in zip(clip.frames, clip.frame_index, strict=True):
            assert (frame == real[i]).all(), (path, i)
    # those that other readers give without an error, with copies of old frames in them
    assert {"size_change.ts", "truncated.avi", "truncated_faststart.mp4"} <= refused


def test_what_decodes_before_the_damage_is_right(listed):
    for name in ("corrupt_middle.mp4", "decord_corrupted.mp4"):
        path = next(path for path, _ in listed if path.endswith(name))
        real = really_decoded(path)
        info = probe(path)
        for i in range(info.num_frames):
            try:
                frames, _ = decode_frames(path, np.array([i]), info)
            except DecodeError:
                continue
            assert i < len(real) and (frames[0] == real[i]).all(), (name, i)


def test_scan_names_what_is_broken(listed):
    reasons = {}
    for path, valid in listed:
        try:
            frames, decoder = scan(path)
            assert valid != "no" and frames == len(really_decoded(path)) and decoder in ("decord", "pyav")
        except DecodeError as error:
            assert valid != "yes"
            reasons[path.rpartition("/")[2]] = str(error)
    assert reasons["truncated.avi"] == "demux: container promises 109 frames, 62 are there"
    assert reasons["truncated_faststart.mp4"] == "demux: container promises 30 frames, 9 are there"
    assert reasons["size_change.ts"] == "decode: picture size changes from 426x240 to 320x180"
    assert reasons["audio_only.mp4"] == "open: no video stream"
    assert reasons["init_segment_only.mp4"] == "demux: the video stream has no frames"
    assert reasons["corrupt_middle.mp4"].startswith("decode: container promises 30 frames, frame 5 fails")
    assert reasons["decord_corrupted.mp4"].startswith("decode: container promises 50 frames, frame 28 fails")


@pytest.mark.parametrize(
    "name", ["misc/kinetics_flipping_a_pancake.mkv", "variants/vp9.webm", "variants/h264_fragmented.mp4"]
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_broken_off_download_is_noticed(shared, tmp_path, name, share):
    """No index and no number of frames says so in these containers."""
    source = shared / "clips" / name
    cut = tmp_path / source.name
    cut.write_bytes(source.read_bytes()[: int(source.stat().st_size * share)])
    with pytest.raises(DecodeError):
        scan(str(cut))


def test_names_are_not_protocols_and_play_lists_are_not_videos(shared, tmp_path, monkeypatch):
    """ffmpeg would follow both to other files of the machine."""
    video = shared / "clips/variants/h264_faststart.mp4"
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{video}'\n")
    (tmp_path / "playlist.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n")
    (tmp_path / "12:30.mp4").write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)
    protocols = (f"concat:{video}", f"subfile,,start,0,end,0,,:{video}")
    for path in ("list.mp4", "playlist.mp4", *protocols, ".", "no\0name", "absent.mp4"):
        with pytest.raises(DecodeError, match="^open: "):
            probe(path)
    assert decode_frames("12:30.mp4", np.array([0, 29]), decoder="decord")[1] == "decord"


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    (tmp_path / "device.mp4").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "device.mp4", tmp_path / "pipe.mp4"):
        for read in (probe, scan, lambda path: read_clip(path, None, None, Sampling(frames=2))):
            with pytest.raises(DecodeError, match="^open: no file, but a pipe, a socket or a device"):
                read(str(path))


def test_random_bytes_never_get_through(shared, tmp_path):
    """Bytes overwritten at random: a DecodeError, or frames of the right shape; nothing else."""
    source = (shared / "clips/variants/h264_bframes_longgop.mp4").read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for trial in range(30):
        damaged = bytearray(source)
        for position in rng.integers(0, len(source), size=int(rng.integers(1, 40))):
            damaged[position] = rng.integers(256)
        path = tmp_path / f"{trial}.mp4"
        path.write_bytes(damaged)
        try:
            clip = read_clip(str(path), None, None, Sampling(frames=4))
            assert clip.frames.ndim == 4 and clip.frames.shape[0] == 4
            outcomes.add("read")
        except DecodeError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_memory_stays_small_and_stderr_silent(listed):
    """All hostile files in one process; 60000x60000 pixels alone would take 10 GB."""
    code = """
import resource, sys
from objadapt.config import Sampling
from objadapt.data.clip import read_clip
from objadapt.data.decode import DecodeError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read_clip(path, None, None, Sampling())
    except DecodeError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, *(path for path, _ in listed)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 0 and run.stderr == "", run.stderr
    assert float(run.stdout) < 400  # MiB


def test_the_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(DecodeError("decode", "two\nlines")))
    assert (error.stage, error.reason, str(error)) == ("decode", "two", "decode: two")
