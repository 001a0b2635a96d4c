"""Local features of a concept by one step of cross-attention, and their contrast (section 3.3)."""

import torch
from torch import Tensor

from objadapt.methods.distributed import gather, gather_with_gradient, own_rows, sum_over_workers


def attention(prototypes: Tensor, features: Tensor, temperature: float) -> Tensor:
    """Where each prototype [C, P] fires in the unit features [B, L, P] of a clip: [B, C, L], sums to 1 over L."""
    return torch.softmax(torch.einsum("cp,blp->bcl", prototypes, features) / temperature, dim=-1)


def local_features(prototypes: Tensor, features: Tensor, temperature: float) -> Tensor:
    """Mean of the features where a prototype fires, [B, C, P]."""
    return attention(prototypes, features, temperature) @ features


def most_active(scores: Tensor, top: int) -> Tensor:
    """Whether a concept is among the `top` most active ones of a clip, bool [B, C]."""
    chosen = scores.topk(min(top, scores.shape[1]), dim=1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, chosen, True)


def concept_contrast(one: Tensor, two: Tensor, active: Tensor, margin: float, rows: Tensor) -> Tensor:
    """d^2 within a video, relu(margin - d)^2 between videos; this worker's share of the means over pairs.

    Args:
        one, two: local features [B, C, P] of the two clips of each video.
        active: bool [B, C], concepts that both clips of a video show; False for padding.
        rows: int64 [B], which video each is; one that comes twice is not held apart from itself.

    Returns:
        Scalar; 0 where no concept is active.
    """
    others, shown = gather_with_gradient(two), gather(active)  # [G, C, P], [G, C]
    square = (one[:, None] - others[None]).square().sum(dim=-1)  # [B, G, C]
    same = torch.zeros(square.shape[:2], dtype=torch.bool, device=one.device)
    same[torch.arange(len(one)), own_rows(len(one), one.device)] = True
    pairs = active[:, None] & shown[None]  # [B, G, C]
    near, far = pairs & same[..., None], pairs & (rows[:, None] != gather(rows))[..., None]
    distance = square.clamp(min=1e-12).sqrt()
    pulled = (square * near).sum() / sum_over_workers(near.sum()).clamp(min=1)
    pushed = ((margin - distance).relu().square() * far).sum() / sum_over_workers(far.sum()).clamp(min=1)
    return pulled + pushed
