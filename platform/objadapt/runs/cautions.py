"""What of a training is not as its settings sound: said before it starts, and beside its results."""

import numpy as np

from ..plan import Plan


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
