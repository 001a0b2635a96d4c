"""Fills a feature cache: schedule -> decode tasks -> backbone actors that write shards, streamed on every node.

A block of the schedule is a shard. Features never travel to the driver; a shard is there whole, with its rows beside it
in a JSON file, or not at all, so that an interrupted extraction goes on with the blocks that are missing.
"""

import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import ray
import torch

from .. import config
from ..backbone.features import encode_frames
from ..backbone.pruning import pruning_of
from ..files import write_whole
from .cache import CHECKED, SHARDS
from .cache_folder import INDEX, Contents
from .decoding import DecodeGrids, fetch
from .metrics import count_encoded
from .positions import positions
from .quarantine import decode_reason
from .schedule import WINDOW_BLOCKS, Schedule
from .shards import shard_file, to_int8
from .stream import Encode, configure_data_context, decode_task, encoder_pool


class EncodeShard(Encode):
    """Backbone actor that writes what it encodes; returns how many clips of a shard, and the error of storing them."""

    def __init__(
        self, settings: config.Experiment, folder: str, contents: Contents, block: int, clip_ids: ray.ObjectRef
    ):
        super().__init__(settings.backbone, settings.stream.encoder_cpus, settings.stream.encoder_gpus)
        self.folder, self.contents, self.block, self.clip_ids = Path(folder), contents, block, clip_ids

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        shard, kept = int(block["id"][0]) // self.block, np.flatnonzero(block["valid"])
        features, squares = self._encode(np.asarray(block["frames"])[kept]), (0.0, 0.0)
        arrays = {shard_file(self.folder, shard): features}
        if self.contents.storage == "int8":
            stored, scale = to_int8(features)
            arrays = {shard_file(self.folder, shard): stored, shard_file(self.folder, shard, scale=True): scale}
            values = features.astype(np.float32)
            lost = stored * scale[..., None].astype(np.float32) - values
            squares = float((lost.astype(np.float64) ** 2).sum()), float((values.astype(np.float64) ** 2).sum())
        files = [[path.name, *_write_array(path, array)] for path, array in arrays.items()]
        count_encoded(block["valid"])
        rows = self._rows(block, shard, kept)
        beside = {"rows": rows, "files": files, "lost": squares[0], "signal": squares[1]}
        write_whole(_beside(self.folder, shard), json.dumps(beside))
        return {"clips": np.array([len(rows)])}

    def _encode(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [b, F, S, S, 3] -> float16 [b, F, 1 + N, J]."""
        if not len(frames):
            return np.zeros((0, self.contents.frames_stored, 1, self.encoder.joint_width), np.float16)
        clips = torch.from_numpy(frames.copy())
        # pruning looks at the frames of a clip together: those of one T are a clip
        apart = self.contents.frames if pruning_of(self.encoder) else (self.contents.frames_stored,)
        encoded = [encode_frames(self.encoder, clip) for clip in clips.split(apart, dim=1)]
        return torch.cat([torch.cat([cls[:, :, None], patches], dim=2) for patches, cls in encoded], dim=1).numpy()

    def _rows(self, block: dict[str, np.ndarray], shard: int, kept: np.ndarray) -> list[dict]:
        offsets = {int(place): offset for offset, place in enumerate(kept)}
        clip_ids, rows = fetch(self.clip_ids), []
        for place in np.flatnonzero(block["row"] >= 0):
            stage, reason = decode_reason(block["reason"][place])
            rows.append(
                {
                    "clip_id": clip_ids[int(block["row"][place])],
                    "kind": "train" if block["training"][place] else "test",
                    "view": int(block["view"][place]),
                    "shard": shard,
                    "offset": offsets.get(int(place), -1),
                    "valid": int(place) in offsets,
                    "decoder": int(block["decoder"][place]),
                    "fetched": int(block["fetched"][place]),
                    "stage": stage,
                    "reason": reason,
                }
                | {
                    f"short_{frames}": bool(few)
                    for frames, few in zip(self.contents.frames, block["short"][place], strict=True)
                }
            )
        return rows


def extract(  # noqa: PLR0913 -- as `feature_stream`, and what a cache is
    schedule: Schedule,
    clips: pd.DataFrame,
    settings: config.Experiment,
    contents: Contents,
    size: int,
    flip: bool,
    folder: Path,
    show: Callable[[str, int, int, str], None] | None = None,
) -> None:
    """Encode and write what a cache lacks, then its index.

    Args:
        schedule: training views and test views, each once (`Schedule.for_holding`).
        clips: the manifest that the schedule's rows are of.
        size: side of the crop in pixels.
        folder: of the cache, with its cache.json, on storage that all nodes share.
    """
    configure_data_context()
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    block, total = schedule.block, len(schedule)
    done = {int(path.stem) for path in (folder / "shards").glob("*.json")}
    missing = [(start, block) for start in range(0, total, block) if start // block not in done]
    finished = total - len(missing) * block
    decode = DecodeGrids(ray.put(schedule), ray.put(clips), _declared(settings, contents), contents.frames, size, flip)
    task, clip_ids = decode_task(settings.stream), ray.put(clips["clip_id"].tolist())
    for part in range(0, len(missing), WINDOW_BLOCKS):
        asked = positions(missing[part : part + WINDOW_BLOCKS], task)
        # Ray's stub asks for a function that takes blocks of every format
        decoded = asked.map_batches(decode, batch_size=None, **task)  # pyright: ignore[reportArgumentType]  # stub
        written = decoded.map_batches(
            EncodeShard,
            fn_constructor_args=(settings, str(folder), contents, block, clip_ids),
            batch_size=None,
            **encoder_pool(settings.stream),
        )
        for _ in written.iter_internal_ref_bundles():
            finished += block
            if show:
                show("extract", finished, total, "clip views")
    _write_index(folder)


def views_kept(folder: Path) -> int:
    """Views in the shards of a cache that are whole, also where its extraction was interrupted."""
    return sum(len(json.loads(path.read_text())["rows"]) for path in (folder / "shards").glob("*.json"))


def _declared(settings: config.Experiment, contents: Contents) -> config.Experiment:
    """The config that decodes what a cache is declared for: training views are those of the stream under seed 0, and
    what becomes of short clips is left to who reads the cache."""
    sampling = settings.sampling.model_copy(update={"short_clips": "repeat"})
    tested = {"temporal_clips": contents.temporal_clips, "spatial_crops": contents.spatial_crops, "reverse": False}
    evaluation = settings.evaluation.model_copy(update=tested)
    return settings.model_copy(update={"seed": 0, "sampling": sampling, "evaluation": evaluation})


def _write_index(folder: Path) -> None:
    """Gather what lies beside the shards into the index; a cache with an index is finished."""
    paths = sorted((folder / "shards").glob("*.json"))
    beside = [json.loads(path.read_text()) for path in paths]
    checked = {}
    for name, size, _ in (file for one in beside for file in one["files"]):
        checked[name] = [size, (folder / "shards" / name).stat().st_mtime_ns]
    write_whole(folder / CHECKED, json.dumps(checked))
    _write_table(
        folder / SHARDS,
        pd.DataFrame([file for one in beside for file in one["files"]], columns=["file", "bytes", "crc32"]),
    )
    index = pd.DataFrame([row for one in beside for row in one["rows"]])
    index.attrs = {"lost": sum(one["lost"] for one in beside), "signal": sum(one["signal"] for one in beside)}
    _write_table(folder / INDEX, index)
    for path in [*paths, *folder.rglob("*.part")]:
        path.unlink()


def _write_table(path: Path, table: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_whole(path, buffer.getbuffer())


def _write_array(path: Path, array: np.ndarray) -> tuple[int, int]:
    """Write an array; -> bytes and CRC-32 of the file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_whole(path, buffer.getbuffer())
    return buffer.getbuffer().nbytes, zlib.crc32(buffer.getbuffer())


def _beside(folder: Path, shard: int) -> Path:
    return folder / "shards" / f"{shard:06d}.json"
