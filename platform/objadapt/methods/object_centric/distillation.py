"""Object distillation loss, Eq. 7-8: the slots of a frame, together, must find the frame's own cls token."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ...config_methods import Distillation
from ..distributed import gather, gather_with_gradient, own_rows, sum_over_workers

EPS = 1e-6  # least norm in a cosine: a zero vector has cosine 0, and its gradient stays bounded


def object_scores(slots: Tensor, cls: Tensor, temperature: float) -> Tensor:
    """Eq. 7 for every pair of clips, frame by frame.

    `score(S, c) = sum_k softmax_k(cos(S_k, c) / temperature) cos(S_k, c)`: slots that have nothing to do with the
    cls token are weighted down rather than punished.

    Args:
        slots: projected slots [A, T, K, J].
        cls: cls tokens [G, T, J].

    Returns:
        [T, A, G] in [-1, 1].
    """
    clips, frames, objects, width = slots.shape
    slots = normalize(slots, dim=-1, eps=EPS).transpose(0, 1).reshape(frames, clips * objects, width)  # [T, A*K, J]
    cls = normalize(cls, dim=-1, eps=EPS).permute(1, 2, 0)  # [T, J, G]
    cosine = (slots @ cls).unflatten(1, (clips, objects))  # [T, A, K, G]
    return ((cosine / temperature).softmax(dim=2) * cosine).sum(dim=2)


def distillation_loss(
    slots: Tensor, cls: Tensor, valid: Tensor, settings: Distillation, rows: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """This worker's share of Eq. 8: InfoNCE of each (clip, frame) against the cls tokens of all other clips.

    The mean goes over the valid clips of all workers and their frames. With `settings.symmetric` it is the mean of
    that and its mirror image, where each cls token must find its clip's slots among those of other clips.

    Args:
        slots: projected slots [B, T, K, J], float32.
        cls: cls tokens of the frozen backbone [B, T, J], any float type.
        valid: bool [B].
        rows: int64 [B], which clip each is: one that comes twice in a batch is not its own negative. None: all differ.

    Returns:
        Scalar, and `{"distillation/clips_without_negative": own valid clips that have no other clip to differ from}`.
    """
    batch, frames = cls.shape[:2]
    cls, own = cls.detach().to(slots.dtype), own_rows(batch, cls.device)
    all_valid = gather(valid)  # [G]
    others = all_valid.expand(batch, -1).scatter(1, own[:, None], False)  # [B, G], the negatives
    if rows is not None:
        others = others & (rows[:, None] != gather(rows))
    candidates = others.scatter(1, own[:, None], True)  # own column always stays, so that padding rows are finite too

    scores = [object_scores(slots, gather(cls), settings.slot_temperature)]  # [T, B, G]
    if settings.symmetric:
        mirrored = object_scores(gather_with_gradient(slots), cls, settings.slot_temperature)  # [T, G, B]
        scores.append(mirrored.transpose(1, 2))
    count = (sum_over_workers(valid.sum()) * frames).clamp(min=1)
    loss = sum(_info_nce(each / settings.contrast_temperature, candidates, own, valid) for each in scores)
    alone = (valid & ~others.any(dim=1)).sum()
    return loss / (count * len(scores)), {"distillation/clips_without_negative": alone}


def _info_nce(logits: Tensor, candidates: Tensor, own: Tensor, valid: Tensor) -> Tensor:
    """Sum over frames and valid clips of the cross entropy of [T, B, G] logits with target `own` [B]."""
    frames = len(logits)
    logits = logits.masked_fill(~candidates, -torch.inf).flatten(0, 1)  # [T*B, G]
    losses = cross_entropy(logits, own.repeat(frames), reduction="none")
    return losses.masked_select(valid.repeat(frames)).sum()
