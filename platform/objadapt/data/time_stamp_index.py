"""What `probe` learns of a long file, kept in a folder, so that each further clip of it costs no second pass.

    FOLDER/<hash of the path>.npz   arrays of `VideoInfo`; `facts`: its other fields and the file's version, as JSON

A file with another size or time of change is probed again. Several tasks may write the same index at once: each
writes the whole file, and all write the same content.
"""

import hashlib
import io
import json
import logging
import os
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..files import write_whole
from .probe import VideoInfo, probe

FORMAT = 2  # goes up when `probe` gives another answer for the same file
ARRAYS = ("pts_s", "pts", "keys")

log = logging.getLogger(__name__)


def probe_kept(path: str, folder: Path) -> VideoInfo:
    """`probe(path)` of a local file, read from the folder where it is kept. Errors are those of `probe`.

    Raises:
        FullDisk: there is no room for the index.
    """
    stat = os.stat(path)
    version = [FORMAT, os.path.abspath(path), stat.st_size, stat.st_mtime_ns]
    file = folder / f"{hashlib.sha256(version[1].encode(errors='surrogateescape')).hexdigest()[:24]}.npz"
    kept = _read(file, version)
    if kept is None:
        kept = probe(path)
        _write(file, version, kept)
    return kept


def _read(file: Path, version: list) -> VideoInfo | None:
    """The index of this very version of a file; None: there is none, or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as content:
            facts = json.loads(str(content["facts"]))
            if facts.pop("version") != version:
                return None
            arrays = {name: np.cumsum(content[name], axis=0) for name in ARRAYS if name in content}
        return VideoInfo(**{"pts": None, **arrays, **facts, "pts_s": arrays["pts_s"] / 1e6})
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        return None


def _write(file: Path, version: list, info: VideoInfo) -> None:
    facts = asdict(info)
    arrays = {name: facts.pop(name) for name in ARRAYS}
    arrays["pts_s"] = np.round(arrays["pts_s"] * 1e6).astype(np.int64)  # exact: `probe` rounds to the microsecond
    # nearly all alike: small
    steps = {
        name: np.diff(array, axis=0, prepend=np.zeros_like(array[:1]))
        for name, array in arrays.items()
        if array is not None
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **steps, facts=json.dumps(facts | {"version": version}))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, buffer.getbuffer())
    except OSError as error:
        log.warning("%s cannot be kept (%s): each process looks at the whole video", file, error.strerror)
