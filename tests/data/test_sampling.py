"""Frame sampling: what must hold for every length, T, stride and view."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objadapt.config import Sampling
from objadapt.data.sampling import frame_indices, is_short

lengths, counts, strides = st.integers(1, 2000), st.integers(1, 64), st.integers(1, 40)


@given(lengths, counts, strides, st.sampled_from(["uniform", "dense"]), st.integers(1, 10), st.data())
def test_indices_are_in_range_and_of_the_right_shape(n, frames, stride, mode, num_clips, data):
    sampling = Sampling(mode=mode, frames=frames, stride=stride)
    clip = data.draw(st.integers(0, num_clips - 1))
    rng = data.draw(st.sampled_from([None, 0, 1, 2]))
    index = frame_indices(n, sampling, None if rng is None else np.random.default_rng(rng), clip, num_clips)
    assert index.shape == (frames,) and index.dtype == np.int64
    assert index.min() >= 0 and index.max() < n
    if mode == "uniform":
        assert (np.diff(index) >= 0).all()


@given(lengths, counts, st.integers(0, 5))
def test_uniform_takes_one_frame_of_each_segment(n, frames, seed):
    sampling = Sampling(frames=frames)
    for rng in (None, np.random.default_rng(seed)):
        index = frame_indices(n, sampling, rng)
        for t in range(frames):  # the frame [i, i + 1) meets the segment [t, t + 1) * n / frames
            assert index[t] * frames < (t + 1) * n and (index[t] + 1) * frames > t * n
    if n >= frames:
        assert len(set(frame_indices(n, sampling, None))) == frames


def test_centred_and_multi_clip_grids():
    assert frame_indices(80, Sampling(frames=8), None).tolist() == [5, 15, 25, 35, 45, 55, 65, 75]
    views = [frame_indices(80, Sampling(frames=8), None, clip, 2) for clip in range(2)]
    assert [view[0] for view in views] == [2, 7]  # a quarter and three quarters of the first segment of 10
    assert frame_indices(3, Sampling(frames=8), None).tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


def test_training_jitter_reaches_every_frame():
    rng = np.random.default_rng(0)
    seen = {int(i) for _ in range(300) for i in frame_indices(40, Sampling(frames=8), rng)}
    assert seen == set(range(40))


@given(lengths, counts, strides, st.integers(1, 10))
def test_dense_steps_by_the_stride_and_loops(n, frames, stride, num_clips):
    sampling = Sampling(mode="dense", frames=frames, stride=stride)
    views = [frame_indices(n, sampling, None, clip, num_clips) for clip in range(num_clips)]
    for index in [*views, frame_indices(n, sampling, np.random.default_rng(n))]:
        for t in range(1, frames):
            assert index[t] == (index[t - 1] + stride) % n
        if not is_short(n, sampling):
            assert (np.diff(index) == stride).all()
    if num_clips > 1 and not is_short(n, sampling):
        assert views[0][0] == 0 and views[-1][-1] == n - 1  # the views cover the video from end to end


def test_short_means_that_frames_would_repeat():
    assert not is_short(8, Sampling(frames=8)) and is_short(7, Sampling(frames=8))
    dense = Sampling(mode="dense", frames=8, stride=4)
    assert not is_short(29, dense) and is_short(28, dense)
    assert frame_indices(10, Sampling(mode="dense", frames=4, stride=4), None).tolist() == [0, 4, 8, 2]


@pytest.mark.parametrize("arguments", [(0, None), (-1, None), (5, None, 1, 1), (5, None, -1, 2)])
def test_nonsense_is_refused(arguments):
    n, rng, *view = arguments
    with pytest.raises(ValueError):
        frame_indices(n, Sampling(), rng, *view)
