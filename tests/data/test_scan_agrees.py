"""What the scan of jobs/check_videos.py passes is readable at every frame, and what training refuses it names,
with its reason.
"""

from pathlib import Path

import av
import numpy as np
import pytest
from moving_video import coded, pictures, write_video

from objadapt.config import Sampling
from objadapt.data.clip import read_clip
from objadapt.data.decode import DecodeError, decode_frames, probe, scan

EVERY = Sampling(frames=1000)  # far more than there are, so that every frame is taken


def agree(path: Path) -> str | None:
    """Asserts it of one file; -> the reason why it is broken, None where it is whole."""
    try:
        count, decoder = scan(str(path))
    except DecodeError as error:
        for way in ("auto", "pyav"):
            with pytest.raises(DecodeError) as again:
                read_clip(str(path), None, None, EVERY.model_copy(update={"decoder": way}))
            assert str(again.value) == str(error)
        return str(error)
    info = probe(str(path))
    assert info.num_frames == count
    whole = {way: decode_frames(str(path), np.arange(count), info, way) for way in ("auto", "pyav")}
    assert whole["auto"][1] == decoder
    assert (whole["auto"][0] == whole["pyav"][0]).all()
    for number in {0, count - 1, *np.random.default_rng(0).integers(0, count, 5).tolist()}:
        alone, _ = decode_frames(str(path), np.array([number]), info, "pyav")
        assert (alone[0] == whole["pyav"][0][number]).all()
        decode_frames(str(path), np.array([number]), info)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["clips/misc", "clips/variants", "hostile", "cases"])
def test_scan_and_training_agree_on_every_file(shared, folder):
    files = sorted(
        path
        for path in (shared / folder).rglob("*")
        if path.is_file() and path.suffix not in (".csv", ".md", ".json", ".txt")
    )
    broken = {}
    for path in files:
        try:
            reason = agree(path)
        except AssertionError as error:
            raise AssertionError(f"{path.name}: {error}") from error
        if reason:
            broken[path.name] = reason
    # of the cases: two Apple resource forks, and the broken one of two files of one name, twice
    assert len(broken) == {"clips/misc": 0, "clips/variants": 0, "hostile": 12, "cases": 4}[folder], broken


def wrap_again(source: Path, target: Path, what: str) -> None:
    """The packets of a video in a new file, with one thing wrong."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        packets = [packet for packet in read.demux(stream) if packet.size]
        stamps = [packet.pts for packet in packets]
        if what == "stamps in coding order":
            stamps = sorted(stamps)
        if what == "two stamps alike":
            stamps[14] = stamps[13]
        if what == "two stamps exchanged":
            stamps[13], stamps[14] = stamps[14], stamps[13]
        for number, (packet, stamp) in enumerate(zip(packets, stamps, strict=False)):
            if what == "a lost packet" and number == 13 or what == "no first key frame" and number == 0:
                continue
            packet.pts, packet.stream = max(stamp, packet.dts), copy
            written.mux(packet)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize(
    ("what", "broken"),
    [
        ("nothing", None),
        ("stamps in coding order", None),
        ("a lost packet", "decode"),
        ("no first key frame", "either"),  # H.264 players begin at the next key frame
        ("two stamps alike", None),
        ("two stamps exchanged", "not where the container says"),
    ],
)
def test_streams_that_were_wrapped_or_cut_wrongly(tmp_path, name, codec, what, broken):
    write_video(tmp_path / "whole.mp4", pictures(30), codec)
    wrap_again(tmp_path / "whole.mp4", tmp_path / name, what)
    reason = agree(tmp_path / name)
    if broken == "either":
        return
    if broken is None:
        assert reason is None
        whole = coded(tmp_path / "whole.mp4")
        assert (decode_frames(str(tmp_path / name), np.arange(len(whole)))[0] == whole).all()
    else:
        assert reason and broken in reason


@pytest.mark.parametrize("at", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("name", ["h264_faststart.mp4", "h264_bframes_longgop.mp4"])
def test_damage_within_the_pictures_is_named_by_both(shared, tmp_path, name, at):
    """Bytes of the media that were lost on the way: no time stamp tells, and a lenient decoder fills the hole."""
    content = bytearray((shared / "clips/variants" / name).read_bytes())
    start = int(at * len(content))
    content[start : start + 400] = bytes(400)
    (tmp_path / "a.mp4").write_bytes(content)
    assert agree(tmp_path / "a.mp4")
