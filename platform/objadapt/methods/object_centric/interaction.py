"""Object-time interaction: between the objects of a frame, and of each object with itself over time (Eq. 5, 6)."""

from typing import Literal

import torch
from torch import Tensor, nn


class AttentionLayer(nn.Module):
    """Pre-norm Transformer encoder layer; with `after_attention`,
    TimeSformer's extra linear layer behind the attention.

    Args:
        width: d of the tokens; a multiple of `heads`.
        ffn_width: hidden width F of the feed-forward network.
        after_attention: put a Linear(d, d) between attention and residual, as divided space-time attention does.
        dropout: of what the attention and the feed-forward network add.
    """

    def __init__(self, width: int, heads: int, ffn_width: int, after_attention: bool = False, dropout: float = 0.0):
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.after_attention = nn.Linear(width, width) if after_attention else nn.Identity()
        self.norm_ffn = nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, ffn_width), nn.GELU(), nn.Linear(ffn_width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """[S, L, d] -> [S, L, d]: S independent sets of L tokens; equivariant to the order of the tokens."""
        normed = self.norm_attention(tokens)
        attended, _ = self.attention(normed, normed, normed, need_weights=False)
        tokens = tokens + self.dropout(self.after_attention(attended))
        return tokens + self.dropout(self.ffn(self.norm_ffn(tokens)))


class ObjectInteraction(AttentionLayer):
    """Relations between the objects of one frame: attention over the K slots."""

    def forward(self, slots: Tensor) -> Tensor:
        """[B, T, K, d] -> object states z [B, T, K, d]."""
        return super().forward(slots.flatten(0, 1)).view_as(slots)


class TemporalAttention(AttentionLayer):
    """Ablation (Table 12): each object's T states attend to one another, in TimeSformer's form.

    No time encoding: the paper's parameter count has no room for one.
    """

    def __init__(self, width: int, heads: int, ffn_width: int, dropout: float = 0.0):
        super().__init__(width, heads, ffn_width, after_attention=True, dropout=dropout)

    def forward(self, states: Tensor) -> Tensor:
        """[B, T, K, d] -> [B, T, K, d]."""
        batch, frames, objects, width = states.shape
        tracks = states.transpose(1, 2).reshape(batch * objects, frames, width)  # [B*K, T, d]
        return super().forward(tracks).view(batch, objects, frames, width).transpose(1, 2)


def frame_pairs(frames: int, interval: int | Literal["all"]) -> Tensor:
    """Frame indices of the state changes, int64 [2, V]: rows t and t'.

    `interval` dt gives t' = t + dt, V = T - dt; "all" gives every t < t', V = T(T-1)/2, ordered by t, then t'.
    """
    if interval == "all":
        return torch.triu_indices(frames, frames, offset=1)
    earlier = torch.arange(frames - interval)
    return torch.stack([earlier, earlier + interval])


class StateChange(nn.Module):
    """Temporal interaction: `s_i(t) = MLP([z_i(t) ; z_i(t + dt)])` for every object i, MLP d+d -> 2d -> d."""

    def __init__(self, width: int, interval: int | Literal["all"], dropout: float = 0.0):
        super().__init__()
        self.interval = interval
        self.mlp = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """Object states [B, T, K, d] -> state changes [B, V, K, d], in the order of `frame_pairs`."""
        earlier, later = frame_pairs(
            states.shape[1],
            self.interval,  # pyright: ignore[reportArgumentType]  # the one str is "all"
        ).to(states.device)
        pairs = torch.cat([states[:, earlier], states[:, later]], dim=-1)  # [B, V, K, 2d]
        return self.mlp(self.dropout(pairs))
