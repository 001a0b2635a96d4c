"""One row of the manifest -> the frames of one view of it."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..config import Sampling
from .decode import decode_frames
from .downloads import Downloads
from .frame_folder import CONTAINER
from .local_copy import local_copy
from .probe import DecodeError, VideoInfo, probe
from .sampling import frame_indices, is_short
from .time_stamp_index import probe_kept
from .video_file import is_long


@dataclass(frozen=True)
class DecodedClip:
    """Frames of one view of a clip, and where they come from."""

    frames: np.ndarray  # uint8 [T, H, W, 3]
    frame_index: np.ndarray  # int64 [T], in the whole video
    decoder: str
    short: bool  # the clip has too few frames, so some are repeated
    fetched: int = 0  # bytes read over the network for it, and for the other grids of the same pass


def read_clip(  # noqa: PLR0913 -- the columns of a clip, and the view of it
    path: str,
    start_s: float | None,
    end_s: float | None,
    sampling: Sampling,
    rng: np.random.Generator | None = None,
    clip: int = 0,
    num_clips: int = 1,
    folder: Path | None = None,
    downloads: Downloads | None = None,
) -> DecodedClip:
    """Sample and decode one view of a clip.

    Args:
        path: video: a local path, an fsspec URL, or a member of a tar archive (tar_members.py).
        start_s, end_s: span [start, end) in seconds, cut by time stamps since frame rates vary. None or NaN: open.
        rng: training jitter; None: the test view `clip` of `num_clips`.
        folder: keeps the time stamps of long videos (time_stamp_index.py); None: they stay in this process.
        downloads: keeps files that are fetched; None: they are fetched each time.

    Raises:
        DecodeError: unreadable video, empty span, or a short clip under `short_clips: quarantine`.
    """
    return read_grids(path, start_s, end_s, [(sampling, rng)], clip, num_clips, folder, downloads)[0]


def read_grids(  # noqa: PLR0913 -- the columns of a clip, and the view of it
    path: str,
    start_s: float | None,
    end_s: float | None,
    grids: Sequence[tuple[Sampling, np.random.Generator | None]],
    clip: int = 0,
    num_clips: int = 1,
    folder: Path | None = None,
    downloads: Downloads | None = None,
) -> list[DecodedClip]:
    """One view of a clip for each of `grids`, from one pass over the video.

    Arguments and errors are those of `read_clip`. All grids name the same `decoder`.
    """
    with local_copy(path, downloads) as copy:
        local = copy.path
        info = _probe_once(local, folder, *_version(local)) if copy.stays else probe(local)
        first, stop = span(info, start_s, end_s)
        short = [is_short(stop - first, sampling) for sampling, _ in grids]
        for (sampling, _), is_few in zip(grids, short, strict=True):
            if is_few and sampling.short_clips == "quarantine":
                raise DecodeError("sampling", short_reason(sampling))
        indices = [first + frame_indices(stop - first, sampling, rng, clip, num_clips) for sampling, rng in grids]
        frames, decoder = decode_frames(local, np.concatenate(indices), info, grids[0][0].decoder)
    parts = np.split(frames, np.cumsum([len(index) for index in indices])[:-1])
    return [
        DecodedClip(part, index, decoder, few, copy.fetched)
        for part, index, few in zip(parts, indices, short, strict=True)
    ]


def short_reason(sampling: Sampling) -> str:
    """Why a clip is quarantined under `short_clips: quarantine`."""
    return f"too few frames for {sampling.mode} sampling of {sampling.frames}"


def span(info: VideoInfo, start_s: float | None, end_s: float | None) -> tuple[int, int]:
    """Frame numbers [first, stop) of a span [start, end) in seconds; None or NaN: open.

    Raises:
        DecodeError: no frame lies in the span, or a folder of frames holds fewer than its list says.
    """
    start = -math.inf if start_s is None or math.isnan(start_s) else start_s
    end = math.inf if end_s is None or math.isnan(end_s) else end_s
    if info.container == CONTAINER and math.isfinite(end) and end > info.num_frames:  # its seconds are frames
        raise DecodeError("demux", f"the list says {end:g} frames, the folder holds {info.num_frames}")
    first, stop = np.searchsorted(info.pts_s, [start, end], side="left")
    if first >= stop:
        raise DecodeError(
            "sampling", f"no frame between {start} s and {end} s of a video that ends at {info.pts_s[-1]:.3f} s"
        )
    return int(first), int(stop)


@lru_cache(maxsize=4)
def _probe_once(path: str, folder: Path | None, mtime_ns: int, size: int) -> VideoInfo:
    """`probe`, once for neighbouring clips, which are often cut from one long video (EPIC-KITCHENS-100)."""
    return probe_kept(path, folder) if folder and is_long(path) else probe(path)


def _version(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except (OSError, ValueError) as error:
        raise DecodeError("open", getattr(error, "strerror", None) or error) from None
    return stat.st_mtime_ns, stat.st_size
