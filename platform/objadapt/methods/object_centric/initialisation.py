"""Slot attention that begins as soft k-means: its queries are centroids of training tokens, before anything is learnt.

From random weights attention is nearly even and the slots nearly alike, and no loss of the paper needs them to differ.
From here the slots of a frame are soft clusters of its tokens, and slot k is the same cluster in every frame.
"""

import math

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from ...errors import InputError
from .slot_attention import SlotAttention

STARTS = 4  # k-means++ initialisations, of which the best is taken
VALUE = 0.5  # deviation of the values along their widest direction: inside the straight part of the GRU's tanh
UPDATE_GATE = -4.0  # bias of the GRU's update gate: 2 % of the old slot stays
ASIDE = 3  # dimensions of a query beside its centroid, see `_queries`


@torch.no_grad()
def begin_as_kmeans(attention: SlotAttention, tokens: Tensor, gain: float, seed: int) -> None:
    """Set the weights of slot attention so that its first iteration is soft k-means.

    With x a token as slot attention takes it, m the mean of all, V the d - 3 widest principal directions,
    z = (x - m) V over the root mean square length of all (x - m) V, and c_k the centroids of z:

        logit of slot k = -gain / 2 |z - c_k|^2, but for what is the same for all k
        slot k = tanh of the attention-weighted mean of z, brought to the scale of `VALUE`, nearly

    Args:
        tokens: float [f, n, J], f frames of training clips, or a sample of their tokens; at least K in all.
        gain: how sharply a token of average length prefers the nearer centroid.
        seed: of k-means.

    Raises:
        InputError: fewer tokens than slots.
    """
    width, number = attention.to_q.out_features, attention.num_slots
    normed = attention.tokens(tokens.to(attention.queries)).flatten(0, 1).double().cpu()  # [f n, J]
    if len(normed) < number:
        raise InputError(
            f"method.slots.number: {number} slots cannot begin as k-means of {len(normed)} tokens; use fewer slots"
        )
    mean, basis, deviation = _principal(normed, width - ASIDE)
    reduced = (normed - mean) @ basis  # [n, d - 3]
    length = reduced.square().sum(dim=1).mean().sqrt().clamp(min=1e-6)
    clusters = KMeans(number, n_init=STARTS, random_state=seed % 2**32)  # pyright: ignore[reportArgumentType]  # not only "auto"
    centroids = torch.from_numpy(clusters.fit((reduced / length).numpy()).cluster_centers_)

    queries, radius = _queries(centroids)
    basis = nn.functional.pad(basis, (0, ASIDE))  # [J, d]
    constant = torch.zeros(width, dtype=basis.dtype)
    constant[-ASIDE] = 1  # meets the bias of the query
    attention.queries.copy_(queries * math.sqrt(width) / radius)
    _set(attention.to_q, torch.eye(width) * gain * radius, torch.zeros(width))
    _set(attention.to_k, (basis / length).T, constant - mean @ basis / length)
    scale = VALUE / deviation.clamp(min=1e-6)
    _set(attention.to_v, scale * basis.T, -scale * (mean @ basis))
    _pass_on(attention.gru)


def _queries(centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Queries [K, d] with mean 0 and one length, which LayerNorm only scales; -> that length, too.

    A query is its centroid [d - 3], the bias -|c|^2 / 2 of its logit, and two numbers that no key looks at.
    """
    bias = -centroids.square().sum(dim=1) / 2
    total = centroids.sum(dim=1) + bias
    rest = centroids.square().sum(dim=1) + bias.square() + total.square() / 2
    radius = rest.max().sqrt().clamp(min=1e-6)
    spread = ((radius.square() - rest) / 2).clamp(min=0).sqrt()
    return torch.column_stack([centroids, bias, -total / 2 + spread, -total / 2 - spread]), radius


def _principal(points: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [J], the `width` widest principal directions [J, width] (zeros beyond J), deviation along the widest."""
    mean = points.mean(dim=0)
    centred = points - mean
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(points))  # rising
    basis = directions.flip(1)[:, :width]
    strongest = basis.gather(0, basis.abs().argmax(dim=0, keepdim=True))  # a direction's sign is a solver's whim
    basis = nn.functional.pad(basis * strongest.sign(), (0, max(0, width - basis.shape[1])))
    return mean, basis, variances[-1].clamp(min=0).sqrt()


def _set(linear: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)


def _pass_on(gru: nn.GRUCell) -> None:
    """A GRU whose new state is tanh(update), but for what the update gate keeps of the old one."""
    width = gru.hidden_size
    gru.weight_ih[width:].zero_()  # order of the gates: reset, update, new
    gru.weight_hh[width:].zero_()
    gru.bias_ih[width:].zero_()
    gru.bias_hh[width:].zero_()
    gru.weight_ih[2 * width :].copy_(torch.eye(width))
    gru.bias_ih[width : 2 * width].fill_(UPDATE_GATE)
