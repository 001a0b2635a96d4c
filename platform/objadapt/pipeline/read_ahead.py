"""Batches made ready by a thread while the step before is computed:
reading from disk and copying cost the step nothing.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .schedule import Schedule, Segment
from .source import Batch, Source

BATCHES = 2  # ready at once, at the most; one more is being read


@contextmanager
def read_ahead(source: Source, schedule: Schedule) -> Iterator[Source]:
    """While inside, a source whose batches are read by one thread of its own, in the order of the schedule.

    What the reading raises is raised where the batch is asked for. The thread ends with the block.
    """
    ahead = _ReadAhead(source, schedule)
    try:
        yield ahead
    finally:
        ahead.stop()


class _ReadAhead:
    def __init__(self, source: Source, schedule: Schedule):
        self.source, self.schedule = source, schedule
        self.ready: queue.Queue[Batch | BaseException] = queue.Queue(BATCHES)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True, name="read ahead")

    def batches(self, segment: Segment) -> Iterator[Batch]:
        """This worker's batches of a segment; segments must be asked for in the order of the schedule."""
        if not self.thread.ident:
            self.thread.start()
        for _ in range(segment.steps - segment.skip):
            batch = self.ready.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch

    def stop(self) -> None:
        self.stopped.set()
        if self.thread.ident:
            self.thread.join()

    def _read(self) -> None:
        try:
            for segment in self.schedule.segments:
                for batch in self.source.batches(segment):
                    if not self._hand_over(batch):
                        return
        except BaseException as error:  # raised again where the batch is waited for
            self._hand_over(error)

    def _hand_over(self, batch: Batch | BaseException) -> bool:
        while not self.stopped.is_set():
            try:
                self.ready.put(batch, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
