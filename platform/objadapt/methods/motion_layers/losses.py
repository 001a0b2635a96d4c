"""What the layers learn from: the flow that they make, and masks that agree whatever the pace.

B clips of a batch; sums over clips that count, so that the shares of all workers add up.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def flow_loss(flow: Tensor, known: Tensor) -> Tensor:
    """Mean L1 distance of flows [..., N, 2] from the known ones, in patches: [...]."""
    return (flow - known).abs().sum(dim=-1).mean(dim=-1)


def soft_iou(one: Tensor, other: Tensor) -> Tensor:
    """Of each two masks, [B, K, N] and [B, K, N] -> [B, K, K]: shared opacity over that of either."""
    shared = torch.minimum(one[:, :, None], other[:, None]).sum(dim=3)
    either = torch.maximum(one[:, :, None], other[:, None]).sum(dim=3)
    return shared / either.clamp(min=1e-6)


def consistency_loss(one: Tensor, other: Tensor) -> Tensor:
    """1 - the mean IoU of a frame's masks found in two pairs, each with the mask that it is assigned: [B].

    The assignment (Hungarian) is without gradient; layers may trade places from pair to pair.
    """
    overlap = soft_iou(one, other)  # [B, K, K]
    found = np.stack([linear_sum_assignment(-clip)[1] for clip in overlap.detach().float().cpu().numpy()])
    assigned = torch.from_numpy(found).to(overlap.device)  # int64 [B, K]
    return 1 - overlap.gather(2, assigned[:, :, None])[:, :, 0].mean(dim=1)
