"""Slot attention that begins as soft k-means: its queries are centroids of training tokens, before anything is learnt.

From random weights attention is nearly even and the slots nearly alike, and no loss of the paper needs them to differ.
From here the slots of a frame are soft clusters of its tokens, and slot k is the same cluster in every frame.
"""

import math

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn.functional import normalize

from .slot_attention import SlotAttention

STARTS = 4  # k-means++ initialisations, of which the best is taken
VALUE = 0.5  # deviation of the values along their widest direction: inside the straight part of the GRU's tanh
UPDATE_GATE = -4.0  # bias of the GRU's update gate: 2 % of the old slot stays


@torch.no_grad()
def begin_as_kmeans(attention: SlotAttention, tokens: Tensor, gain: float, seed: int) -> None:
    """Set the weights of slot attention so that its first iteration is soft spherical k-means.

    With x a normalised token, m the mean of all, V the d widest principal directions and c_k the centroids of
    (x - m) V on the unit sphere:

        logit of slot k = gain <c_k, (x - m) V> / rms |(x - m) V|
        slot k = tanh of the attention-weighted mean of (x - m) V, brought to the scale of `VALUE`, nearly

    Args:
        tokens: float [n, J], a sample of the patch tokens of the training clips; n at least K.
        gain: logit of an average token that points straight at its centroid.
        seed: of k-means.

    Raises:
        ValueError: fewer tokens than slots.
    """
    width, number = attention.to_q.out_features, attention.num_slots
    if len(tokens) < number:
        raise ValueError(f"tokens: {len(tokens)} for {number} centroids")
    normed = attention.norm_input(tokens.to(attention.queries)).double().cpu()  # [n, J]
    mean, basis, deviation = _principal(normed, width)
    reduced = (normed - mean) @ basis  # [n, d]
    clusters = KMeans(number, n_init=STARTS, random_state=seed)  # pyright: ignore[reportArgumentType]  # not only "auto"
    centroids = torch.from_numpy(clusters.fit(normalize(reduced, dim=1).numpy()).cluster_centers_)
    length = reduced.square().sum(dim=1).mean().sqrt().clamp(min=1e-6)

    attention.queries.copy_(math.sqrt(width) * normalize(centroids, dim=1))  # LayerNorm leaves this length as it is
    _set(attention.to_q, torch.eye(width) * (gain / math.sqrt(width)), torch.zeros(width))
    _set(attention.to_k, (basis / length).T * math.sqrt(width), -(mean @ basis) / length * math.sqrt(width))
    scale = VALUE / deviation.clamp(min=1e-6)
    _set(attention.to_v, scale * basis.T, -scale * (mean @ basis))
    _pass_on(attention.gru)


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
