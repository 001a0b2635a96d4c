"""Reading ahead: the same batches in the same order, made while the step before is at work; nothing is left behind."""

import threading

import numpy as np
import pytest
import torch

from objadapt.pipeline.read_ahead import BATCHES, read_ahead
from objadapt.pipeline.schedule import Schedule


class Numbered:
    """A source that counts the batches it was asked for."""

    def __init__(self, schedule: Schedule, broken_at: int | None = None):
        self.schedule, self.broken_at, self.made = schedule, broken_at, threading.Semaphore(0)
        self.count = 0

    def batches(self, segment):
        for rows, views in self.schedule.worker_clips(segment, 0):
            if self.count == self.broken_at:
                raise OSError("the disk is gone")
            self.count += 1
            self.made.release()
            yield {"row": torch.from_numpy(rows), "view": torch.from_numpy(views)}


@pytest.fixture
def schedule() -> Schedule:
    rows = np.arange(20)
    return Schedule(rows, rows * 0, np.arange(20, 29), 1, 4, 1, 4, 0).for_training(2, 1, epoch=0, step=2)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "read ahead"]


def test_the_batches_are_those_of_the_source(schedule):
    plain = Numbered(schedule)
    with read_ahead(Numbered(schedule), schedule) as ahead:
        for segment in schedule.segments:
            for one, other in zip(ahead.batches(segment), plain.batches(segment), strict=True):
                assert torch.equal(one["row"], other["row"]) and torch.equal(one["view"], other["view"])
    assert not threads()


def test_batches_are_ready_before_they_are_asked_for_and_no_more_than_that(schedule):
    """While a step is at work, the queue is full and one batch more is in the thread's hand."""
    source = Numbered(schedule)
    with read_ahead(source, schedule) as ahead:
        steps = ahead.batches(schedule.segments[0])
        next(steps)
        for _ in range(1 + BATCHES + 1):
            assert source.made.acquire(timeout=30)
        assert not source.made.acquire(timeout=0.5)


def test_what_the_reading_raises_is_raised_where_the_batch_is_asked_for(schedule):
    with read_ahead(Numbered(schedule, broken_at=4), schedule) as ahead:
        first, second = schedule.segments[:2]
        assert sum(1 for _ in ahead.batches(first)) == 3
        batches = ahead.batches(second)
        next(batches)
        with pytest.raises(OSError, match="the disk is gone"):
            next(batches)
    assert not threads()


def test_a_training_that_ends_early_leaves_no_thread(schedule):
    with pytest.raises(KeyboardInterrupt), read_ahead(Numbered(schedule), schedule) as ahead:
        for _ in ahead.batches(schedule.segments[0]):
            raise KeyboardInterrupt
    assert not threads()
    with read_ahead(Numbered(schedule), schedule):
        pass
    assert not threads()
