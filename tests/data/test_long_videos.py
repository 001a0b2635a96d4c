"""A clip cut from a long file reads little of it, by an index of time stamps that is made once;
and reads the right frames.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from moving_video import coded, pictures, write_video

from objadapt.config import Sampling
from objadapt.data import time_stamp_index, video_file
from objadapt.data.clip import read_clip
from objadapt.data.decode import DecodeError, decode_frames, probe
from objadapt.data.time_stamp_index import probe_kept

GOP, KINDS, SIDE = 60, 4, (120, 160)  # frames a key frame; groups of which no two are alike; height and width


def write_long(path: Path, seconds: int, quality: int, codec: str = "libx264") -> np.ndarray:
    """A video at 30 frames a second that repeats `KINDS` groups of frames; -> those as they decode,
    uint8 [KINDS x GOP, H, W, 3].
    """
    noise = np.random.default_rng(0).integers(0, 255, (GOP * KINDS, SIDE[0] // 2, SIDE[1] // 2, 3), dtype=np.uint8)
    short = path.with_name(f"short-{path.name}").with_suffix(".mp4")
    with av.open(str(short), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIDE, "yuv420p"
        options = {
            "x264-params": f"keyint={GOP}:min-keyint={GOP}:scenecut=0:bframes=3:qp={quality}",
            "preset": "ultrafast",
        }
        stream.options = options if codec == "libx264" else {"qscale:v": "2", "g": str(GOP)}
        for picture in noise:
            picture = picture.repeat(2, axis=0).repeat(2, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(short)) as read, av.open(str(path), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        packets = [
            (bytes(one), one.pts, one.dts, one.duration, one.is_keyframe) for one in read.demux(stream) if one.size
        ]
        span = round(GOP * KINDS / 30 / stream.time_base)
        for round_ in range(seconds * 30 // (GOP * KINDS)):
            for content, pts, dts, duration, is_key in packets:
                packet = av.Packet(content)
                packet.stream, packet.pts, packet.dts, packet.duration = (
                    copy,
                    pts + round_ * span,
                    dts + round_ * span,
                    duration,
                )
                packet.time_base, packet.is_keyframe = stream.time_base, is_key
                written.mux(packet)
    return coded(short)


MEASURE = """
import sys
from pathlib import Path
import numpy as np
from objadapt.config import Sampling
from objadapt.data.clip import read_clip
def read_so_far():
    return int(dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())["rchar"])
path, folder, out, *starts = sys.argv[1:]
for start in map(float, starts):
    before = read_so_far()
    clip = read_clip(path, start, start + 3, Sampling(frames=8), folder=Path(folder))
    read = read_so_far() - before
    np.savez(f"{out}/{start:g}.npz", frames=clip.frames, index=clip.frame_index, read=read, decoder=clip.decoder)
"""


def measured(path: Path, folder: Path, starts: list[float]) -> list[dict]:
    """Clips of 3 s read by a fresh process: frames, index, the bytes that it took from files, the decoder."""
    out = path.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(folder), str(out), *map(str, starts)],
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return [dict(np.load(out / f"{start:g}.npz")) for start in starts]


def check_reads(path: Path, folder: Path, shown: np.ndarray, starts: list[float], most: float) -> None:
    """One fresh process for all clips but the last, one for the last.

    Each clip reads at most `most` bytes, the right frames.
    """
    for clip in [*measured(path, folder, starts[:-1]), *measured(path, folder, starts[-1:])]:
        assert clip["read"] <= most, f"{clip['read']} bytes"
        assert str(clip["decoder"]) == "pyav"
        assert (clip["frames"] == shown[clip["index"] % len(shown)]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["day.mp4", "day.mkv"])
def test_clips_of_a_file_of_one_gigabyte(tmp_path, name):
    """2 hours, 1 GB: at most 20 MB for a clip of 8 frames from 3 s, anywhere; in MP4 the first time, too."""
    path, folder = tmp_path / name, tmp_path / "time_stamps"
    shown = write_long(path, 7200, quality=36)
    assert 0.9e9 < path.stat().st_size < 1.6e9
    if name.endswith(".mkv"):
        [first] = measured(path, folder, [1.0])  # its time stamps stand among the frames: it is read once
        assert first["read"] < 1.1 * path.stat().st_size
    check_reads(path, folder, shown, [3600.0, 0.0, 5400.5, 7196.0, 1800.25], most=20e6)
    path.unlink()


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.ts", "fragments.mp4"])
def test_clips_of_a_shorter_file(tmp_path, name):
    """As above, 2 minutes in 35 MB: a clip reads at most an eighth of it,
    save the first time where a container has no tables.
    """
    path, folder = tmp_path / name, tmp_path / "time_stamps"
    shown = write_long(path, 120, quality=29)
    if name == "fragments.mp4":
        whole = path.rename(tmp_path / "whole.mp4")
        with (
            av.open(str(whole)) as read,
            av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as written,
        ):
            copy = written.add_stream_from_template(read.streams.video[0])
            for packet in read.demux(read.streams.video[0]):
                if packet.size:
                    packet.stream = copy
                    written.mux(packet)
    size = path.stat().st_size
    assert size > video_file.LONG_BYTES
    if name in ("a.mkv", "a.ts"):
        measured(path, folder, [1.0])
    check_reads(path, folder, shown, [60.0, 0.0, 117.0, 30.5], most=size / 8)


def test_the_index_is_kept_checked_and_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(video_file, "LONG_BYTES", 0)
    path, folder = tmp_path / "a.mp4", tmp_path / "kept" / "time_stamps"
    looked = []
    monkeypatch.setattr(time_stamp_index, "probe", lambda path: looked.append(path) or probe(path))

    def same(kept, info):
        for name in ("pts_s", "pts", "keys"):
            assert (getattr(kept, name) == getattr(info, name)).all() and getattr(kept, name).dtype == getattr(
                info, name
            ).dtype
        facts = [{k: v for k, v in vars(one).items() if k not in ("pts_s", "pts", "keys")} for one in (kept, info)]
        assert facts[0] == facts[1]

    write_video(path, pictures(40))
    for _ in range(3):
        same(probe_kept(str(path), folder), probe(str(path)))
    assert len(looked) == 1
    [file] = folder.iterdir()

    file.write_bytes(file.read_bytes()[:100])  # damaged
    same(probe_kept(str(path), folder), probe(str(path)))
    assert len(looked) == 2

    write_video(path, pictures(50, seed=1))  # another file at that path
    same(probe_kept(str(path), folder), probe(str(path)))
    assert len(looked) == 3 and list(folder.iterdir()) == [file]

    other = tmp_path / "b.ts"  # frames that are counted
    write_video(other, pictures(40), "mpeg2video")
    kept = [probe_kept(str(other), folder) for _ in range(2)][1]
    assert kept.pts is None and len(looked) == 4
    assert (kept.pts_s == probe(str(other)).pts_s).all() and (kept.keys == probe(str(other)).keys).all()


def test_many_tasks_make_one_index_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(video_file, "LONG_BYTES", 0)
    path, folder = tmp_path / "a.mp4", tmp_path / "time_stamps"
    write_video(path, pictures(40))
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: probe_kept(str(path), folder).num_frames, range(16)))
    assert counts == [40] * 16 and len(list(folder.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_said_and_done_without(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(video_file, "LONG_BYTES", 0)
    path, in_the_way = tmp_path / "a.mp4", tmp_path / "file"
    write_video(path, pictures(20))
    in_the_way.touch()
    clip = read_clip(str(path), 0.1, 0.5, Sampling(frames=4), folder=in_the_way / "time_stamps")
    assert len(clip.frames) == 4 and "cannot be kept" in caplog.text


def test_a_long_file_that_was_cut_off_is_noticed(tmp_path, monkeypatch):
    """Though its media are not read."""
    monkeypatch.setattr(video_file, "LONG_BYTES", 0)
    with av.open(str(tmp_path / "a.mp4"), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        for picture in pictures(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(DecodeError, match="^demux: container promises 40 frames, "):
        probe(str(tmp_path / "a.mp4"))


@pytest.mark.slow
def test_all_real_files_read_as_long_ones(shared, monkeypatch):
    """The facts are those of a look at every packet, and each frame is that of a plain decode."""
    rng = np.random.default_rng(0)
    files = [
        path
        for folder in ("misc", "variants")
        for path in sorted((shared / "clips" / folder).iterdir())
        if path.suffix != ".csv"
    ]
    for path in files:
        monkeypatch.setattr(video_file, "LONG_BYTES", 2**40)
        info = probe(str(path))
        if info.num_frames * info.height * info.width > 3e7:
            continue  # seconds each
        monkeypatch.setattr(video_file, "LONG_BYTES", 0)
        long = probe(str(path))
        assert (long.pts_s == info.pts_s).all() and (long.keys == info.keys).all() and long.decoder == "pyav", path.name
        assert (long.pts is None) == (info.pts is None) and (info.pts is None or (long.pts == info.pts).all()), (
            path.name
        )
        whole, _ = decode_frames(str(path), np.arange(info.num_frames), info, "pyav")
        for number in {0, info.num_frames - 1, *rng.integers(0, info.num_frames, 3).tolist()}:
            assert (decode_frames(str(path), np.array([number]), long)[0][0] == whole[number]).all(), (
                path.name,
                number,
            )
