"""Feature correspondence: tokens that are alike, in a frame and in its next one, belong to the same slots.

The loss of STEGO (arXiv 2203.08414) with the slots' masks as its codes; no part of the paper, and off by default.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..distributed import sum_over_workers


def correspondence_loss(attention: Tensor, patches: Tensor, valid: Tensor, step: int, seed: int) -> Tensor:
    """This worker's share of minus the mean of `cos(x_i, y_j) <a_i, b_j>`, over the tokens i of a frame and j of the
    same, and of its next one.

    x, y are tokens without the mean of the first frame, so that unlike ones have a cosine below 0 and are parted; a, b
    are their shares of the slots. All clips of a step are looked at in the same frame.

    Args:
        attention: A float32 [B, T, K, N], sums to 1 over K; T >= 2.
        patches: [B, T, N, J] of the frozen backbone.
        valid: bool [B].
        step, seed: what the frame is drawn by.
    """
    frame = int(np.random.default_rng([seed, step, 5]).integers(attention.shape[1] - 1))
    now, then = patches[:, frame].to(attention), patches[:, frame + 1].to(attention)  # [B, N, J]
    mean = now.mean(dim=1, keepdim=True)
    now, then = normalize(now - mean, dim=-1), normalize(then - mean, dim=-1)
    shares = attention[:, frame].transpose(1, 2)  # [B, N, K]
    within = _agreement(now @ now.transpose(1, 2), shares, attention[:, frame])
    between = _agreement(now @ then.transpose(1, 2), shares, attention[:, frame + 1])
    return -((within + between) / 2 * valid).sum() / sum_over_workers(valid.sum()).clamp(min=1)


def _agreement(likeness: Tensor, shares: Tensor, others: Tensor) -> Tensor:
    """Mean of likeness [B, N, N] times the products of shares [B, N, K] and [B, K, N]; a value a clip."""
    return (likeness * torch.bmm(shares, others)).mean(dim=(1, 2))
