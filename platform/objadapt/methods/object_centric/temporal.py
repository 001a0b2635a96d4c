"""Temporal reasoning loss, Eq. 9: the same object in the same action changes alike."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...config_methods import Temporal
from ..distributed import gather, own_rows, sum_over_workers

EPS = 1e-6  # least norm in a cosine: a zero vector has cosine 0, and its gradient stays bounded


def temporal_loss(  # noqa: PLR0913 -- a batch, what is drawn by, and the settings
    changes: Tensor,
    actions: Tensor,
    valid: Tensor,
    step: int,
    settings: Temporal,
    seed: int = 0,
    rows: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This worker's share of the mean over triplets of `max(0, dist(q, pos) - dist(q, neg) + margin)`, dist = 1 - cos.

    A triplet shares object i and change v. Query: change v of object i in clip a. Positive: the same in another clip of
    the action. Negative: the same in a clip of another action, or another object of clip a (hard negatives, all used).
    Only queries carry gradient. `margin_form: hinge_negatives` takes `max(0, cos(q, neg) - margin) - cos(q, pos)`.

    Args:
        changes: projected state changes [B, V, K, d], float32.
        actions: int64 [B], the class that makes two clips the same action; -1: unlabelled, left out.
        valid: bool [B].
        step, seed: with the global batch, all that the sampling of clips depends on: the same on any number of workers
            and after a restart, another one in a run of another seed.
        rows: int64 [B], which clip each is: one that comes twice in a batch is not its own positive. None: all differ.

    Returns:
        Scalar (0 without triplets), and the counts of own "temporal/queries_without_positive" (clips) and
        "temporal/triplets".
    """
    batch, vectors, objects, _ = changes.shape
    queries = normalize(changes, dim=-1, eps=EPS)
    keys = gather(queries)  # [G, V, K, d], detached
    all_actions = gather(actions.masked_fill(~valid, -1))  # [G]
    own = own_rows(batch, changes.device)

    between = torch.einsum("bvkd,gvkd->vkbg", queries, keys)  # cosines with the same (v, i) of every clip
    within = torch.einsum("bvkd,bvld->vkbl", queries, keys[own])  # with all objects of the own clip
    all_rows = None if rows is None else gather(rows)
    drawn = sample_clips(all_actions, step, settings.num_positives, settings.num_negatives, seed, all_rows)
    positive, is_positive, negative, is_negative = (part[own] for part in drawn)  # [B, P] or [B, Q]
    to_positive = between.take_along_dim(positive[None, None], dim=3)  # [V, K, B, P]
    to_negative = torch.cat([between.take_along_dim(negative[None, None], dim=3), within], dim=3)  # [V, K, B, Q + K]

    # [K, B, K]
    other_object = ~torch.eye(objects, dtype=torch.bool, device=changes.device)[:, None].expand(-1, batch, -1)
    is_negative = torch.cat([is_negative.expand(objects, -1, -1), other_object], dim=2)  # [K, B, Q + K]
    is_triplet = is_positive[..., None] & is_negative[..., None, :]  # [K, B, P, Q + K]
    to_positive, to_negative = to_positive[..., None], to_negative[..., None, :]
    if settings.margin_form == "triplet":
        losses = (to_negative - to_positive + settings.margin).relu()  # [V, K, B, P, Q + K]
    else:
        losses = (to_negative - settings.margin).relu() - to_positive
    triplets = vectors * is_triplet.sum()
    lonely = ((actions >= 0) & valid & ~is_positive.any(dim=1)).sum()
    share = (losses * is_triplet).sum() / sum_over_workers(triplets).clamp(min=1)
    return share, {"temporal/queries_without_positive": lonely, "temporal/triplets": triplets}


def sample_clips(
    actions: Tensor, step: int, positives: int, negatives: int, seed: int = 0, rows: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw, for each clip, clips of its action and clips of other actions, without replacement,
    anew for each step and seed.

    Unlabelled clips (-1) neither draw nor are drawn, and do not change what the others draw.

    Returns:
        Positions of the positives [G, P] and whether there is one, those of the negatives [G, Q] and whether there
        is one; P and Q are the numbers asked for, or fewer in a small batch.
    """
    labelled = (actions >= 0).cpu().nonzero().flatten()  # on the CPU: the same draw on every device
    priority = torch.zeros(len(actions), len(actions))
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]))
    priority[labelled[:, None], labelled] = torch.rand(len(labelled), len(labelled), generator=generator) + 1
    priority = priority.to(actions.device)
    same = actions[:, None] == actions
    both = (actions[:, None] >= 0) & (actions >= 0)
    itself = torch.eye(len(actions), dtype=torch.bool, device=actions.device)
    if rows is not None:
        itself = itself | (rows[:, None] == rows)
    drawn = []
    for pool, number in ((same & both & ~itself, positives), (~same & both, negatives)):
        best, clips = (priority * pool).topk(min(number, len(actions)), dim=1)
        drawn += [clips, best > 0]
    return tuple(drawn)
