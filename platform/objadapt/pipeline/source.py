"""Where a training worker's batches come from: straight off the stream, features held in Ray's object store,
or a cache.

All give, for each segment of the schedule, this worker's batches in order, as a dict of CPU tensors: patches
float16 [B, T, N, J], cls float16 [B, T, J], labels int64 [B, heads], row, view int64 [B], valid, short bool [B],
decoder uint8 [B], fetched int64 [B] (bytes read over the network), reason uint8 [B, 240]. Places that are padding or
quarantined have valid False and zero features. A stream for a method that takes frames gives frames
uint8 [B, T, S, S, 3] in place of patches and cls.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import ray
import torch
from ray.data.block import Block, BlockAccessor
from torch import Tensor

from ..config import Experiment, Sampling
from ..data.clip import short_reason
from ..errors import InputError
from .cache import Cache
from .quarantine import REASON_BYTES, encode_reason
from .schedule import Schedule, Segment

Batch = dict[str, Tensor]


class Source(Protocol):
    """One worker's side of the schedule."""

    def batches(self, segment: Segment) -> Iterator[Batch]:
        """This worker's batches of a segment; segments must be asked for in the order of the schedule."""
        ...


class Streamed:
    """Batches as they come off the stream.

    Args:
        streams: this worker's shares of `stream.feature_stream` or `stream.decoded_stream`, one for each of
            `schedule.windows()`, opened one by one.
        labels: int64 [manifest rows, heads], -1 = no label.
        worker: rank.
        pin: into page-locked memory, for a GPU.
    """

    def __init__(
        self,
        streams: Iterable[ray.data.DataIterator],
        labels: np.ndarray,
        schedule: Schedule,
        worker: int,
        prefetch_batches: int,
        pin: bool = False,
    ):
        self.labels, self.schedule, self.worker = torch.tensor(labels), schedule, worker
        size = schedule.batch_size // schedule.workers
        self._batches = (
            batch
            for stream in streams
            for batch in stream.iter_torch_batches(
                prefetch_batches=prefetch_batches, batch_size=size, device="cpu", pin_memory=pin
            )
        )

    def batches(self, segment: Segment) -> Iterator[Batch]:
        for step, (rows, _) in enumerate(self.schedule.worker_clips(segment, self.worker), segment.skip):
            batch = next(self._batches, None)
            place = f"step {step} of {segment.steps} of {segment.kind} {segment.number}"
            if batch is None:
                raise RuntimeError(f"the stream ended at {place}")
            if batch["row"].tolist() != rows.tolist():  # Ray dealt the blocks otherwise than schedule.py counts on
                raise RuntimeError(f"the stream brought other clips than scheduled at {place}")
            yield batch | {"labels": _labels(self.labels, batch["row"])}

    def close(self) -> None:
        """End the stream: Ray Data at work when its process ends would abort it."""
        self._batches.close()


class Held:
    """Features of every (clip, view), encoded once and read from the object store without copying.

    Args:
        blocks: object refs of Ray Data blocks, as `hold` returns them.
        labels: as in `Streamed`.
        schedule: the training schedule, under whose seed each clip goes through its views in an order of its own.
        worker: rank.
    """

    def __init__(self, blocks: list[ray.ObjectRef], labels: np.ndarray, schedule: Schedule, worker: int, views: int):
        self.blocks = [_columns(block) for block in ray.get(blocks)]
        self.labels, self.schedule, self.worker, self.views = torch.tensor(labels), schedule, worker, views
        self.validated = False  # what was read of a clip is told with its first look
        validation = set(schedule.val_rows.tolist())
        self.places = {}  # (row, view, is validation) -> (block, offset)
        for number, block in enumerate(self.blocks):
            for offset, (row, view) in enumerate(zip(block["row"].tolist(), block["view"].tolist(), strict=True)):
                if row >= 0:
                    self.places[row, view, row in validation] = number, offset

    def batches(self, segment: Segment) -> Iterator[Batch]:
        validation = segment.kind == "val"
        for rows, views in self.schedule.worker_clips(segment, self.worker, self.views):
            picked = [self._clip(int(row), int(view), validation) for row, view in zip(rows, views, strict=True)]
            batch = {name: torch.from_numpy(np.stack([clip[name] for clip in picked])) for name in picked[0]}
            if self.validated if validation else segment.number:
                batch["fetched"] = torch.zeros_like(batch["row"])
            yield batch | {"labels": _labels(self.labels, batch["row"])}
        self.validated = self.validated or validation

    def _clip(self, row: int, view: int, validation: bool) -> dict[str, np.ndarray]:
        if row < 0:
            block = self.blocks[0]
            empty = {name: np.zeros_like(values[0]) for name, values in block.items()}
            return empty | {"row": np.int64(row), "valid": np.False_}
        number, offset = self.places[row, view, validation]
        return {name: values[offset] for name, values in self.blocks[number].items()}


class Cached:
    """Batches from a feature cache.

    Args:
        cache: opened; it may hold more clips, views and T than are asked for.
        clip_ids: of the manifest's rows.
        labels, schedule, worker, views: as in `Held`; validation clips are read in their test views.
        sampling: T, and what becomes of short clips.
        reverse: hand out the validation clips' frames backwards.
        pin: into page-locked memory, for a GPU.

    Raises:
        InputError: a clip of the schedule is not in the cache.
    """

    def __init__(  # noqa: PLR0913 -- a cache, a schedule and a sampling are no one thing
        self,
        cache: Cache,
        clip_ids: list[str],
        labels: np.ndarray,
        schedule: Schedule,
        worker: int,
        views: int,
        sampling: Sampling,
        reverse: bool = False,
        pin: bool = False,
    ):
        self.cache, self.schedule, self.worker, self.views = cache, schedule, worker, views
        self.reverse, self.pin = reverse, pin
        self.labels, self.frames, index = torch.tensor(labels), sampling.frames, cache.index
        self.valid, self.decoder = index["valid"].to_numpy(), index["decoder"].to_numpy(np.uint8)
        self.short = index[f"short_{self.frames}"].to_numpy()
        self.reasons = {
            place: (index["stage"].iloc[place], index["reason"].iloc[place]) for place in np.flatnonzero(~self.valid)
        }
        if sampling.short_clips == "quarantine":
            for place in np.flatnonzero(self.valid & self.short):
                self.reasons[place] = ("sampling", short_reason(sampling))
            self.valid, self.short = self.valid & ~self.short, self.short & False
        ids = pd.Index(clip_ids)
        # manifest rows of the stored views; -1: of another part of the data
        stored_row = ids.get_indexer(index["clip_id"])  # pyright: ignore[reportArgumentType]  # a column, no table
        stored_kind, stored_view = index["kind"].to_numpy(), index["view"].to_numpy()
        self.places = {}  # kind -> row of the index [manifest rows, views]; -1: not there
        for kind, rows, count in (
            ("train", schedule.train_rows, views),
            ("test", schedule.val_rows, schedule.val_views),
        ):
            places = np.full((len(clip_ids), count), -1, np.int64)
            here = np.flatnonzero((stored_kind == kind) & (stored_view < count) & (stored_row >= 0))
            places[stored_row[here], stored_view[here]] = here
            missing = rows[(places[rows] < 0).any(axis=1)]
            if len(missing):
                clip = clip_ids[missing[0]]
                raise InputError(
                    f"stream.cache: {cache.folder} has no clip {clip!r} ({kind}); extract it for this data set"
                )
            self.places[kind] = places

    def batches(self, segment: Segment) -> Iterator[Batch]:
        kind = "test" if segment.kind == "val" else "train"
        for rows, views in self.schedule.worker_clips(segment, self.worker, self.views):
            places = np.where(rows >= 0, self.places[kind][rows, views], -1)
            yield self._batch(rows, views, places, backwards=self.reverse and kind == "test")

    def _batch(self, rows: np.ndarray, views: np.ndarray, places: np.ndarray, backwards: bool) -> Batch:
        there = places >= 0
        valid, short = self.valid[places] & there, self.short[places] & there
        patches, cls = self.cache.read(np.where(valid, places, -1), self.frames, backwards, self.pin)
        reason = np.zeros((len(rows), REASON_BYTES), np.uint8)
        for position in np.flatnonzero(there & ~valid):
            reason[position] = encode_reason(*self.reasons[places[position]])
        return {
            "patches": patches,
            "cls": cls,
            "labels": _labels(self.labels, torch.from_numpy(rows)),
            "row": torch.from_numpy(rows),
            "view": torch.from_numpy(views),
            "valid": torch.from_numpy(valid),
            "short": torch.from_numpy(short),
            "decoder": torch.from_numpy(np.where(there & valid, self.decoder[places], 0).astype(np.uint8)),
            "fetched": torch.zeros(len(rows), dtype=torch.int64),  # it was, when the cache was made
            "reason": torch.from_numpy(reason),
        }


@dataclass(frozen=True, eq=False)
class Stored:
    """Features that are encoded already: held blocks, or a cache; may be pickled to workers.

    Args:
        clip_ids, labels: of the manifest's rows.
        config: of the run.
    """

    held: list[ray.ObjectRef] | None
    cache: Cache | None
    clip_ids: list[str]
    labels: np.ndarray
    config: Experiment

    def source(self, schedule: Schedule, worker: int, device: torch.device) -> Source:
        """One worker's batches, for training on `device`."""
        config, views = self.config, self.config.stream.views
        if self.held is not None:
            return Held(self.held, self.labels, schedule, worker, views)
        assert self.cache is not None, "features are held or cached"
        reverse, pin = config.evaluation.reverse, device.type == "cuda"
        return Cached(self.cache, self.clip_ids, self.labels, schedule, worker, views, config.sampling, reverse, pin)


def hold(
    features: ray.data.Dataset, clips: int, clip_bytes: int, show: Callable[[str, int, int, str], None] | None = None
) -> list[ray.ObjectRef]:
    """Run the stream once and keep its blocks in the object store of the cluster.

    Raises:
        InputError: `clips` x `clip_bytes` would not fit into half of the object store of each node, since a training
            worker maps all of them; before anything is decoded.
    """
    rooms = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
    if 2 * clips * clip_bytes > min(rooms):
        raise InputError(
            f"stream.hold: {clips} clip views need {clips * clip_bytes / 1e9:.2f} GB, more than"
            " half of a node's object store"
            f" of {min(rooms) / 1e9:.2f} GB; lower stream.views or set stream.hold=false"
        )
    blocks, done = [], 0
    for bundle in features.iter_internal_ref_bundles():
        blocks += bundle.block_refs
        done += bundle.num_rows()  # pyright: ignore[reportOperatorIssue]  # Ray knows the rows of blocks that are there
        if show:
            show("encode", done, clips, "")
    return blocks


def _columns(block: Block) -> dict[str, np.ndarray]:
    """Of a block of Ray Data, without copying."""
    accessor = BlockAccessor.for_block(block)
    return accessor.to_batch_format("numpy")  # pyright: ignore[reportReturnType]  # Ray's stub: any format


def _labels(labels: Tensor, rows: Tensor) -> Tensor:
    """Labels of the rows of a batch, int64 [B, heads]; padding has none."""
    picked = labels[rows.clamp(min=0)]
    return torch.where(rows[:, None] >= 0, picked, torch.full_like(picked, -1))


def clip_bytes(frames: int, patch_tokens: int, joint_width: int) -> int:
    """Bytes of one clip view's features in float16 (patches and cls) with its notices."""
    return frames * (patch_tokens + 1) * joint_width * 2 + REASON_BYTES + 28
