"""A look at clips with a trained adapter, by the workers that a training has: weights, batches and scores,
nothing learned.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..evaluation.recognition import Scores
from ..methods.distributed import workers
from ..pipeline.quarantine import Notices
from ..pipeline.schedule import Schedule, Segment
from ..pipeline.source import Source
from . import checkpoint
from .all_notices import merged
from .display import stage
from .loop import validate
from .task import Task


@dataclass(frozen=True, eq=False)
class EvaluationTask(Task):
    """All that a worker needs to know: a task whose schedule is the test views of the clips, each once."""

    word, again = "evaluation", "it begins anew"
    checkpoint: Path | None = None  # on storage that all nodes see

    def remaining(self, workers: int | None = None) -> Schedule:
        """The schedule, for as many workers as the config says, or as there are."""
        schedule = replace(self.schedule, workers=workers or self.schedule.workers)
        return replace(schedule, segments=(Segment("val", 0, schedule.val_steps()),))


@dataclass(frozen=True)
class Evaluated:
    """What all workers found."""

    scores: Scores
    notices: Notices
    device: str  # "cpu" or "cuda"


def evaluate_clips(
    task: EvaluationTask, source: Source, device: torch.device, preemption: Callable[[], object | None] = lambda: None
) -> Evaluated | None:
    """Scores of the clips of all workers, on the first one; None on the others.

    Raises:
        InputError: the checkpoint is damaged or of another architecture.
        FloatingPointError: logits of a clip are not finite.
    """
    assert task.checkpoint is not None, "an evaluation names its checkpoint"
    adapter = task.method()
    checkpoint.load(task.checkpoint, adapter)
    (segment,), notices, chief, done = task.remaining().segments, Notices(), workers()[0] == 0, 0

    def on_batch(batch, _):
        nonlocal done
        notices.update(batch, batch["view"] == 0)
        done += 1
        if chief and task.show:
            task.show("evaluate", done, segment.steps, "")

    if chief:
        stage(task.show, "evaluate: waiting for the first clips")
    scores = validate(adapter.to(device), source.batches(segment), task.heads, device, on_batch)
    everything = merged(notices)
    return Evaluated(scores, everything, device.type) if chief else None
