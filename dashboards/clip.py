"""A clip to look at."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Clip:
    """A span [start, end) in seconds (nan: open) of a video file, or pictures of a DAVIS sequence with their masks."""

    name: str
    file: str | None = None
    start_s: float = math.nan
    end_s: float = math.nan
    pictures: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


def clip_of(row: tuple) -> Clip:
    """The clip of a row of `run_files.read_clips`."""
    start, end = (math.nan if value is None else float(value) for value in (row.start_s, row.end_s))
    return Clip(f"{row.clip_id} ({row.path})", row.path, start, end)
