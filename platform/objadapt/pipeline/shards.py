"""The files of a feature cache: NumPy arrays of clips, each read from the file straight to where the batch wants it.

A shard is [clips, F, 1 + N, J], the cls token first: float16, or int8 with a scale a token in a file beside it. One call of
`preadv` reads a clip's frames and parts cls from patches on the way, so nothing is copied twice, and other threads go on.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path

import numpy as np

OPEN_FILES = 256  # a process keeps at most so many shards open: often 1,024 are allowed


def shard_file(folder: Path, shard: int, scale: bool = False) -> Path:
    """The features of a shard, or the scales of its tokens."""
    return folder / "shards" / f"{shard:06d}{'.scale' if scale else ''}.npy"


def read_clip(path: Path, clip: int, first: int, parts: list[np.ndarray]) -> None:
    """Fill `parts`, one after the other, with what lies in a shard from frame `first` of a clip on.

    Args:
        parts: contiguous arrays of the shard's dtype, such as the cls token [1, J] of a frame, then its patches [N, J].

    Raises:
        OSError: the file ends before that.
    """
    shard = _opened(path)
    start = shard.data + (clip * shard.frames + first) * shard.frame_bytes
    wanted = sum(part.nbytes for part in parts)
    if (read := os.preadv(shard.file.fileno(), parts, start)) != wanted:
        raise OSError(f"{path}: {read} bytes at {start}, {wanted} were to be read; the file has changed since it was checked")


@dataclass(frozen=True)
class _Shard:
    file: FileIO  # closed when the cache of open files lets go of it
    data: int  # where the array begins
    frames: int  # F
    frame_bytes: int


@lru_cache(maxsize=OPEN_FILES)
def _opened(path: Path) -> _Shard:
    file = open(path, "rb", buffering=0)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return _Shard(file, file.tell(), shape[1], int(np.prod(shape[2:])) * dtype.itemsize)


def to_int8(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float16 [..., J] -> int8 [..., J] and float16 scales [...]: a token is round(x / scale), scale = max |x| / 127."""
    values = features.astype(np.float32)
    scale = (np.abs(values).max(axis=-1) / 127).astype(np.float16)
    # what is stored is divided by: rounding the scale to float16 must not add to the error; zeros stay zeros
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)
    return np.clip(np.rint(values / divisor[..., None]), -127, 127).astype(np.int8), scale
