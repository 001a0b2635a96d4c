"""Weights of classes that differ in how many clips they have."""

import numpy as np
import torch
from torch import Tensor


def class_weights(labels: np.ndarray, classes: list[int], beta: float | None = None) -> list[Tensor]:
    """Weights of each head's classes, scaled so that their mean over the labelled clips is 1.

    Args:
        labels: int64 [clips, heads], of the training clips; -1 where a clip has no label.
        classes: number of classes of each head.
        beta: a class with n clips weighs (1 - beta) / (1 - beta^n), the inverse of its effective number of clips
            (Cui et al. 2019, Eq. 2); None: 1 / n, to which that tends as beta goes to 1.

    Returns:
        float32 [classes] for each head; 0 for a class without clips.
    """
    found = []
    for column, number in zip(labels.T, classes, strict=True):
        clips = np.bincount(column[column >= 0], minlength=number)
        there, weights = clips > 0, np.zeros(number)
        weights[there] = 1 / clips[there] if beta is None else (1 - beta) / (1 - beta ** clips[there])
        found.append(torch.tensor(weights * clips.sum() / max((weights * clips).sum(), 1e-12), dtype=torch.float32))
    return found


def weighted(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The same scores, whose gradient is that of clips with the weights of their classes.

    The cross entropy of a batch is a sum over its clips. So its gradient by the scores of a clip, times the clip's
    weight, is the gradient of the weighted sum; this holds for any method, which need not know of weights.

    Args:
        logits: [B, C].
        labels: int64 [B]; -1 without label.
        weights: float32 [C].
    """
    fixed = logits.detach()
    return fixed + weights.to(fixed.device)[labels.clamp(min=0)][:, None] * (logits - fixed)
