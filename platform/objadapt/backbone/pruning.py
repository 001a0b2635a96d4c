"""STA: frozen tokens that repeat earlier frames and say little are dropped between the blocks (arXiv 2308.04549).

Training-free and without parameters. Written anew from the paper's description; docs/pruning.md says what differs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from ..errors import InputError
from .block_parts import BlockParts
from .encoder import Encoder


@dataclass(frozen=True)
class Pruned:
    """Clips behind a pruned encoder: B clips, T frames, N places, of which n have a token left."""

    patches: Tensor  # [B, T, N, J]; a dropped place has the token of its frame that it was most like
    cls: Tensor  # [B, T, J]
    kept: Tensor  # int64 [B, T, n], places whose tokens are left, rising


def schedule(blocks: int, dropped: int) -> dict[int, int]:
    """Block -> tokens that each frame loses behind it: r after 0, r / 2 after L / 3, r / 4 after 2L / 3.

    The paper drops r of each group of 1, 2 and 4 frames; over 8 frames both lose 14 r.
    """
    return {stage * blocks // 3: dropped >> stage for stage in range(3)} if dropped else {}


def set_pruning(encoder: Encoder, dropped: int) -> Encoder:
    """Say that `encode_frames` is to prune; -> the same encoder."""
    object.__setattr__(encoder, "pruning", dropped)  # no field of Encoder: methods inside the ViT know nothing of it
    return encoder


def pruning_of(encoder: Encoder) -> int:
    """r of `set_pruning`; 0 where nothing was said."""
    return getattr(encoder, "pruning", 0)


def check_pruning(encoder: Encoder, dropped: int, patches: int) -> None:
    """Refuse what cannot be pruned.

    Args:
        patches: N, of a frame.

    Raises:
        InputError: r is above N / 2, or the ViT has fewer than 3 blocks, or others than plain ones.
    """
    if not dropped:
        return
    if 2 * dropped > patches:
        raise InputError(f"backbone.pruning: {dropped} is more than half of a frame's {patches} patches; lower it")
    if (blocks := len(encoder.blocks)) < 3:
        raise InputError(f"backbone.pruning: drops tokens behind 3 blocks, and {encoder.name} has {blocks}; use 0")
    _ = encoder.block_parts


def encode_pruned(encoder: Encoder, images: Tensor, dropped: int) -> Pruned:
    """Encode whole clips and drop tokens on the way; at `dropped` = 0 exactly `Encoder.forward`.

    Args:
        images: float [B, T, 3, H, W], normalised; T frames of a clip in order.
        dropped: r, a multiple of 4 and at most N / 2; cls and other prefix tokens are never dropped.

    Raises:
        InputError: as `check_pruning`.
    """
    shape = images.shape[:2]
    tokens, prefix = encoder.embed(images.flatten(0, 1)), encoder.prefix  # [B*T, prefix + N, D]
    number, losses = tokens.shape[1] - prefix, schedule(len(encoder.blocks), dropped)
    check_pruning(encoder, dropped, number)
    kept = torch.arange(number, device=tokens.device).expand(len(tokens), -1)  # [B*T, n], places
    source = kept  # [B*T, N], which of the tokens left each place has
    parts = encoder.block_parts if losses else []
    for place, block in enumerate(encoder.blocks):
        keys = mean_keys(parts[place], tokens)[:, prefix:] if place in losses else None  # [B*T, n, D / heads]
        tokens = block(tokens)
        if keys is None:
            continue
        patches = tokens[:, prefix:]
        backwards = list(losses).index(place) == 1  # scan forward, backward, forward
        left, like = choose(keys.unflatten(0, shape), patches.unflatten(0, shape), losses[place], backwards)
        left, like = left.flatten(0, 1), like.flatten(0, 1)
        tokens = torch.cat([tokens[:, :prefix], _taken(patches, left)], dim=1)
        kept, source = kept.gather(1, left), like.gather(1, source)
    patches, cls = encoder.finish(tokens)  # [B*T, n, J], [B*T, J]
    patches = _taken(patches, source) if losses else patches  # [B*T, N, J]
    return Pruned(patches.unflatten(0, shape), cls.unflatten(0, shape), kept.unflatten(0, shape))


def mean_keys(parts: BlockParts, tokens: Tensor) -> Tensor:
    """Keys with which a block is about to attend, meaned over its heads and of length 1: float32 [b, n, D / heads]."""
    weight, bias = parts.projections()
    width = tokens.shape[-1]
    own = slice(width, 2 * width)
    normed = parts.norm_1(tokens).to(weight.dtype)
    keys = linear(normed, weight[own], None if bias is None else bias[own])
    return normalize(keys.unflatten(-1, (parts.heads, -1)).mean(dim=2).float(), dim=-1)


def choose(keys: Tensor, tokens: Tensor, dropped: int, backwards: bool) -> tuple[Tensor, Tensor]:
    """Which tokens of each frame stay, by their semantic-aware temporal accumulation score.

    A token that is like much of the frame before it, and that has a small norm, goes. The first frame of the scan has
    no earlier one: there the even tokens go that are most like an odd one.

    Args:
        keys: float32 [B, T, n, d] of length 1.
        tokens: [B, T, n, D], whose L1 norms measure semantic importance.
        dropped: tokens that each frame loses.
        backwards: scan from the last frame to the first.

    Returns:
        left int64 [B, T, n - dropped], rising; like int64 [B, T, n]: for each token, which of those left (0 ..
        n - dropped - 1) it is, or has the most similar key.
    """
    frames = keys.shape[1]
    weight = tokens.float().abs().sum(dim=-1)  # [B, T, n]
    low, high = weight.amin(dim=-1, keepdim=True), weight.amax(dim=-1, keepdim=True)
    weight = (weight - low) / (high - low).clamp(min=1e-12)
    order = range(frames)[::-1] if backwards else range(frames)
    left: dict[int, Tensor] = {}
    earlier = score = None
    for t in order:
        now = keys[:, t]  # [B, n, d]
        if earlier is None or score is None:
            left[t] = _unlike_the_odd(now, dropped)
            accumulated = _share(now, now).sum(dim=2)  # [B, n]
        else:
            accumulated = (_share(now, earlier) @ score[:, :, None])[:, :, 0]  # s_t = A s_{t-1}
            value = accumulated * (1 - weight[:, t])
            stay = now.shape[1] - dropped
            left[t] = value.argsort(dim=1, stable=True)[:, :stay].sort(dim=1).values
        score = accumulated.gather(1, left[t])
        score = score / score.sum(dim=1, keepdim=True)
        earlier = _taken(now, left[t])
    stacked = torch.stack([left[t] for t in range(frames)], dim=1)  # [B, T, n - dropped]
    return stacked, _most_alike(keys, stacked)


def _share(now: Tensor, earlier: Tensor) -> Tensor:
    """A [B, n, m]: how each of m earlier tokens [B, m, d] is dealt out to n of now [B, n, d]; columns sum to 1."""
    return (now @ earlier.transpose(1, 2)).softmax(dim=1)


def _unlike_the_odd(keys: Tensor, dropped: int) -> Tensor:
    """Places [B, n - dropped] without the `dropped` even ones [B, n, d] that are most like an odd one."""
    nearest = (keys[:, 0::2] @ keys[:, 1::2].transpose(1, 2)).amax(dim=2)  # [B, ceil(n / 2)]
    value = torch.full(keys.shape[:2], -2.0, device=keys.device)  # below any cosine: the odd ones stay
    value[:, 0::2] = nearest
    stay = keys.shape[1] - dropped
    return value.argsort(dim=1, stable=True)[:, :stay].sort(dim=1).values


def _most_alike(keys: Tensor, left: Tensor) -> Tensor:
    """For each token the number of the one left whose key is most alike; those left are their own: int64 [B, T, n]."""
    chosen = keys.gather(2, left[..., None].expand(-1, -1, -1, keys.shape[-1]))
    like = (keys @ chosen.transpose(2, 3)).argmax(dim=3)
    own = torch.arange(left.shape[2], device=left.device).expand_as(left)
    return like.scatter(2, left, own)


def _taken(tokens: Tensor, places: Tensor) -> Tensor:
    """tokens [b, n, D], places int64 [b, m] -> [b, m, D]."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
