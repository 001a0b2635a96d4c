"""Adaptive memory selection (section 3.2): which clips a question is about, with a gradient to why."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity


def relevance(question: Tensor, indicators: Tensor) -> Tensor:
    """Cosine of a question's indicator [B, d] with those of the clips [B, K, d]; [B, K]."""
    return cosine_similarity(question[:, None], indicators, dim=-1)


def top_clips(scores: Tensor, number: int, noisy: bool, temperature: float) -> Tensor:
    """Numbers of the clips of the greatest scores [B, K], in the order of time: int64 [B, min(number, K)].

    Args:
        noisy: with Gumbel noise on scores / temperature, so that training tries others, too.
    """
    if noisy:
        uniform = torch.rand_like(scores).clamp(1e-9, 1 - 1e-7)
        scores = scores / temperature - torch.log(-torch.log(uniform))
    return scores.topk(min(number, scores.shape[1]), dim=1).indices.sort(dim=1).values


def last_clips(scores: Tensor, number: int) -> Tensor:
    """Numbers of the last clips, int64 [B, min(number, K)]: what adaptive selection is compared with."""
    clips = torch.arange(scores.shape[1], device=scores.device)[-number:]
    return clips.expand(len(scores), -1)


def straight_through(summaries: Tensor, scores: Tensor, chosen: Tensor, temperature: float) -> Tensor:
    """The chosen clips' summaries as they are, [B, V, M, d]; their gradient reaches the scores by the softmax.

    Args:
        summaries: [B, K, M, d].
        scores: [B, K].
        chosen: int64 [B, V].
    """
    share = torch.softmax(scores / temperature, dim=1).gather(1, chosen)  # [B, V]
    gate = 1 + (share - share.detach())  # exactly 1
    picked = summaries[torch.arange(len(chosen), device=chosen.device)[:, None], chosen]  # [B, V, M, d]
    return picked * gate[..., None, None]


def selection_loss(scores: Tensor, segments: Tensor, temperature: float) -> Tensor:
    """KL from the clips that hold the answer to the selection, a value a question, [B]: the published warm-up.

    Args:
        scores: [B, K].
        segments: bool [B, K], at least one true a row; each true clip has an equal share.
    """
    true = segments / segments.sum(dim=1, keepdim=True)
    chosen = torch.log_softmax(scores / temperature, dim=1)
    return (torch.xlogy(true, true) - true * chosen).sum(dim=1)
