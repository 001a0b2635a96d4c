"""InfoNCE against a queue of keys (Eq. 1), and that queue, which several workers fill alike."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from objadapt.methods.distributed import gather


def info_nce(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """-log of the share that a query gives to its own key.

    Args:
        query, key: unit vectors [B, P].
        negatives: unit vectors [Q, P]; Q may be 0, and then the loss is 0.

    Returns:
        A loss for each clip, [B].
    """
    own = (query * key).sum(dim=-1, keepdim=True)  # [B, 1]
    scores = torch.cat([own, query @ negatives.T], dim=1) / temperature  # [B, 1 + Q]
    return cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.int64), reduction="none")


def pushed(queue: Tensor, filled: Tensor, keys: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """A queue [Q, ...] with the valid keys [B, ...] of all workers in front, the oldest gone; and how much is filled.

    Args:
        filled: int64 [], rows of the queue that hold keys.
        valid: bool [B].
    """
    new = gather(keys)[gather(valid)]
    size = len(queue)
    return torch.cat([new.to(queue.dtype), queue])[:size], (filled + len(new)).clamp(max=size)
