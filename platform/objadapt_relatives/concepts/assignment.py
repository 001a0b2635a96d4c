"""Balanced assignment of features to prototypes, and the losses of what is assigned (section 3.2)."""

import torch
from torch import Tensor

from objadapt.methods.distributed import gather, own_rows
from objadapt.methods.smtc.transport import sinkhorn


@torch.no_grad()
def balanced(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Soft assignment of rows to columns, each column given about as much: [n, C], rows sum to 1.

    Args:
        scores: cosines [n, C].
    """
    return sinkhorn(-scores.T, epsilon, iterations).T * len(scores)


def assigned(scores: Tensor, earlier: Tensor, valid: Tensor, epsilon: float, iterations: int) -> Tensor:
    """This worker's rows of the assignment of all workers' valid clips and of earlier ones; zeros where not valid.

    Args:
        scores: [B, C].
        earlier: [Q, C], of the queue, the same for all workers.
        valid: bool [B].
    """
    everyone, counted = gather(scores), gather(valid)
    found = torch.zeros_like(everyone)
    found[counted] = balanced(torch.cat([everyone[counted], earlier]), epsilon, iterations)[: int(counted.sum())]
    return found[own_rows(len(scores), scores.device)]


def pushed(queue: Tensor, filled: Tensor, new: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """A queue [Q, ...] with the valid rows of `new` [B, ...] of all workers in front, the oldest gone; its filled rows.

    Args:
        filled: int64 [], rows of the queue that are filled.
        valid: bool [B].
    """
    fresh = gather(new)[gather(valid)]
    return torch.cat([fresh.to(queue.dtype), queue])[: len(queue)], (filled + len(fresh)).clamp(max=len(queue))


def swapped(target: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """Cross entropy of one view's activations [B, C] with the other's assignment [B, C]; a value a clip."""
    return -(target * torch.log_softmax(scores / temperature, dim=1)).sum(dim=1)


def negative_entropy(scores: Tensor, temperature: float) -> Tensor:
    """sum p log p of the activations [B, C]: least where none of the concepts stands out; a value a clip."""
    logs = torch.log_softmax(scores / temperature, dim=1)
    return (logs.exp() * logs).sum(dim=1)
