"""A clip is cut by time stamps, and says when it had too few frames."""

import math

import numpy as np
import pytest

from objadapt.config import Sampling
from objadapt.data.clip import read_clip
from objadapt.data.decode import DecodeError, decode_frames, probe
from objadapt.data.time_stamps import STAMP, shown_ticks


def test_whole_video_when_no_span_is_given(shared):
    path = str(shared / "clips/variants/h264_bframes_longgop.mp4")  # 120 frames
    for start, end in ((None, None), (math.nan, math.nan)):
        clip = read_clip(path, start, end, Sampling(frames=8))
        assert clip.frame_index.tolist() == [7, 22, 37, 52, 67, 82, 97, 112] and clip.frame_index.dtype == np.int64
        assert (clip.decoder, clip.short, clip.frames.shape) == ("pyav", False, (8, 240, 426, 3))
        assert (clip.frames == decode_frames(path, clip.frame_index)[0]).all()


@pytest.mark.parametrize(
    "name", ["h264_vfr.mp4", "h264_120fps.mp4", "mpeg2.ts", "h264_editlist.mp4", "h264_in_avi.avi"]
)
def test_spans_are_cut_by_time_stamps(shared, name):
    path = str(shared / "clips/variants" / name)
    seconds = probe(path).pts_s
    clip = read_clip(path, 0.3, 0.8, Sampling(frames=200))  # far more than there are, so that every frame is taken
    inside = [i for i, second in enumerate(seconds) if 0.3 <= second < 0.8]
    assert sorted(set(clip.frame_index.tolist())) == inside and clip.short


def test_half_open_spans(shared):
    path = str(shared / "clips/variants/h264_1fps_5frames.mp4")
    for start, end, expected in ((None, 2.0, {0, 1}), (2.0, None, {2, 3, 4}), (1.5, 99.0, {2, 3, 4})):
        assert set(read_clip(path, start, end, Sampling(frames=16)).frame_index.tolist()) == expected


def test_an_empty_span_is_a_sampling_error(shared):
    path = str(shared / "clips/variants/h264_1fps_5frames.mp4")
    for start, end in ((10.0, 20.0), (0.2, 0.8), (2.0, 2.0), (3.0, 1.0)):
        with pytest.raises(DecodeError, match="^sampling: no frame between"):
            read_clip(path, start, end, Sampling(frames=4))


def test_short_clips_repeat_or_are_quarantined(shared):
    path = str(shared / "clips/variants/h264_1fps_5frames.mp4")
    clip = read_clip(path, None, None, Sampling(frames=8))
    assert clip.short and clip.frame_index.tolist() == [0, 0, 1, 2, 2, 3, 4, 4]
    with pytest.raises(DecodeError, match="^sampling: too few frames for uniform sampling of 8"):
        read_clip(path, None, None, Sampling(frames=8, short_clips="quarantine"))
    assert not read_clip(path, None, None, Sampling(frames=5, short_clips="quarantine")).short


def test_the_same_seed_gives_the_same_frames_by_either_decoder(shared):
    path = str(shared / "clips/misc/kinetics_flipping_a_pancake.mkv")
    dense = {"mode": "dense", "frames": 8, "stride": 4}
    one = read_clip(path, None, None, Sampling(**dense, decoder="decord"), np.random.default_rng(7))
    two = read_clip(path, None, None, Sampling(**dense, decoder="pyav"), np.random.default_rng(7))
    assert (one.decoder, two.decoder) == ("decord", "pyav")
    assert (one.frame_index == two.frame_index).all() and np.abs(one.frames.astype(int) - two.frames).mean() < 1


def test_a_file_that_changed_is_read_anew(shared, tmp_path):
    """The facts of a file are remembered between clips, but not beyond its life."""
    path = tmp_path / "video.mp4"
    path.write_bytes((shared / "clips/variants/h264_faststart.mp4").read_bytes())
    assert read_clip(str(path), None, None, Sampling(frames=1)).frame_index.tolist() == [15]
    path.write_bytes((shared / "clips/variants/h264_bframes_longgop.mp4").read_bytes())
    assert read_clip(str(path), None, None, Sampling(frames=1)).frame_index.tolist() == [60]


def test_urls(shared):
    clip = read_clip((shared / "clips/variants/vp9.webm").as_uri(), 0.5, 1.5, Sampling(frames=4))
    assert clip.frames.shape == (4, 240, 426, 3) and clip.frame_index.min() >= 15 and clip.frame_index.max() < 45


def test_single_frames_without_a_time_stamp_shift_no_other():
    """As of a transport stream of which the parser cuts packets in two."""
    stamps = np.zeros(9, STAMP)
    stamps["dts"] = range(-20, 70, 10)
    assert shown_ticks([0, 10, 20, None, 40, 50, 60, 70, None], stamps).tolist() == list(range(0, 90, 10))
    assert shown_ticks([None, 10, 20, 30, 40, 50, 60, 70, 85], stamps).tolist() == [*range(0, 80, 10), 85]
    assert shown_ticks([0, None, 20, None, 40, 50, 60, 70, None], stamps).tolist() == stamps["dts"].tolist()
