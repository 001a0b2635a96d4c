"""InfoNCE of clips against the other clips of a step (Eq. 1)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from objadapt.methods.distributed import gather, own_rows


def info_nce(query: Tensor, key: Tensor, valid: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """-log of the share that a query gives to its own key among the keys of all workers' batches.

    A key of padding, or of a clip that comes twice, is no negative. Keys are held constant.

    Args:
        query, key: unit vectors [B, P].
        valid: bool [B].
        rows: int64 [B], which clip each is.

    Returns:
        A loss for each clip, [B]; 0 where it is alone.
    """
    own = own_rows(len(valid), valid.device)
    others = gather(valid) & (rows[:, None] != gather(rows))  # [B, G]
    absent = ~others.scatter(1, own[:, None], True)
    scores = (query @ gather(key).T / temperature).masked_fill(absent, -torch.inf)
    return cross_entropy(scores, own, reduction="none")
