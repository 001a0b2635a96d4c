"""The other workers' batches as negatives, and global counts.

Every loss of a worker is its share of the global loss: own sums over global counts. So the sum over workers of losses,
and of gradients, is that of one process with the whole batch. Without torch.distributed all of this is the identity.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def workers() -> tuple[int, int]:
    """Rank of this process and the number of workers; (0, 1) without torch.distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather(tensor: Tensor) -> Tensor:
    """[B, ...] of every worker -> [G = workers x B, ...] in rank order, without gradient.

    All workers pass equal shapes.
    """
    tensor = tensor.detach()
    world = workers()[1]
    if world == 1:
        return tensor
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world)]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """As `gather`, but the gradients that all workers compute for this worker's rows are summed and flow back to it."""
    return tensor if workers()[1] == 1 else _Gather.apply(tensor)


def sum_over_workers(tensor: Tensor) -> Tensor:
    """Sum of one tensor over the workers, without gradient; the same value on each of them."""
    tensor = tensor.detach()
    if workers()[1] > 1:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def own_rows(batch: int, device: torch.device) -> Tensor:
    """Positions of this worker's rows in a gathered batch, int64 [B]."""
    return torch.arange(batch, device=device) + workers()[0] * batch


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        ctx.batch = len(tensor)
        return gather(tensor)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return sum_over_workers(gradient.contiguous())[own_rows(ctx.batch, gradient.device)]
