"""The cases of the data pack that decoding must master; what is right stands in its README."""

import av
import numpy as np
import pytest
from moving_video import coded

from objadapt.config import Sampling
from objadapt.data.clip import read_clip
from objadapt.data.decode import decode_frames, scan


def by_both(path) -> np.ndarray:
    """Every frame, uint8 [n, H, W, 3], as the scan passes them and as both decoders give them."""
    count, _ = scan(str(path))
    auto, pyav = (decode_frames(str(path), np.arange(count), decoder=decoder)[0] for decoder in ("auto", "pyav"))
    assert auto.shape == pyav.shape and (auto == pyav).all()
    for sampling in (Sampling(frames=8), Sampling(frames=8, decoder="pyav")):
        clip = read_clip(str(path), None, None, sampling)
        assert (clip.frames == auto[clip.frame_index]).all()
    return auto


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.mp4", lambda frames: frames),
        ("hflip.mp4", lambda frames: frames[:, :, ::-1]),
        ("rot180.mkv", lambda frames: frames[:, ::-1, ::-1]),
        ("rot90.mkv", lambda frames: frames.swapaxes(1, 2)[:, :, ::-1]),  # clockwise, as FFmpeg's own programs show it
        ("sei180.mp4", lambda frames: frames[:, ::-1, ::-1]),
    ],
)
def test_orientation(shared, name, shown):
    folder = shared / "cases/orientation"
    plain = coded(folder / "plain.mp4")
    assert (coded(folder / name) == plain).all(), "the flag alone tells them apart"
    assert (by_both(folder / name) == shown(plain)).all()


@pytest.mark.parametrize(
    ("name", "track", "frames"), [("wm_picture.wmv", 1, 60), ("first_default.mp4", 0, 60), ("preview_first.mkv", 1, 60)]
)
def test_tracks(shared, name, track, frames):
    path = shared / "cases/tracks" / name
    read = by_both(path)
    assert len(read) == frames and (read == coded(path, track)).all()


def test_a_raw_stream(shared):
    """Its frames come in the order shown, as a plain decode gives them.

    Its time stamps, in coding order, tell nothing.
    """
    folder = shared / "cases/raw_stream"
    assert (by_both(folder / "a.mp4") == coded(folder / "a.mp4")).all()
    assert (by_both(folder / "raw.mp4") == coded(folder / "raw.mp4")).all()
    with av.open(str(folder / "raw.mp4")) as container:
        stamps = [frame.pts for frame in container.decode(video=0)]
    assert stamps != sorted(stamps)
