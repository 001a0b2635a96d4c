"""From the frozen tokens of a clip to a map of features over time and space; stands for the paper's R(2+1)D."""

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad, relu


class SpaceTimeBlock(nn.Module):
    """A 3 x 3 convolution in each frame, then one over 3 frames, beside the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.space = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.time = nn.Linear(3 * width, width)  # of the frame before, the frame and the one behind
        self.out = nn.Linear(width, width)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, T, s, s, d] -> the same shape."""
        frames = self.norm(maps).flatten(0, 1).permute(0, 3, 1, 2)  # [B T, d, s, s]
        within = self.space(frames).permute(0, 2, 3, 1).reshape(maps.shape)
        padded = pad(within, (0, 0, 0, 0, 0, 0, 1, 1))  # zeros before the first frame and behind the last
        triples = torch.cat([padded[:, :-2], within, padded[:, 2:]], dim=-1)  # [B, T, s, s, 3 d]
        return maps + self.out(gelu(self.time(triples)))


class MapEncoder(nn.Module):
    """Tokens [B, T, N, J] of square frames -> maps [B, T, n, d] >= 0, where n = ceil(sqrt(N) / 2) squared.

    Args:
        joint_width: J.
        width: d.
        layers: space-time blocks.
    """

    def __init__(self, joint_width: int, width: int, layers: int):
        super().__init__()
        self.project = nn.Linear(joint_width, width)
        self.join = nn.Conv2d(width, width, 3, stride=2, padding=1, groups=width)
        self.blocks = nn.ModuleList(SpaceTimeBlock(width) for _ in range(layers))
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """ValueError where N is no square number."""
        batch, frames, patches, _ = tokens.shape
        side = isqrt(patches)
        if side**2 != patches:
            raise ValueError(f"tokens: {patches} patches a frame are no square")
        grid = self.project(tokens).reshape(batch * frames, side, side, -1).permute(0, 3, 1, 2)  # [B T, d, S, S]
        maps = self.join(grid).permute(0, 2, 3, 1).unflatten(0, (batch, frames))  # [B, T, s, s, d]
        for block in self.blocks:
            maps = block(maps)
        return relu(self.out(maps)).flatten(2, 3)


def pooled(maps: Tensor, activation: Tensor | None = None) -> Tensor:
    """Mean of maps [B, T, n, d] over time and space, weighted by an activation map [B, T, n] if there is one."""
    return (maps if activation is None else maps * activation[..., None]).mean(dim=(1, 2))


def activation_map(maps: Tensor) -> Tensor:
    """Sum over the channels of [B, T, n, d], divided by its mean over the clip: [B, T, n] with mean 1 (section 3.3)."""
    strength = maps.sum(dim=-1)
    return strength / strength.mean(dim=(1, 2), keepdim=True).clamp(min=1e-6)
