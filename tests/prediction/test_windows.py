"""Windows cover a video from its first frame to its last, and hold the frames that a test clip of their span would."""

import numpy as np
import pytest

from objadapt.config import Sampling
from objadapt.data.clip import span
from objadapt.data.probe import DecodeError, VideoInfo
from objadapt.data.sampling import dense_span, frame_indices
from objadapt.errors import InputError
from objadapt.prediction.windows import gathered, windows


def video(pts_s) -> VideoInfo:
    pts_s = np.round(np.asarray(pts_s, float), 6)
    spread = pts_s[-1] - pts_s[0]
    fps = (len(pts_s) - 1) / spread if spread else 25.0
    facts = {"width": 4, "height": 4, "codec": "", "pix_fmt": "", "container": "", "rotation": 0, "mirrored": False}
    keys = np.zeros((1, 3), np.int64)
    return VideoInfo(pts_s, None, keys, fps, lasting=False, decoder="pyav", why_pyav=None, **facts)


UNIFORM = Sampling(mode="uniform", frames=8)


@pytest.mark.parametrize("step", [None, 0.3, 5.0])
@pytest.mark.parametrize("number", [61, 250, 251])
def test_windows_cover_the_video(number, step):
    info = video(np.arange(number) / 25)
    found = windows(info, UNIFORM, 2.0, step)
    starts, ends = np.array([[one.start_s, one.end_s] for one in found]).T
    assert starts[0] == 0 and ends[-1] == pytest.approx(number / 25)
    assert ends - starts == pytest.approx(np.full(len(found), 2.0))
    assert np.diff(starts)[:-1] == pytest.approx(np.full(len(found) - 2, step or 1.0))
    assert (np.diff(starts) > 0).all() and np.diff(starts)[-1] <= (step or 1.0) + 1e-6
    for one in found:  # sampled as the clip [start, end) of a data set is
        first, stop = span(info, one.start_s - 1e-6, one.end_s - 1e-6)
        assert (one.index == first + frame_indices(stop - first, UNIFORM, None)).all()


@pytest.mark.parametrize("length", [None, 2.39, 2.4, 60.0])
def test_a_video_no_longer_than_a_window_is_a_test_clip(length):
    info = video(10 + np.arange(60) / 25)  # time stamps need not begin at 0
    (one,) = windows(info, UNIFORM, length, None)
    assert (one.index == frame_indices(60, UNIFORM, None)).all() and one.start_s == 10 and one.end_s == 12.4


def test_one_frame():
    (one,) = windows(video([0.0]), UNIFORM, 2.0, None)
    assert (one.index == 0).all() and len(one.index) == 8


def test_dense_windows_are_as_long_as_their_frames_apart():
    sampling = Sampling(mode="dense", frames=4, stride=5)
    found = windows(video(np.arange(100) / 10), sampling, None, None)
    assert [one.end_s - one.start_s for one in found] == pytest.approx([1.6] * len(found))
    assert all((np.diff(one.index) == 5).all() for one in found)


@pytest.mark.parametrize("frames, stride", [(8, 8), (8, 4), (4, 4), (4, 1)])
@pytest.mark.parametrize("stamps", ["milliseconds", "irregular", "pauses"])
@pytest.mark.parametrize("policy", ["repeat", "quarantine"])
def test_dense_windows_never_jump_back(frames, stride, stamps, policy):
    """Of a window with a frame less than a clip spans, the last frame was the first one again."""
    rng = np.random.default_rng(0)
    steps = {
        "milliseconds": np.diff(np.round(np.arange(311) / 30, 3)),
        "irregular": rng.exponential(1 / 30, 310),
        "pauses": np.where(np.arange(310) % 50 == 49, 3.0, 1 / 30),
    }[stamps]
    info = video(np.cumsum(steps))
    sampling = Sampling(mode="dense", frames=frames, stride=stride, short_clips=policy)
    for length, step in ((None, None), (None, 0.3), (dense_span(sampling) / info.fps + 0.5, None)):
        found = windows(info, sampling, length, step)
        assert all((np.diff(one.index) == stride).all() for one in found)
        assert len(found) > 2 and found[0].start_s == info.pts_s[0] and found[-1].stop == 310
        assert all(one.first <= one.index.min() and one.index.max() < one.stop for one in found)
        firsts = [one.first for one in found]
        assert firsts == sorted(firsts)
        if length is None:  # a window is shown from its first frame on, until the frame behind its last
            assert [one.start_s for one in found] == [info.pts_s[one.first] for one in found]
            assert len(set(firsts)) == len(firsts)


def test_a_window_shorter_than_a_dense_clip_is_refused():
    sampling = Sampling(mode="dense", frames=4, stride=5)
    info = video(np.arange(100) / 10)
    with pytest.raises(InputError, match="--window: 1 s hold 10 frames, fewer than the 16 .* give 1.60 or more"):
        windows(info, sampling, 1.0, None)
    (looped,) = windows(video(np.arange(12) / 10), sampling, 1.2, None)  # a short video loops, as a short clip does
    assert looped.index.tolist() == [0, 5, 10, 3]


def test_a_pause_shows_the_frame_before_it():
    info = video([0, 0.1, 0.2, 0.3, 9.0, 9.1, 9.2])
    found = windows(info, Sampling(frames=2), 1.0, 1.0)
    assert [one.index.tolist() for one in found[1:8]] == [[3, 3]] * 7


def test_short_windows_are_refused_where_the_training_refused_short_clips():
    strict = Sampling(frames=8, short_clips="quarantine")
    with pytest.raises(DecodeError, match="sampling: too few frames"):
        windows(video(np.arange(100) / 25), strict, 0.2, None)
    assert len(windows(video(np.arange(100) / 25), strict, 1.0, None)) == 7


@pytest.mark.parametrize("seed", range(20))
def test_gathered_frames_are_those_of_each_window_and_few_are_kept(seed):
    """Time stamps as irregular as can be; the reference has the whole video in memory."""
    rng = np.random.default_rng(seed)
    info = video(np.cumsum(rng.exponential(0.04, 400) * rng.choice([1, 1, 1, 30], 400)))
    sampling = Sampling(mode=["uniform", "dense"][seed % 2], frames=int(rng.integers(1, 9)), stride=3)
    shortest = dense_span(sampling) / info.fps if seed % 2 else 0.2
    found = windows(info, sampling, shortest + float(rng.uniform(0.1, 4)), float(rng.uniform(0.05, 2)))
    whole = rng.integers(0, 256, (400, 2, 2, 3), dtype=np.uint8)
    seen = np.unique(np.concatenate([one.index for one in found]))
    clips = list(gathered(iter(whole[seen]), seen, found))
    assert len(clips) == len(found)
    for clip, one in zip(clips, found, strict=True):
        assert (clip == whole[one.index]).all()
