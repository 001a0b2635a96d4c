"""The two losses of SSL-UVOS: what a patch attends to is alike (semantic), and attends to the same places (motion).

Both look at a few query patches a frame. B clips, T frames, N patches a frame, Q queries of a clip, M = T N.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

TINY = 1e-12  # below it an attention counts as this much: its logarithm stays finite


def drawn_queries(clips: Tensor, step: int, seed: int, frames: int, patches: int, number: int) -> Tensor:
    """Query patches of each clip, by (seed, step, clip) alone: the same for any number of workers.

    Args:
        clips: int64 [B], rows of the manifest; -1 of padding.
        number: queries a frame, each another patch; all patches where there are fewer.

    Returns:
        int64 [B, T, q], places in a frame.
    """
    drawn = np.empty((len(clips), frames, min(number, patches)), np.int64)
    for place, clip in enumerate(clips.tolist()):
        generator = np.random.default_rng([seed, step, clip + 1])
        for frame in range(frames):
            drawn[place, frame] = generator.choice(patches, drawn.shape[2], replace=False)
    return torch.from_numpy(drawn).to(clips.device)


def rows_of(attention: Tensor, queries: Tensor) -> Tensor:
    """Attention [B, M, M] -> rows of the queries [B, T, q], without gradient: [B, T, q, T, N]."""
    clips, frames, number = queries.shape
    whole = attention.detach().unflatten(1, (frames, -1))  # [B, T, N, M]
    picked = whole.gather(2, queries[..., None].expand(-1, -1, -1, whole.shape[-1]))  # [B, T, q, M]
    return picked.unflatten(3, (frames, -1))


def semantic_loss(
    outputs: Tensor, rows: Tensor, queries: Tensor, near: int, far: int, margins: tuple[float, float]
) -> Tensor:
    """In every frame, the most attended patches are like the query and the least attended are unlike it.

    Args:
        outputs: [B, T, N, J], of the block.
        rows: of `rows_of`.
        near, far: patches of a frame that count as attended and as not attended.
        margins: least cosine of the attended, greatest of the others.

    Returns:
        [B]: mean of relu(margin - cosine) over attended patches + mean of relu(cosine - margin) over the others.
    """
    unit = normalize(outputs, dim=-1)
    of_queries = unit.gather(2, queries[..., None].expand(-1, -1, -1, unit.shape[-1]))  # [B, T, q, J]
    cosines = torch.einsum("btqj,bsnj->btqsn", of_queries, unit)
    attended = cosines.gather(4, rows.topk(near, dim=4).indices)
    others = cosines.gather(4, rows.topk(far, dim=4, largest=False).indices)
    alike, unlike = (margins[0] - attended).relu(), (others - margins[1]).relu()
    return alike.flatten(1).mean(dim=1) + unlike.flatten(1).mean(dim=1)


def motion_loss(attention: Tensor, rows: Tensor, near: int, far: int, margin: float) -> Tensor:
    """Patches that a query attends to in its own frame attend to the same places of the clip as it does.

    A pair's score is the sum of q log p over the clip: q the query's row, without gradient, p that of the other patch.

    Args:
        attention: [B, M, M].
        rows: of `rows_of`.
        near, far: patches of the query's own frame that count as attended and as not attended.
        margin: by which the mean score of the attended is above that of the others.

    Returns:
        [B]: relu(others - attended + margin), weighted by the softmax over a clip's queries of the sum of q log q, so
        that a sharp row counts more than an even one.
    """
    clips, frames, number = rows.shape[:3]
    whole = rows.flatten(3)  # q: [B, T, q, M]
    logs = attention.clamp(min=TINY).log().unflatten(1, (frames, -1))  # log p: [B, T, N, M]
    scores = whole @ logs.transpose(2, 3)  # [B, T, q, N]
    own = torch.stack([rows[:, frame, :, frame] for frame in range(frames)], dim=1)  # [B, T, q, N]
    attended = scores.gather(3, own.topk(near, dim=3).indices).mean(dim=3)  # [B, T, q]
    others = scores.gather(3, own.topk(far, dim=3, largest=False).indices).mean(dim=3)
    sharpness = (whole * whole.clamp(min=TINY).log()).sum(dim=3)  # [B, T, q]
    weights = sharpness.flatten(1).softmax(dim=1).view(clips, frames, number)
    return (weights * (others - attended + margin).relu()).flatten(1).sum(dim=1)


def share_of(patches: int, share: float) -> int:
    """How many patches of a frame a share is, at least one."""
    return max(1, round(share * patches))
