"""What a training worker needs to know of its run; it travels to the worker's process."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..config import Experiment
from ..methods.build import build_method
from ..methods.method import Method
from ..pipeline.schedule import Schedule
from ..plan import Plan
from ..run_folder import LAST
from . import checkpoint
from .patience import ended


class Stopped(Exception):
    """Raised by `on_validation`: the training ends here, before its last epoch; its checkpoint stays."""


@dataclass(frozen=True, eq=False)
class Task:
    """All that a worker needs to know of a run."""

    # what it is called, and what it does behind a failure
    word, again = "training", "it goes on from the last checkpoint"
    config: Experiment
    classes: dict[str, list[str]]  # head -> class names
    labels: np.ndarray  # int64 [manifest rows, heads]
    schedule: Schedule  # without segments: for_training fills them in
    joint_width: int
    backbone_hash: str
    folder: Path  # of the run; shared by all nodes
    tracker: Any = None  # tracking.Tracker
    show: Callable[[str, int, int, str], None] | None = None  # progress: (what, done, total, note)
    on_validation: Callable[[int, dict[str, float]], None] | None = None  # (epochs done, metrics); may raise `Stopped`
    # where a finished training that is only evaluated leaves its results; None: it is trained
    results: Path | None = None

    @classmethod
    def of(cls, plan: Plan, folder: Path, **others) -> Self:
        """A task of a plan.

        Args:
            others: the fields from `tracker` on.
        """
        shape = plan.joint_width, plan.backbone_hash
        return cls(plan.config, plan.manifest.classes, plan.labels, plan.schedule, *shape, folder, **others)

    @property
    def heads(self) -> dict[str, int]:
        """Head -> number of classes."""
        return {name: len(names) for name, names in self.classes.items()}

    def method(self) -> Method:
        """A new method, initialised under the run's seed."""
        return build_method(self.config, self.heads, self.joint_width)

    def last(self) -> Path:
        """Folder of the newest checkpoint, whether or not it exists yet."""
        return checkpoint.newest(self.folder / LAST)

    def remaining(self, workers: int | None = None) -> Schedule:
        """The schedule from the last checkpoint on, for as many workers as the config says, or as there are."""
        schedule = replace(self.schedule, workers=workers or self.schedule.workers)
        state = checkpoint.read_state(self.last()) if self.last().exists() else None
        training, epoch, step = self.config.training, state.epoch if state else 0, state.step if state else 0
        through = state is not None and step == 0 and ended(state.best, epoch, training)
        return schedule.for_training(epoch if through else training.epochs, training.validate_every, epoch, step)
