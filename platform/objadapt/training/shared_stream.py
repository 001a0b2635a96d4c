"""Several trainings from one stream: each batch is decoded and encoded once, then every training takes its step on it.

Trainings are threads that take turns: one computes, the others wait. So each draws the same random numbers, and finds
the same losses, as if it had been alone. A training that fails leaves the others at work.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..pipeline.schedule import Schedule, Segment
from ..pipeline.source import Batch, Source
from ..plan import Plan
from .task import Task
from .trainer import source_here

Place = tuple[int, bool, int]  # epoch, whether it is validated (else trained), step: in the order of the schedule


class Ended(Exception):
    """The stream broke off; its own error is the cause."""


class Turns:
    """One training's side: a `Source` whose batches come when all others have done theirs.

    Attributes:
        seconds: what this training cost: its own turns, and an even share of the time for which all waited.
    """

    def __init__(self, work: Callable[["Turns"], Any]):
        self.work, self.seconds = work, 0.0
        self.wants: Place | None = None  # None: it has ended, or has not begun
        self.result: Any = None
        self.error: BaseException | None = None
        self._batch: Batch | BaseException | None = None
        self._mine, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True, name="training of a shared stream")

    def batches(self, segment: Segment) -> Iterator[Batch]:
        """The whole batches of a segment, for one worker."""
        for step in range(segment.skip, segment.skip + segment.left):
            yield self._ask((segment.number, segment.kind == "val", step))

    def give(self, batch: Batch | BaseException | None = None) -> None:
        """Let it compute until it asks for its next batch, or ends; the first turn has no batch."""
        started = time.perf_counter()
        self._batch, self.wants = batch, None
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._mine.release()
        try:
            self._back.acquire()
        except KeyboardInterrupt:
            self._back.acquire()  # its step comes to an end before anything else does
            raise
        self.seconds += time.perf_counter() - started

    def _ask(self, place: Place) -> Batch:
        self.wants = place
        self._back.release()
        self._mine.acquire()
        if isinstance(self._batch, KeyboardInterrupt):
            raise self._batch
        if isinstance(self._batch, BaseException):
            raise Ended(f"the shared stream ended: {self._batch}") from self._batch
        assert self._batch is not None, "a turn behind the first has a batch"
        return self._batch

    def _run(self) -> None:
        try:
            self.result = self.work(self)
        except BaseException as error:  # told by whoever drives the turns
            self.error = error
        finally:
            self._back.release()


def train_together(
    plans: list[Plan],
    works: list[Callable[[Turns], Any]],
    show: Callable[[str, int, int, str], None] | None = None,
) -> Iterator[tuple[int, Any, BaseException | None]]:
    """Run trainings of one stream to their ends; yields (number, what its work returned, what it raised) as each ends.

    Trainings that stand at different steps go on together: the stream begins at the earliest, and the others join it.

    Args:
        plans: of the trainings; `together` says of them that they share a stream.
        works: each trains its plan, with the `Turns` that it is given as its source of batches.
    """
    waiting = {number: Turns(work) for number, work in enumerate(works)}
    try:
        for row in waiting.values():
            row.give()
        yield from _ended(waiting)
        if not waiting:
            return
        leader = min((Task.of(plans[number], plans[number].folder) for number in waiting), key=_position)
        with source_here(plans[0], leader) as (source, _):
            for place, batch, seconds in _places(source, leader.remaining(), show, len(works)):
                for row in waiting.values():
                    row.seconds += seconds / len(waiting)
                    if row.wants == place:
                        row.give(batch)
                yield from _ended(waiting)
                if not waiting:  # by patience, before the last epoch
                    return
        if waiting:
            raise RuntimeError("the shared stream ended before its trainings")
    except (Exception, KeyboardInterrupt) as error:  # each training hears of it, and ends as by itself
        for row in waiting.values():
            if row.wants is not None:
                row.give(error)
        if isinstance(error, KeyboardInterrupt):
            raise
        yield from _ended(waiting)


def _ended(waiting: dict[int, Turns]) -> Iterator[tuple[int, Any, BaseException | None]]:
    """Take those out that want no more."""
    for number in [number for number, row in waiting.items() if row.wants is None]:
        row = waiting.pop(number)
        yield number, row.result, row.error


def together(plan: Plan) -> tuple:
    """Trainings of which this is the same share a stream: same clips, in the same order, through the same encoder."""
    config, training = plan.config, plan.config.training
    order = (value.tobytes() if isinstance(value, np.ndarray) else value for value in vars(plan.schedule).values())
    sections = (config.sampling, config.transform, config.backbone, config.evaluation)
    return (
        plan.manifest.content_hash(),
        plan.backbone_hash,
        plan.takes_frames,
        (training.epochs, training.validate_every),
        *order,
        *(section.model_dump_json() for section in sections),
    )


def _places(
    source: Source, schedule: Schedule, show: Callable[[str, int, int, str], None] | None, rows: int
) -> Iterator[tuple[Place, Batch, float]]:
    """Batches with their places, and the seconds for which they were waited for."""
    done, total = 0, sum(segment.left for segment in schedule.segments)
    for segment in schedule.segments:
        asked = time.perf_counter()
        for step, batch in enumerate(source.batches(segment), segment.skip):
            yield (segment.number, segment.kind == "val", step), batch, time.perf_counter() - asked
            done += 1
            if show:
                show(f"batches of {rows} trainings", done, total, f"epoch {segment.number + 1} {segment.kind}")
            asked = time.perf_counter()


def _position(task: Task) -> Place:
    """Of the first batch that is left."""
    segments = task.remaining().segments
    return (segments[0].number, segments[0].kind == "val", segments[0].skip) if segments else (sys.maxsize, True, 0)
