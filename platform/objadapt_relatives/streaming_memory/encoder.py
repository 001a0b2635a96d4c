"""Memory-propagated streaming encoding (section 3.1): a clip and the summaries before it become the next summaries.

The order of a clip's tokens is [time, H_(k-1), F_k, S_k, indicator], under a causal mask. So the summaries S_k see
the time, the memory and the clip, and the indicator sees all of them.
"""

from math import ceil, isqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad

from .settings import Settings


class StreamingEncoder(nn.Module):
    """A small causal transformer that takes one clip after the other.

    Args:
        joint_width: J.
    """

    def __init__(self, settings: Settings, joint_width: int):
        super().__init__()
        width = settings.width
        self.settings = settings
        self.project = nn.Linear(4 * joint_width, width)  # 2 x 2 patches side by side
        self.frame = nn.Parameter(torch.randn(settings.clip_frames, 1, width) * 0.02)
        self.first_memory = nn.Parameter(torch.randn(settings.memory_tokens, width) * 0.02)
        self.kinds = nn.ParameterDict(
            {kind: nn.Parameter(torch.randn(width) * 0.02) for kind in ("memory", "frames", "summary", "indicator")}
        )
        layer = nn.TransformerEncoderLayer(
            width, settings.heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, settings.layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )

    def begin(self, batch: int) -> Tensor:
        """The memory before the first clip, [B, M, d]; M = clip_frames x P."""
        return self.first_memory.expand(batch, -1, -1)

    def forward(self, patches: Tensor, memory: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Summaries [B, M, d] of a clip, which are the next clip's memory, and its indicator [B, d].

        Args:
            patches: [B, clip_frames, N, J], N a square number.
            memory: [B, M, d], of the clip before.
            number: of the clip, from 0 on.

        Raises:
            ValueError: other frames than `clip_frames`, or N is no square number.
        """
        settings, width = self.settings, self.settings.width
        frames = self._frames(patches)  # [B, F, s, s, d]
        cells = isqrt(settings.summaries)
        pooled = adaptive_avg_pool2d(frames.flatten(0, 1).permute(0, 3, 1, 2), cells)  # [B F, d, cells, cells]
        summary = pooled.flatten(2).transpose(1, 2).reshape(len(patches), settings.memory_tokens, width)
        if not settings.memory:
            memory = self.begin(len(patches))
        time = place_in_time(number, width).to(memory).expand(len(patches), 1, -1)
        indicator = self.kinds["indicator"].expand(len(patches), 1, -1)
        parts = [
            time,
            memory + self.kinds["memory"],
            frames.flatten(1, 3) + self.kinds["frames"],
            summary + self.kinds["summary"],
            indicator,
        ]
        out = self._causal(torch.cat(parts, dim=1))
        return out[:, -settings.memory_tokens - 1 : -1], out[:, -1]

    def ask(self, question: Tensor, memory: Tensor) -> Tensor:
        """Indicator [B, d] of a question [B, d] behind the memory of the last clip [B, M, d]."""
        return self._causal(torch.cat([memory + self.kinds["memory"], question[:, None]], dim=1))[:, -1]

    def _frames(self, patches: Tensor) -> Tensor:
        """[B, F, N, J] -> [B, F, s, s, d], s = ceil(sqrt(N) / 2); an odd side is padded with zeros."""
        batch, frames, number, _ = patches.shape
        side = isqrt(number)
        if side**2 != number or frames != self.settings.clip_frames:
            raise ValueError(f"patches: {list(patches.shape)} is no clip of {self.settings.clip_frames} square frames")
        grid = pad(patches.unflatten(2, (side, side)), (0, 0, 0, side % 2, 0, side % 2))
        half = ceil(side / 2)
        squares = grid.unflatten(3, (half, 2)).unflatten(2, (half, 2)).transpose(3, 4).flatten(4)  # [B, F, s, s, 4 J]
        return self.project(squares) + self.frame[:, None]

    def _causal(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        return self.layers(tokens, mask=mask, is_causal=True)


def place_in_time(number: int, width: int) -> Tensor:
    """The time prompt: sines and cosines of a clip's number, [d], for any number of clips."""
    rates = torch.exp(-torch.arange(width // 2, dtype=torch.float64) * (9.21 / (width // 2)))
    return torch.cat([torch.sin(number * rates), torch.cos(number * rates)]).float()
