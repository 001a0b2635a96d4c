"""Which files a data set has, by the sizes of some of them: other files under the same clip ids are other data."""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from stat import S_ISDIR

import numpy as np

from ..errors import InputError
from ..passwords import redact
from .remote import RemoteError, is_url, known_version
from .tar_members import part_of

SAMPLE = 256  # files, at the most, whose sizes `fingerprint` reads
ASKED_AT_ONCE = 16  # of them, of a server


def fingerprint(paths: Iterable[str]) -> str:
    """12 hex digits of the sizes of at most `SAMPLE` files, spread evenly over the paths, wherever the files lie.

    It differs for another data set under the same clip ids, such as toy data of another seed or resolution. It misses
    a file replaced outside of the sample, and a file replaced by one of exactly its size. A missing file, and one whose
    size the server does not say, count as one without a size.

    Raises:
        InputError: a server does not answer.
    """
    files = list(dict.fromkeys(paths))
    sample = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(len(files), SAMPLE)).astype(int))]
    if any(map(is_url, sample)):
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            sizes = list(pool.map(_size, sample))
    else:
        sizes = list(map(_size, sample))
    return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()[:12]


def _size(path: str) -> int | list[int] | None:
    """Bytes of a file; of a folder of frames how many there are, and the bytes of one. None: neither is there."""
    try:
        if part := part_of(path):
            return part[0].size
        path = path.removeprefix("file://")
        if is_url(path):
            return known_version(path).size
        stat = os.stat(path)
        if not S_ISDIR(stat.st_mode):
            return stat.st_size
        names = sorted(os.listdir(path))
        return [len(names), os.stat(os.path.join(path, names[0])).st_size if names else 0]
    except OSError:
        return None
    except RemoteError as error:
        if error.tried:
            raise InputError(f"data: {redact(path)}: {error.reason}; try again later") from None
        return None
