"""Mask-overlap penalty: different slots should claim different patches (absent from the paper, off by default)."""

from torch import Tensor
from torch.nn.functional import normalize

from ..distributed import sum_over_workers


def mask_overlap_penalty(attention: Tensor, valid: Tensor) -> Tensor:
    """This worker's share of the mean cosine between the masks of two slots of a frame: 0 disjoint, 1 identical.

    Args:
        attention: A float32 [B, T, K, N], K >= 2, not negative.
        valid: bool [B].
    """
    frames, objects = attention.shape[1:3]
    masks = normalize(attention, dim=-1)
    overlap = masks @ masks.transpose(2, 3)  # [B, T, K, K]
    pairs = overlap.triu(diagonal=1).sum(dim=(1, 2, 3))  # [B]
    count = sum_over_workers(valid.sum()) * (frames * objects * (objects - 1) // 2)
    return (pairs * valid).sum() / count.clamp(min=1)
