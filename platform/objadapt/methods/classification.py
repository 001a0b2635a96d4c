"""Cross entropy of the class heads (first term of Eq. 10)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .distributed import sum_over_workers


def classification_loss(
    logits: dict[str, Tensor], labels: Tensor, valid: Tensor, labelled: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """This worker's share of the cross entropy: mean over a head's labelled clips, then mean over the heads.

    Args:
        logits: head -> float32 [B, C]; the order of the heads is that of the columns of `labels`.
        labels: int64 [B, H]; -1 where a clip has no label.
        valid: bool [B]; False for padding and quarantined rows.
        labelled: int64 [H], labelled clips of the global batch, where B are only some of this worker's.
        smoothing: share of each label that goes to all classes alike.

    Returns:
        Scalar; 0 where no clip is labelled.
    """
    if labels.shape[1] != len(logits):
        raise ValueError(f"labels: {labels.shape[1]} columns for {len(logits)} heads ({', '.join(logits)})")
    labels = labels.masked_fill(~valid[:, None], -1)
    counts = sum_over_workers((labels >= 0).sum(dim=0)) if labelled is None else labelled  # [H], over all workers
    sums = [
        cross_entropy(scores, column, ignore_index=-1, reduction="sum", label_smoothing=smoothing)
        for scores, column in zip(logits.values(), labels.unbind(dim=1), strict=True)
    ]
    return (torch.stack(sums) / counts.clamp(min=1)).mean()
