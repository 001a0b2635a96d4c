"""Sliding windows over a video: where each begins and ends, which of its frames the model sees, and those frames.

A window is sampled as a test clip of the same span is. A video no longer than a window is one window, so that its
answer is that of an evaluation.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from ..config import Sampling
from ..data.clip import short_reason
from ..data.frame_folder import CONTAINER
from ..data.manifest import Manifest
from ..data.probe import DecodeError, VideoInfo, probe
from ..data.sampling import dense_span, frame_indices, is_short
from ..errors import InputError
from ..run_folder import MANIFEST

LOOKED_AT = 25  # training clips, at the most, whose length is looked up in their files


@dataclass(frozen=True, eq=False)
class Window:
    """A span [start_s, end_s) of a video, and its frames first .. stop - 1."""

    start_s: float
    end_s: float
    first: int
    stop: int
    index: np.ndarray  # int64 [T], the frames that the model sees


def windows(info: VideoInfo, sampling: Sampling, length_s: float | None, step_s: float | None) -> list[Window]:
    """Windows in their order; the last one ends where the video ends.

    In dense mode a window has all the frames that a clip of the model spans, whatever the time stamps: a clip that
    looped inside of a video would jump back in time. Of a folder of frames the time is counted in frames.

    Args:
        length_s: seconds of a window; None: in dense mode the span of the sampled frames, else the whole video.
        step_s: seconds between two starts; None: half a window.

    Raises:
        DecodeError: a window has too few frames under `short_clips: quarantine`.
        InputError: in dense mode `length_s` is less than a clip of the model spans.
    """
    if info.container == CONTAINER:
        info = replace(info, fps=1.0)
    first, end = float(info.pts_s[0]), float(info.pts_s[-1]) + (1 / info.fps if info.fps else 0.0)
    least = dense_span(sampling) if sampling.mode == "dense" else 0
    spanned = length_s is None and sampling.mode == "dense" and info.fps
    if spanned:
        length_s = least / info.fps
    slack = 0.5 / info.fps if info.fps else 0.0  # lengths are means of time stamps: half a frame is no second window
    short = info.num_frames <= least if spanned else length_s is None or first + length_s >= end - slack
    if length_s is None or short:
        return [_window(info, sampling, (first, end), 0, info.num_frames)]
    if (held := round(length_s * info.fps)) < least <= info.num_frames:
        wrong = f"{length_s:g} s hold {held} frames, fewer than the {least} that the model's clip spans"
        raise InputError(f"--window: {wrong}; give {least / info.fps:.2f} or more, or leave it out")
    # 1e-6: time stamps are rounded to the microsecond
    count = max(1, int(np.ceil((end - first - length_s) / (step_s or length_s / 2) - 1e-6)))
    starts = [first + number * (step_s or length_s / 2) for number in range(count)] + [end - length_s]
    edges = np.array([[start, start + length_s] for start in starts])
    places = np.searchsorted(info.pts_s, edges - 1e-6, side="left")
    places[-1, 1] = info.num_frames
    if not spanned:
        return [
            _window(info, sampling, (start, stop), *_shown(*place, least, info.num_frames))
            for (start, stop), place in zip(edges.tolist(), places.tolist(), strict=True)
        ]
    last = info.num_frames - least
    begins = np.union1d(np.minimum(places[:, 0], last), [last]).tolist()
    ends = [*info.pts_s.tolist(), end]
    return [_window(info, sampling, (ends[one], ends[one + least]), one, one + least) for one in begins]


def _shown(first: int, stop: int, least: int, number: int) -> tuple[int, int]:
    """Frames [first, stop) of a window: one at the least, in dense mode as many as a clip spans."""
    if first >= stop:  # a pause in the time stamps: the frame before it is still shown
        first, stop = max(0, first - 1), max(1, first)
    if stop - first < least <= number:
        first = min(first, number - least)
        return first, first + least
    return first, stop


def _window(info: VideoInfo, sampling: Sampling, edges: tuple[float, float], first: int, stop: int) -> Window:
    if sampling.short_clips == "quarantine" and is_short(stop - first, sampling):
        raise DecodeError("sampling", short_reason(sampling))
    start, end = (round(edge, 6) for edge in edges)
    return Window(start, end, first, stop, first + frame_indices(stop - first, sampling, None))


def gathered(frames: Iterator[np.ndarray], seen: np.ndarray, chosen: list[Window]) -> Iterator[np.ndarray]:
    """The frames of each window, [T, ...]; what no later window needs is let go.

    Args:
        frames: those of `seen`, each [...].
        seen: int [n], their numbers, rising: all that windows need.
    """
    kept: dict[int, np.ndarray] = {}
    numbers = iter(seen.tolist())
    # where time stamps pause, a window may begin behind the first frame of the one after it
    least = np.minimum.accumulate([window.index.min() for window in reversed(chosen)])[::-1].tolist()
    for window, needed in zip(chosen, least, strict=True):
        for old in [number for number in kept if number < needed]:
            del kept[old]
        while window.index.max() not in kept:
            kept[next(numbers)] = next(frames)
        yield np.stack([kept[number] for number in window.index.tolist()])


def clip_seconds(manifest: Manifest) -> float | None:
    """Median length in seconds of the training clips: of their spans, or of some of their files that are still there.

    None where neither says.
    """
    clips = manifest.table[manifest.table["split"] == "train"]
    if clips["path"].head(LOOKED_AT).map(os.path.isdir).any():  # of folders of frames, whose spans count frames
        return None
    spans = (clips["end_s"] - clips["start_s"].fillna(0)).dropna()
    if len(spans):
        return float(spans.median())
    found = []
    for path in clips["path"].iloc[:: max(1, len(clips) // LOOKED_AT)].head(LOOKED_AT):
        if "://" in path or not Path(path).is_file():
            continue
        try:
            info = probe(path)
        except DecodeError:  # a training quarantines it
            continue
        if info.fps:
            found.append(info.num_frames / info.fps)
    return round(median(found), 6) if found else None


def trained_seconds(run: Path) -> float | None:
    """`clip_seconds` of a run's folder; None where it has no manifest."""
    try:
        return clip_seconds(Manifest.read(run / MANIFEST))
    except InputError:
        return None
