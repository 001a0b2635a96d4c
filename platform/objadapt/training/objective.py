"""What a training asks of a method beside its own losses: two labels of a mixed clip, weights of classes, smoothing.

It wraps any method, and reads of it what every method has. Without these settings there is no wrapper.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..config import Experiment, Training
from ..errors import InputError
from ..methods.method import Method, Output
from .class_balance import class_weights, weighted
from .loop import global_counts
from .mixing import drawn, side_of


def objective(method: Method, config: Experiment, labels: np.ndarray, classes: list[int]) -> Method:
    """The method as it is trained under this config: itself where nothing is asked for.

    Args:
        labels: int64 [clips, heads], of the training clips.
        classes: number of classes of each head.
    """
    if not config.changes_objective:
        return method
    training = config.training
    balanced = training.class_balance == "loss"
    weights = class_weights(labels, classes, training.class_balance_beta) if balanced else None
    smoothing = getattr(config.method, "label_smoothing", 0.0)  # of a peer; the paper's method smooths its own labels
    return Objective(method, training, config.seed, weights, smoothing)


class Objective(Method):
    """A method that learns from mixed clips, weighted classes or smoothed labels.

    A mixed clip has two labels. Its losses are those under its own label, times its share, and those under its
    partner's label, times the rest. So are the object losses: under either label the temporal loss takes clips of that
    label for the same action; object distillation, which reads no label, asks the slots of a mixed clip for its mixed
    cls token.

    Args:
        weights: of each head's classes, float32 [C]; None: all alike.
        smoothing: share of each label that goes to all classes alike.
    """

    def __init__(self, method: Method, training: Training, seed: int, weights: list[Tensor] | None, smoothing: float):
        super().__init__()
        if training.mixes and method.losses_once:  # a queue, a teacher that follows
            raise InputError(
                "training.mixup, training.cutmix: this method's losses are taken once a step; leave both out"
            )
        self.method, self.settings, self.seed = method, training, seed
        self.weights, self.smoothing = weights, smoothing
        self.inputs = method.inputs  # pyright: ignore[reportAttributeAccessIssue]  # a class says it, a wrapper asks

    @property
    def leaves_unused(self) -> bool:
        return self.method.leaves_unused

    def forward(self, batch: dict[str, Tensor]) -> Output:
        return self.method(batch)

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """As of any method; `labels` of mixed clips are int64 [B, 2 heads], as `mixing.mix` makes them."""
        counts = counts or global_counts(batch)
        if not self.settings.mixes:
            return self._under(output, batch, step, counts)
        share = drawn(self.settings, self.seed, step).own(side_of(batch))
        labels, labelled = batch["labels"].chunk(2, dim=1), counts["labelled"].chunk(2)
        own, partners = (
            self._under(output, batch | {"labels": labels[one]}, step, counts | {"labelled": labelled[one]})
            for one in (0, 1)
        )
        return {name: share * value + (1 - share) * partners[name] for name, value in own.items()}

    def _under(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Losses under one label of each clip and head."""
        answers = [given for given in (output.logits, output.beside) if given is not None]
        if self.weights is not None:
            labels = batch["labels"].unbind(dim=1)
            answers = [
                {
                    name: weighted(scores, column, weights)
                    for (name, scores), column, weights in zip(given.items(), labels, self.weights, strict=True)
                }
                for given in answers
            ]
        output = replace(output, logits=answers[0], beside=answers[1] if output.beside else None)
        losses = self.method.losses(output, batch, step, counts)
        if self.smoothing:
            more = self.smoothing * label_lead(answers[0], batch["labels"], batch["valid"], counts["labelled"])
            losses |= {name: losses[name] + more for name in ("classification", "total")}
        return losses


def label_lead(logits: dict[str, Tensor], labels: Tensor, valid: Tensor, labelled: Tensor) -> Tensor:
    """This worker's share of how far the score of the label lies above the mean of all scores.

    Cross entropy with a share e of each label spread over all classes is cross entropy plus e times this, since both
    have the same log-partition.

    Args:
        logits: head -> [B, C].
        labels: int64 [B, heads]; -1: none.
        labelled: int64 [heads], of the global batch.

    Returns:
        Scalar: mean over a head's labelled clips, then mean over the heads.
    """
    found = []
    for scores, column in zip(logits.values(), labels.unbind(dim=1), strict=True):
        scores = scores.float()
        lead = scores.gather(1, column.clamp(min=0)[:, None])[:, 0] - scores.mean(dim=1)
        found.append(lead.masked_fill((column < 0) | ~valid, 0.0).sum())
    return (torch.stack(found) / labelled.clamp(min=1)).mean()
