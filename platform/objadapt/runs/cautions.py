"""What of a training is not as its settings sound: said before it starts, and beside its results."""

import numpy as np

from ..pipeline.fitting import FEWEST_STEPS
from ..plan import Plan

UNEQUAL = 2  # times as many clips as the smallest class
NAMED = 3  # classes, of the largest and of the smallest


def cautions(plan: Plan) -> list[str]:
    """A line for each setting of a plan that its epochs or its clips do not allow in full."""
    training, labels = plan.config.training, plan.schedule.train_labels
    clips, quota = len(plan.schedule.train_rows), training.clips_per_class
    said = []
    if training.warmup < training.warmup_epochs:
        said.append(
            f"training.warmup_epochs: {training.warmup_epochs:g} of {training.epochs} epochs would leave too little"
            " behind the"
            f" warm-up; it takes {training.warmup:g}, half of the training"
        )
    if training.batch_size > clips:
        said.append(
            f"training.batch_size: {training.batch_size}, but there are {clips} training clips: each step sees all,"
            " the rest is padding"
        )
    largest = int(np.bincount(labels[labels >= 0]).max(initial=0))
    if quota and quota > largest:
        most = (
            f"no class has more than {largest} training clips: the rest is padding"
            if largest
            else "no training clip has a label"
        )
        said.append(f"training.clips_per_class: {quota}, but {most}")
    return said


def about_clips(plan: Plan) -> list[str]:
    """A line each where an epoch has few steps, and where classes differ much in their clips: worth knowing of clips of
    one's own.
    """
    batch, clips, steps = plan.schedule.batch_size, len(plan.schedule.train_rows), plan.schedule.train_steps()
    an_epoch = f"{steps} step{'s' * (steps > 1)} an epoch"
    few = (
        f"training.batch_size: {batch} gives {clips} training clips {an_epoch}; fewer than {FEWEST_STEPS} teach little,"
        " so lower it, or set it to auto"
    )
    if batch <= 2 * (plan.config.training.clips_per_class or 1):
        few = f"data.root: {clips} training clips are few, even a batch of {batch} makes {an_epoch}; give more clips"
    return [few] * (steps < FEWEST_STEPS) + _unequal(plan)


def _unequal(plan: Plan) -> list[str]:
    labels, (head, names) = plan.schedule.train_labels, next(iter(plan.manifest.classes.items()))
    counts = np.bincount(labels[labels >= 0], minlength=len(names))
    if not len(names) or counts.max() <= UNEQUAL * counts.min():
        return []
    order = np.argsort(-counts, kind="stable")
    told = [f"{names[one]} {counts[one]:,}" for one in order]
    shown = told if len(told) <= 2 * NAMED else [*told[:NAMED], "...", *told[-NAMED:]]
    said = f"data.root: the training clips of a {head} differ by more than a factor of {UNEQUAL}: {', '.join(shown)}"
    balance = plan.config.training.class_balance
    rest = (
        "; training.class_balance=sampling or loss makes up for it" if balance == "none" else f", balanced by {balance}"
    )
    return [said + rest]
