"""Features on disk: encoded once, read by every row of every table. Layout of ROOT/KEY:

    cache.json         its format, what it was made from and declared for
    index.parquet      a row a (clip, view): where it lies, whether it could be read, and if not, why
    shards.parquet     bytes and checksum of every file
    shards/*.npy       [clips, F, 1 + N, J] float16 (or int8, with a scale a token in *.scale.npy), the cls token first

F frames a view are those of the grids of each declared T, one after the other: centred grids of different T do not
nest, so that T = 4, 8, 16 take 28 frames; each T reads its own part.
"""

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .. import config
from ..errors import InputError
from ..files import write_whole
from .cache_folder import INDEX, RECORD, Contents, cache_folders, read_record
from .shards import mapped, shard_file

FEATURES = 1  # goes up where the same clips, weights and settings come to other features
SHARDS, CHECKED = "shards.parquet", "checked.json"


def cache_key(experiment: config.Experiment, backbone_hash: str, crop: int, flip: bool, clips: str) -> str:
    """12 hex digits of what decides the features of a (clip, view): weights, preprocessing, sampling, the manifest.

    Args:
        clips: `Manifest.features_hash` of the whole data set; a row's number seeds its augmentation.
    """
    sampling = experiment.sampling.model_dump(
        include={"mode", "decoder"} | ({"stride"} if experiment.sampling.mode == "dense" else set())
    )
    # what came later counts where it is on: caches that are there keep their keys
    off = set() if experiment.transform.random_erasing else {"random_erasing"}
    transform = experiment.transform.model_dump(exclude={"size", "flip"} | off) | {"size": crop, "flip": flip}
    parts = [FEATURES, backbone_hash, experiment.backbone.precision, transform, sampling, clips]
    if experiment.backbone.pruning:  # what was cached before there was any keeps its key
        parts.append({"pruning": experiment.backbone.pruning})
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


class Cache:
    """An opened cache; may be pickled to workers, which open its files when they first read them.

    `index` has a row a stored view: clip_id, kind ("train" or "test"), view, shard, offset, valid, decoder, stage,
    reason and short_T for each T.
    """

    def __init__(self, folder: Path, contents: Contents, tokens: int, width: int, index: pd.DataFrame):
        self.folder, self.contents, self.tokens, self.width, self.index = folder, contents, tokens, width, index
        self._shard, self._offset = index["shard"].to_numpy(), index["offset"].to_numpy()

    def read(
        self, places: np.ndarray, frames: int, backwards: bool = False, pin: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Features of stored views.

        Args:
            places: int [n], rows of `index`; -1 gives zeros.
            frames: T, one of `contents.frames`.
            backwards: hand out the frames in reverse.
            pin: into page-locked memory, from which a copy to a GPU need not be waited for.

        Returns:
            patches float16 [n, T, N, J] and cls float16 [n, T, J], both contiguous.
        """
        patches = _empty((len(places), frames, self.tokens - 1, self.width), pin)
        cls = _empty((len(places), frames, self.width), pin)
        part = self.contents.part(frames)
        for row, place in enumerate(places):
            if place < 0:
                patches[row], cls[row] = 0, 0
                continue
            shard, offset = int(self._shard[place]), int(self._offset[place])
            tokens = mapped(shard_file(self.folder, shard))[offset, part]  # [T, 1 + N, J]
            if self.contents.storage == "int8":
                scale = mapped(shard_file(self.folder, shard, scale=True))[offset, part]  # [T, 1 + N]
                # torch is ten times as fast as numpy at this
                tokens = (
                    torch.from_numpy(np.array(tokens))
                    .float()
                    .mul_(torch.from_numpy(scale.astype(np.float32))[..., None])
                )
                tokens = tokens.flip(0) if backwards else tokens
                torch.from_numpy(patches[row]).copy_(tokens[:, 1:])
                torch.from_numpy(cls[row]).copy_(tokens[:, 0])
            else:
                tokens = tokens[::-1] if backwards else tokens
                patches[row], cls[row] = tokens[:, 1:], tokens[:, 0]
        return torch.from_numpy(patches), torch.from_numpy(cls)

    @property
    def int8_error(self) -> float:
        """What storing lost: root of the summed squares of the differences over those of the features;
        0 for float16.
        """
        lost, signal = (self.index.attrs.get(name, 0.0) for name in ("lost", "signal"))
        return (lost / signal) ** 0.5 if signal else 0.0


def _empty(shape: tuple[int, ...], pin: bool) -> np.ndarray:
    """float16; page-locked memory is torch's, other is NumPy's,
    which asks for large pages and so is written four times as fast.
    """
    return torch.empty(shape, dtype=torch.float16, pin_memory=True).numpy() if pin else np.empty(shape, np.float16)


def open_cache(root: str | Path, key: str, needed: Contents) -> Cache:
    """Open and check the cache of `key` below `root` that has what is needed.

    Every file's size is checked; its checksum too, once, and again whenever its time or size has changed.

    Raises:
        InputError: there is none, it is unfinished, damaged, truncated, made for something else, or lacks what is
            needed.
    """
    root = Path(root).absolute()
    remedy = "make it with python jobs/extract_features.py and the same settings"
    records = {folder: read_record(folder) for folder in cache_folders(root, key)}
    if not records:
        others = [path.parent.name for path in root.glob(f"*/{RECORD}")]
        found = (
            f"those there were made for other settings or videos: {', '.join(sorted(others))}"
            if others
            else "there is none"
        )
        raise InputError(f"stream.cache: no cache {key} in {root} ({found}); {remedy}")
    for folder, record in records.items():
        if record["key"] != key:
            raise InputError(
                f"stream.cache: {folder} was made for other settings ({record['key']}); delete it, and {remedy}"
            )
    lacking = {folder: record["contents"].lacks(needed) for folder, record in records.items()}
    if all(lacking.values()):
        reasons = "; ".join(f"{folder.name}: {reason}" for folder, reason in lacking.items())
        raise InputError(f"stream.cache: no cache of {key} in {root} can serve this ({reasons}); {remedy}")
    folder = next(folder for folder, reason in lacking.items() if not reason)
    record = records[folder]
    if not (folder / SHARDS).exists() or not (folder / INDEX).exists():
        raise InputError(f"stream.cache: {folder} is unfinished; finish it: {remedy}")
    try:
        shards, index = pd.read_parquet(folder / SHARDS), pd.read_parquet(folder / INDEX)
    except (OSError, ValueError) as error:
        # the system's; those of pyarrow, which mean damage, have no number
        if isinstance(error, OSError) and error.errno:
            raise InputError(f"stream.cache: {folder} cannot be read ({error.strerror})") from None
        raise InputError(
            f"stream.cache: {folder} is damaged ({SHARDS} or {INDEX} cannot be read); delete it, and {remedy}"
        ) from None
    if (bad := check_shards(folder, shards)) is not None:
        raise InputError(f"stream.cache: {folder} is damaged: {bad}; delete it, and {remedy}")
    return Cache(folder, record["contents"], record["tokens"], record["width"], index)


def check_shards(folder: Path, shards: pd.DataFrame) -> str | None:
    """What is wrong with the files of a cache, in words, or None; marks what was checked."""
    try:
        checked = json.loads((folder / CHECKED).read_text())
    except (OSError, ValueError):
        checked = {}
    before = dict(checked)
    for name, size, checksum in shards[["file", "bytes", "crc32"]].itertuples(index=False):
        path = folder / "shards" / name
        try:
            stat = path.stat()
        except OSError:
            return f"{name} is missing"
        if stat.st_size != size:
            return f"{name} has {stat.st_size} bytes, not {size}"
        if checked.get(name) != [stat.st_size, stat.st_mtime_ns]:
            if file_checksum(path) != checksum:
                return f"the checksum of {name} is wrong"
            checked[name] = [stat.st_size, stat.st_mtime_ns]
    if checked != before:
        try:
            write_whole(folder / CHECKED, json.dumps(checked))
        except OSError:  # a read-only cache is checked each time
            pass
    return None


def file_checksum(path: Path) -> int:
    """CRC-32 of a file."""
    checksum = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 22):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
