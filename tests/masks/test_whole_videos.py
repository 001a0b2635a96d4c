"""The frames of whole videos: each in its place, in pieces, from files and from pictures."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from objadapt.data import toy
from objadapt.data.decode import decode_frames
from objadapt.data.probe import DecodeError
from objadapt.masks import whole_videos
from objadapt.masks.whole_videos import Frames, Video, shown_each


@pytest.mark.parametrize("stride", [1, 3, 50])
def test_frames_of_a_video_file(tmp_path, stride):
    (tmp_path / "videos").mkdir()
    toy.write_clip(tmp_path, toy.Options(resolution=64, length=12, davis=0), "train", 0)
    path = str(tmp_path / "videos" / "0.mp4")
    frames = Frames(Video("0", file=path), stride)
    assert frames.names == [f"{number:05d}" for number in range(0, 12, stride)]
    assert np.array_equal(np.concatenate(list(frames.pieces())), decode_frames(path, np.arange(0, 12, stride))[0])


def test_frames_each_so_many_seconds_are_those_shown_then_whatever_the_frame_rate_does(tmp_path):
    """10 s at 2 frames a second, then 1 s at 30."""
    begins = [*(500 * n for n in range(20)), *(10_000 + round(1000 * n / 30) for n in range(30))]
    path = str(tmp_path / "a.mp4")
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, begin in enumerate(begins):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 5 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = begin, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = Frames(Video("a", file=path), every=1.0)
    assert frames.seconds.tolist() == pytest.approx(list(range(11)), abs=0.002)
    assert frames.names == [f"{2 * n:05d}" for n in range(11)] and frames.lasts == pytest.approx(11, abs=0.3)
    dense = Frames(Video("a", file=path), every=0.25)
    assert len(dense.names) == len(set(dense.names)) == 20 + 4, "a frame that is shown twice is looked at once"
    assert shown_each(np.arange(10) / 10, 0.25) == [0, 2, 5, 7]


def test_frames_of_pictures(tmp_path, monkeypatch):
    shown = np.random.default_rng(0).integers(0, 256, (5, 40, 72, 3), dtype=np.uint8)
    paths = [tmp_path / f"{number:05d}.png" for number in range(5)]
    for path, picture in zip(paths, shown, strict=False):
        Image.fromarray(picture).save(path)
    monkeypatch.setattr(whole_videos, "PIECE_FRAMES", 2)
    frames = Frames(Video("a", pictures=tuple(map(str, paths))), stride=2)
    assert frames.names == ["00000", "00002", "00004"] and (frames.height, frames.width) == (40, 72)
    pieces = list(frames.pieces())
    assert [len(piece) for piece in pieces] == [2, 1]
    assert np.array_equal(np.concatenate(pieces), shown[::2])
    assert np.array_equal(frames.read([2, 0]), shown[[4, 0]])
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((6, 8), 77, np.uint8)).save(grey)
    assert (next(Frames(Video("g", pictures=(str(grey),))).pieces()) == 77).all()
    deep = tmp_path / "deep.png"
    Image.fromarray(np.linspace(0, 65535, 48).reshape(6, 8).astype(np.uint16)).save(deep)
    with pytest.raises(DecodeError, match=r"deep.png has pixels of kind I;16; give pictures of 8 bits"):  # became white
        Frames(Video("d", pictures=(str(deep),)))
    with pytest.raises(DecodeError, match="No such file"):
        Frames(Video("gone", pictures=(str(tmp_path / "gone.jpg"),)))
