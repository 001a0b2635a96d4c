"""Which clip comes when: the whole run, from the first training batch to the last validation, as one numbered list.

A stream position is a pure function of (seed, epoch, labels), so any task on any node can work out its clips from a
position alone; nothing is shuffled by moving data. A run cut off after n steps goes on by starting the list later.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from .epoch_order import PADDING, Order, balanced, repeated

# Ray plans every block of a data set before the first comes out: longer lists are streamed in parts
WINDOW_BLOCKS = 20_000
# between the augmentations of a clip that comes again in an epoch: more than epochs, and a prime, so that of any number
# of stored views it takes another one each time
AGAIN = 1_000_003


def clips_a_block(batch_size: int, workers: tuple[int, int], limit: int, clips: int) -> int:
    """Clips of a unit of work: an even part of a worker's share of a batch, so that a step waits for no other clips.

    Where an epoch would be more than `WINDOW_BLOCKS` of these, a unit spans several batches.

    Args:
        workers: least and greatest number of training workers.
        limit: clips that a unit may have.
        clips: of an epoch.
    """
    least, most = workers
    share = batch_size // math.lcm(*range(least, most + 1))  # what any number of workers can be dealt whole
    block = max(size for size in range(1, min(limit, share) + 1) if share % size == 0)
    # an elastic training keeps its blocks, whatever the number of workers
    if least == most and clips > block * WINDOW_BLOCKS:
        block = max(block, min(limit, -(-clips // WINDOW_BLOCKS)))
    return block


@dataclass(frozen=True)
class Segment:
    """A stretch of the list.

    kind "train": one shuffled epoch, `number` is the epoch; "val": the validation views, after epoch `number`;
    "view": every training clip once in manifest order under augmentation `number` (to be held, see source.py).
    """

    kind: Literal["train", "val", "view"]
    number: int
    steps: int  # global batches
    skip: int = 0  # steps of it already done before a restart
    stop: int | None = None  # the first step that a later window has; None: it goes to its end

    @property
    def left(self) -> int:
        """Steps that are still to come."""
        return (self.steps if self.stop is None else self.stop) - self.skip


@dataclass(frozen=True, eq=False)
class Schedule:
    """The list. `block` clips make a unit of work; `workers` take blocks in turn, so that worker w of a step gets the
    w-th contiguous part of the global batch and the batch is the same for any number of workers.

    A block holds clips that follow each other in one worker's batches, of one batch or of several (`clips_a_block`).
    Where blocks do not part a segment evenly, its last ones are smaller.
    """

    train_rows: np.ndarray  # int64, rows of the manifest
    train_labels: np.ndarray  # int64, first head; -1 without label
    val_rows: np.ndarray
    val_views: int  # temporal clips x spatial crops
    batch_size: int  # global
    workers: int
    block: int
    seed: int
    clips_per_class: int | None = None
    balanced: bool = False  # as many places for each class
    repeats: int = 1  # times that a clip is in a batch
    segments: tuple[Segment, ...] = ()

    def train_steps(self) -> int:
        """Steps an epoch; the last batch is padded."""
        if self.clips_per_class:
            return len(self._balanced_epoch(0)) // self.batch_size
        return -(-len(self.train_rows) * self.repeats // self.batch_size)

    def val_steps(self) -> int:
        """Steps of a validation; the last batch is padded."""
        return -(-len(self.val_rows) * self.val_views // self.batch_size)

    def for_training(self, epochs: int, validate_every: int, epoch: int = 0, step: int = 0) -> "Schedule":
        """All epochs from (epoch, step) on, with a validation after every `validate_every`-th and after the last.

        Of a training that is through, the last validation remains: a run cut off right behind it still gets its scores.
        """
        segments = [Segment("val", epochs - 1, self.val_steps())] if epoch >= epochs and len(self.val_rows) else []
        for number in range(epoch, epochs):
            segments.append(Segment("train", number, self.train_steps(), step if number == epoch else 0))
            if len(self.val_rows) and ((number + 1) % validate_every == 0 or number + 1 == epochs):
                segments.append(Segment("val", number, self.val_steps()))
        return replace(self, segments=tuple(segments))

    def for_holding(self, views: int) -> "Schedule":
        """Each training clip under each of `views` augmentations, then the validation views, each once."""
        steps = -(-len(self.train_rows) // self.batch_size)
        held = [Segment("view", view, steps) for view in range(views)] if len(self.train_rows) else []
        held += [Segment("val", 0, self.val_steps())] if len(self.val_rows) else []
        return replace(self, segments=tuple(held))

    def windows(self, blocks: int = WINDOW_BLOCKS) -> Iterator["Schedule"]:
        """The list in consecutive parts of at most `blocks` blocks each: whole segments where they fit,
        else parts of one.
        """
        steps = max(1, blocks // self.workers * self.block // self.share)  # that fit into a window
        part: list[Segment] = []
        for segment in self.segments:
            if part and len(replace(self, segments=(*part, segment)).blocks()) > blocks:
                yield replace(self, segments=tuple(part))
                part = []
            while segment.left > steps:
                cut = segment.skip + steps
                yield replace(self, segments=(replace(segment, stop=cut),))
                segment = replace(segment, skip=cut)
            part.append(segment)
        if part:
            yield replace(self, segments=tuple(part))

    @property
    def share(self) -> int:
        """Clips of a batch that a worker gets."""
        return self.batch_size // self.workers

    def __len__(self) -> int:
        """Places in the list, padding included: a multiple of the global batch."""
        return sum(segment.left for segment in self.segments) * self.batch_size

    def blocks(self) -> list[tuple[int, int]]:
        """(first position, clips) of each unit of work, in the order of the list."""
        found, start = [], 0
        for segment in self.segments:
            whole, rest = divmod(segment.left * self.share, self.block)
            for size in [self.block] * whole + [rest] * bool(rest):
                found += [(start + worker * size, size) for worker in range(self.workers)]
                start += self.workers * size
        return found

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions int64 [n] of the list -> manifest row (or PADDING), view, and whether it is a training view,
        each [n].
        """
        starts = np.cumsum([0] + [segment.left * self.batch_size for segment in self.segments])
        which = np.searchsorted(starts, positions, side="right") - 1
        rows, views, training = (np.empty(len(positions), t) for t in (np.int64, np.int64, bool))
        for index in np.unique(which):
            segment, here = self.segments[index], which == index
            segment_rows, segment_views = self.clips(segment)
            order = self._batch_order(segment, positions[here] - starts[index])
            rows[here], views[here] = segment_rows[order], segment_views[order]
            training[here] = segment.kind != "val"
        return rows, views, training

    def worker_clips(
        self, segment: Segment, worker: int, stored: int | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """(rows, views) of each batch that `worker` gets from a segment, its skipped steps left out.

        `stored`: only so many augmentations of a training clip are kept. Each clip goes through its own in an order
        that the seed draws, so that as many epochs show them all.
        """
        rows, views = self.clips(segment)
        if stored and segment.kind == "train":
            views = _view_orders(self, stored)[rows, views % stored]
        rows, views = (column.reshape(segment.steps, self.workers, self.share) for column in (rows, views))
        return [(rows[step, worker], views[step, worker]) for step in range(segment.skip, segment.skip + segment.left)]

    def clips(self, segment: Segment) -> tuple[np.ndarray, np.ndarray]:
        """Rows and views of a segment in order, padded to whole global batches.

        The view of a training clip is the epoch, and `AGAIN` more each time that the epoch has had the clip before.
        """
        return _segment_clips(self, segment.kind, segment.number)

    def _batch_order(self, segment: Segment, place: np.ndarray) -> np.ndarray:
        """Place in what is left of a segment, as streamed -> place in the segment, batch by batch.

        Block j goes to worker j mod workers, so each worker gets its clips of the segment in order.
        """
        turns, rest = divmod(segment.left * self.share, self.block)
        full = turns * self.block * self.workers
        size = np.where(place < full, self.block, rest or 1)  # of the block that a place is in
        within = np.where(place < full, place, place - full)
        block, offset = np.divmod(within, size)
        turn, worker = np.divmod(block, self.workers)
        step, clip = np.divmod(np.where(place < full, turn, turns) * self.block + offset, self.share)
        return (segment.skip + step) * self.batch_size + worker * self.share + clip

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows, np.full(-len(rows) % self.batch_size, PADDING, np.int64)])

    def first_looks(self, segment: Segment, worker: int) -> list[np.ndarray]:
        """For each batch that `worker` gets of an epoch, which places hold a clip for the first time in it."""
        return [views == segment.number for _, views in self.worker_clips(segment, worker)]

    def _order(self, epoch: int) -> Order:
        """Rows of an epoch that has no groups, and how often it has had each of them before."""
        rng = np.random.default_rng([self.seed, 2, epoch])
        if self.balanced:
            order = balanced(self.train_rows, self.train_labels, rng)
        else:
            order = rng.permutation(self.train_rows), np.zeros(len(self.train_rows), np.int64)
        return repeated(order, self.repeats, self.batch_size)

    def _balanced_epoch(self, epoch: int) -> np.ndarray:
        """Groups of Q clips of one class, in random order: a class may have several in a batch.

        Every clip comes once; a class's last group is padded, since a copy would be its own positive.
        """
        assert self.clips_per_class is not None, "asked for where batches are balanced"
        rng = np.random.default_rng([self.seed, 2, epoch])
        groups = []
        for label in np.unique(self.train_labels[self.train_labels >= 0]):
            members = rng.permutation(self.train_rows[self.train_labels == label])
            padding = np.full(-len(members) % self.clips_per_class, PADDING, np.int64)
            groups += list(np.concatenate([members, padding]).reshape(-1, self.clips_per_class))
        unlabelled = rng.permutation(self.train_rows[self.train_labels < 0])
        return self._padded(np.concatenate([*(groups[i] for i in rng.permutation(len(groups))), unlabelled]))


@lru_cache(maxsize=4)
def _view_orders(schedule: Schedule, stored: int) -> np.ndarray:
    """int64 [rows of the manifest, stored]: each clip's order of its stored views; a function of seed and row alone."""
    rows = np.tile(np.arange(stored), (int(schedule.train_rows.max(initial=0)) + 1, 1))
    return np.random.default_rng([schedule.seed, 3]).permuted(rows, axis=1)


@lru_cache(maxsize=4)
def _segment_clips(schedule: Schedule, kind: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    if kind == "val":
        rows = schedule._padded(np.repeat(schedule.val_rows, schedule.val_views))
        return rows, np.arange(len(rows)) % schedule.val_views
    if kind == "view":
        rows = schedule._padded(schedule.train_rows)
    elif schedule.clips_per_class:
        rows = schedule._balanced_epoch(number)
    else:
        rows, before = schedule._order(number)
        return rows, number + AGAIN * before
    return rows, np.full(len(rows), number)
