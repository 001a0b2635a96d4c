"""Clips that are judged on and trained on alike: one file under two ids, spans that overlap, a copy of the file.

The publishers of a data set answer for its splits; whoever sorts own videos into folders copies one sooner or later.
"""

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from .remote import is_url

BEGIN = 4096  # bytes; files of one size are read whole where these are alike

log = logging.getLogger(__name__)


def files_of(paths: pd.Series, copies: bool) -> np.ndarray:
    """The file of each clip: one path of those that are written otherwise, an array of objects.

    Args:
        copies: whether files of the same bytes count as one, links included. Then the size of every local file is
            read, and files of one size are compared.
    """
    file = np.array([path if is_url(path) else os.path.normpath(path) for path in paths], dtype=object)
    first = same_files(file) if copies else {}
    return np.array([first.get(path, path) for path in file], dtype=object)


def shared_moments(table: pd.DataFrame, file: np.ndarray) -> np.ndarray:
    """A number for each clip, int64, which is one for clips of a file whose spans overlap, one after the other.

    Args:
        table: columns start_s and end_s (float64, NaN: open).
        file: `files_of` the clips.
    """
    spans = pd.DataFrame(
        {
            "file": pd.factorize(file)[0],
            "start": table["start_s"].fillna(-np.inf).to_numpy(),
            "end": table["end_s"].fillna(np.inf).to_numpy(),
        }
    ).sort_values(["file", "start"], kind="stable")
    reached = spans.groupby("file")["end"].cummax().shift()  # how far the clips before have come
    begins = (spans["file"] != spans["file"].shift()) | (spans["start"] >= reached)
    return begins.cumsum().sort_index().to_numpy()


def warn_of_clips_seen_twice(table: pd.DataFrame, file: np.ndarray) -> None:
    """Warn where clips of other splits share moments with training clips, else where two clips are one file and span.

    Args:
        table: columns clip_id, path, start_s, end_s (float64, NaN: open) and split.
        file: `files_of` the clips.
    """
    counted = ~(table["end_s"] <= table["start_s"]).to_numpy()  # the others will be quarantined
    table, file = table[counted], file[counted]
    trained = (table["split"] == "train").to_numpy()
    starts, ends = table["start_s"].fillna(-np.inf).to_numpy(), table["end_s"].fillna(np.inf).to_numpy()
    both = pd.Series(file).isin(set(file[trained]) & set(file[~trained])).to_numpy()
    judged, examples = 0, []
    for _, group in pd.Series(np.flatnonzero(both)).groupby(file[both], sort=False):
        mine = group.to_numpy()
        ours, theirs = mine[trained[mine]], mine[~trained[mine]]
        meet = (starts[ours] < ends[theirs, None]) & (starts[theirs, None] < ends[ours])  # [theirs, ours]
        judged += int(meet.any(axis=1).sum())
        examples += [(ours[pair[1]], theirs[pair[0]]) for pair in np.argwhere(meet)[:1]]
    if judged:
        log.warning(
            "%d clips of other splits share moments with training clips: %s", judged, _told(table, *examples[0])
        )
        return
    spans = pd.Series(list(zip(file, starts, ends, strict=True)), dtype=object)
    again = np.flatnonzero(spans.duplicated(keep=False))
    if len(again):
        other = next(one for one in again[1:] if spans[one] == spans[again[0]])
        log.warning("%d clips share file and span with another: %s", len(again), _told(table, again[0], other))


def same_files(paths: Iterable[str]) -> dict[str, str]:
    """Path -> the first path of the same bytes, where there are several; URLs are left out.

    Folders of frames are compared, too: by the number of their files, and all of them in the order of their names.
    """
    found = {}
    for of_a_size in _groups(paths, _size):
        for alike in _groups(of_a_size, _begin):
            for same in _groups(alike, _content):
                found |= dict.fromkeys(same, same[0])
    return found


def _groups(paths: Iterable[str], key: Callable[[str], object]) -> list[list[str]]:
    """Paths of one key together, where there are several; those without a key, or that cannot be read, are left out."""
    found = defaultdict(list)
    for path in dict.fromkeys(paths):
        try:
            kind = key(path)
        except OSError:  # told by whoever decodes it
            continue
        if kind is not None:
            found[kind].append(path)
    return [group for group in found.values() if len(group) > 1]


def _size(path: str) -> tuple[str, int] | None:
    """Bytes of a local file, or the number of files in a folder; None for a URL and for what is empty."""
    if is_url(path):
        return None
    size = ("files", len(_files(path))) if os.path.isdir(path) else ("bytes", os.path.getsize(path))
    return size if size[1] else None


def _begin(path: str) -> bytes:
    """The first bytes of a file, or of a folder's first one."""
    with open(_files(path)[0], "rb") as file:
        return file.read(BEGIN)


def _content(path: str) -> tuple[str, ...]:
    """A hash of each file."""
    hashes = []
    for one in _files(path):
        with open(one, "rb") as file:
            hashes.append(hashlib.file_digest(file, "blake2b").hexdigest())
    return tuple(hashes)


def _files(path: str) -> list[str]:
    """A file itself, or what a folder shows, by name."""
    if not os.path.isdir(path):
        return [path]
    return sorted(entry.path for entry in os.scandir(path) if not entry.name.startswith(".") and entry.is_file())


def _told(table: pd.DataFrame, one: int, other: int) -> str:
    """`clips 'a' and 'b' are one file (x.mp4), in train and val`; or they overlap in it, or are copies."""
    first, second = table.iloc[one], table.iloc[other]
    paths = list(dict.fromkeys([first["path"], second["path"]]))
    if len(paths) == 2 and os.path.normpath(paths[0]) == os.path.normpath(paths[1]):
        paths = paths[:1]
    files = f"one file ({paths[0]})" if len(paths) == 1 else f"files of the same bytes ({paths[0]} and {paths[1]})"
    spans = [tuple(row[["start_s", "end_s"]].fillna(-1)) for row in (first, second)]
    kind = "are" if spans[0] == spans[1] else "overlap in"
    where = "" if first["split"] == second["split"] else f", in {first['split']} and {second['split']}"
    return f"clips {first['clip_id']!r} and {second['clip_id']!r} {kind} {files}{where}"
