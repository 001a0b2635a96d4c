"""Which frames of a clip: uniform (TSN: one from each of T equal segments) or dense (stride s)."""

import numpy as np

from ..config import Sampling


def frame_indices(
    num_frames: int, sampling: Sampling, rng: np.random.Generator | None, clip: int = 0, num_clips: int = 1
) -> np.ndarray:
    """Frame numbers of one view of a clip of `num_frames` frames.

    uniform: in training (`rng` given) a random frame of each segment; in testing the point (clip + 0.5) / num_clips
    of each segment, so one clip takes the centres. Fewer frames than T are repeated.
    dense: a random start in training; in testing starts evenly spaced from the first to the last possible one, a
    single clip in the middle. Past the end the clip loops.

    Returns:
        int64 [T] in 0 .. num_frames - 1; sorted in uniform mode.

    Raises:
        ValueError: no frames, or no such clip.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames = {num_frames}: a clip needs at least one frame")
    if not 0 <= clip < num_clips:
        raise ValueError(f"clip = {clip}: not one of {num_clips}")
    steps = np.arange(sampling.frames)
    if sampling.mode == "uniform":
        offset = rng.random(sampling.frames) if rng is not None else (clip + 0.5) / num_clips
        index = np.floor((steps + offset) * num_frames / sampling.frames).astype(np.int64)
        return np.minimum(index, num_frames - 1)  # rounding may carry an offset just below 1 over the end
    last_start = max(0, num_frames - dense_span(sampling))
    if rng is not None:
        start = int(rng.integers(last_start + 1))
    else:
        start = last_start // 2 if num_clips == 1 else round(last_start * clip / (num_clips - 1))
    return (start + sampling.stride * steps).astype(np.int64) % num_frames


def is_short(num_frames: int, sampling: Sampling) -> bool:
    """True where a clip has too few frames: some would be repeated (uniform) or the clip loops (dense)."""
    return num_frames < (sampling.frames if sampling.mode == "uniform" else dense_span(sampling))


def dense_span(sampling: Sampling) -> int:
    """Frames from the first to the last of a dense clip."""
    return sampling.stride * (sampling.frames - 1) + 1
