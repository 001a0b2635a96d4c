"""Where a training worker's batches come from: straight off the stream, or features held in Ray's object store.

Both give, for each segment of the schedule, this worker's batches in order, as a dict of CPU tensors: patches
float16 [B, T, N, J], cls float16 [B, T, J], labels int64 [B, heads], row, view int64 [B], valid, short bool [B],
decoder uint8 [B], reason uint8 [B, 240]. Places that are padding or quarantined have valid False and zero features.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import ray
import torch
from ray.data.block import BlockAccessor
from torch import Tensor

from ..errors import InputError
from .quarantine import REASON_BYTES
from .schedule import Schedule, Segment

Batch = dict[str, Tensor]


class Source(Protocol):
    """One worker's side of the schedule."""

    def batches(self, segment: Segment) -> Iterator[Batch]:
        """This worker's batches of a segment; segments must be asked for in the order of the schedule."""


class Streamed:
    """Batches as they come off the stream.

    Args:
        streams: this worker's shares of `stream.feature_stream`, one for each of `schedule.windows()`, opened one by one.
        labels: int64 [manifest rows, heads], -1 = no label.
        worker: rank.
    """

    def __init__(
        self, streams: Iterable[ray.data.DataIterator], labels: np.ndarray, schedule: Schedule, worker: int, prefetch_batches: int
    ):
        self.labels, self.schedule, self.worker = torch.tensor(labels), schedule, worker
        size = schedule.batch_size // schedule.workers
        self._batches = (
            batch
            for stream in streams
            for batch in stream.iter_torch_batches(batch_size=size, prefetch_batches=prefetch_batches, device="cpu")
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


class Held:
    """Features of every (clip, view), encoded once and read from the object store without copying.

    Args:
        blocks: object refs of Ray Data blocks, as `hold` returns them.
        labels: as in `Streamed`.
        schedule: the training schedule; view v of epoch e is v = e mod views.
        worker: rank.
    """

    def __init__(self, blocks: list[ray.ObjectRef], labels: np.ndarray, schedule: Schedule, worker: int, views: int):
        self.blocks = [BlockAccessor.for_block(block).to_batch_format("numpy") for block in ray.get(blocks)]  # no copies
        self.labels, self.schedule, self.worker, self.views = torch.tensor(labels), schedule, worker, views
        validation = set(schedule.val_rows.tolist())
        self.places = {}  # (row, view, is validation) -> (block, offset)
        for number, block in enumerate(self.blocks):
            for offset, (row, view) in enumerate(zip(block["row"].tolist(), block["view"].tolist())):
                if row >= 0:
                    self.places[row, view, row in validation] = number, offset

    def batches(self, segment: Segment) -> Iterator[Batch]:
        validation = segment.kind == "val"
        for rows, views in self.schedule.worker_clips(segment, self.worker):
            views = views if validation else views % self.views
            picked = [self._clip(int(row), int(view), validation) for row, view in zip(rows, views)]
            batch = {name: torch.from_numpy(np.stack([clip[name] for clip in picked])) for name in picked[0]}
            yield batch | {"labels": _labels(self.labels, batch["row"])}

    def _clip(self, row: int, view: int, validation: bool) -> dict[str, np.ndarray]:
        if row < 0:
            block = self.blocks[0]
            empty = {name: np.zeros_like(values[0]) for name, values in block.items()}
            return empty | {"row": np.int64(row), "valid": np.False_}
        number, offset = self.places[row, view, validation]
        return {name: values[offset] for name, values in self.blocks[number].items()}


def hold(
    features: ray.data.Dataset, clips: int, clip_bytes: int, show: Callable[[str, int, int, str], None] | None = None
) -> list[ray.ObjectRef]:
    """Run the stream once and keep its blocks in the object store of the cluster.

    Raises:
        InputError: `clips` x `clip_bytes` would not fit into half of the object store of each node, since a training worker
            maps all of them; before anything is decoded.
    """
    rooms = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
    if 2 * clips * clip_bytes > min(rooms):
        raise InputError(
            f"stream.hold: {clips} clip views need {clips * clip_bytes / 1e9:.2f} GB, more than half of a node's object store"
            f" of {min(rooms) / 1e9:.2f} GB; lower stream.views or set stream.hold=false"
        )
    blocks, done = [], 0
    for bundle in features.iter_internal_ref_bundles():
        blocks += bundle.block_refs
        done += bundle.num_rows()
        if show:
            show("encode", done, clips, "")
    return blocks


def _labels(labels: Tensor, rows: Tensor) -> Tensor:
    """Labels of the rows of a batch, int64 [B, heads]; padding has none."""
    picked = labels[rows.clamp(min=0)]
    return torch.where(rows[:, None] >= 0, picked, torch.full_like(picked, -1))


def clip_bytes(frames: int, patch_tokens: int, joint_width: int) -> int:
    """Bytes of one clip view's features in float16 (patches and cls) with its notices."""
    return frames * (patch_tokens + 1) * joint_width * 2 + REASON_BYTES + 20
