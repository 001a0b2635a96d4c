"""The files of a feature cache: NumPy arrays of clips, mapped into memory and read where a batch asks.

A shard is [clips, F, 1 + N, J], the cls token first: float16, or int8 with a scale a token in a file beside it.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

OPEN_FILES = 512  # a process keeps at most so many shards open: often 1,024 are allowed


def shard_file(folder: Path, shard: int, scale: bool = False) -> Path:
    """The features of a shard, or the scales of its tokens."""
    return folder / "shards" / f"{shard:06d}{'.scale' if scale else ''}.npy"


@lru_cache(maxsize=OPEN_FILES)
def mapped(path: Path) -> np.ndarray:
    """A shard as it lies in its file; read when it is looked at, and copied by whoever keeps it."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def to_int8(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float16 [..., J] -> int8 [..., J] and float16 scales [...]: a token is round(x / scale),
    scale = max |x| / 127.
    """
    values = features.astype(np.float32)
    scale = (np.abs(values).max(axis=-1) / 127).astype(np.float16)
    # what is stored is divided by: rounding the scale to float16 must not add to the error; zeros stay zeros
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)
    return np.clip(np.rint(values / divisor[..., None]), -127, 127).astype(np.int8), scale
