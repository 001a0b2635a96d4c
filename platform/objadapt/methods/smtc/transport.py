"""Which patch of one frame is which of another: entropic optimal transport between their tokens (Sinkhorn)."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def sinkhorn(cost: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Transport plan between two frames whose patches weigh the same, in the log domain.

    Args:
        cost: float [..., N, M].
        epsilon: how even the plan is; small: each patch goes to one place.
        iterations: each makes the rows' sums right, then the columns'.

    Returns:
        [..., N, M], sums to 1; columns sum to 1 / M, and rows to 1 / N as iterations go on.
    """
    plan = -cost / epsilon
    rows, columns = -torch.log(torch.tensor(cost.shape[-2:], dtype=cost.dtype, device=cost.device))
    for _ in range(iterations):
        plan = plan - plan.logsumexp(dim=-1, keepdim=True) + rows
        plan = plan - plan.logsumexp(dim=-2, keepdim=True) + columns
    return plan.exp()


def cosines(one: Tensor, other: Tensor) -> Tensor:
    """[..., N, J] and [..., M, J] -> [..., N, M]."""
    return normalize(one, dim=-1) @ normalize(other, dim=-1).transpose(-1, -2)
