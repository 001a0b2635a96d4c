"""How long a run still takes, by the steps that this process has done of it."""

import time
from collections import defaultdict
from collections.abc import Iterable

from ..pipeline.schedule import Segment


class TimeLeft:
    """Counts steps down, those of training and of validation apart. What comes between two of them, such as a
    checkpoint, is part of the later one's time.
    """

    def __init__(self, segments: Iterable[Segment]):
        self.left: dict[str, int] = defaultdict(int)
        for segment in segments:
            self.left[segment.kind] += segment.left
        self.spent: dict[str, float] = defaultdict(float)
        self.done: dict[str, int] = defaultdict(int)
        self.last: float | None = None

    def step(self, kind: str) -> None:
        """A step of that kind is done; the first one of a process, which waited for its start, tells no rate."""
        now = time.monotonic()
        if self.last is not None:
            self.spent[kind] += now - self.last
            self.done[kind] += 1
        self.last = now
        self.left[kind] -= 1

    def seconds(self) -> float | None:
        """Until the end of the run; None before the second step. A kind that was not seen yet goes at the rate of the
        others.
        """
        done = sum(self.done.values())
        if not done:
            return None
        mean = sum(self.spent.values()) / done
        return sum(
            max(0, left) * (self.spent[kind] / self.done[kind] if self.done[kind] else mean)
            for kind, left in self.left.items()
        )
