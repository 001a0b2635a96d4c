"""The only part of SSL-UVOS that learns: one transformer block over the frozen tokens of several frames at once."""

import torch
from torch import Tensor, nn

from ..classifier import check_heads

SHARPNESS = 8.0  # at 4 all patches merge; at 16 a DeiT-Tiny has as many segments as may be (README.md)


class SpatioTemporalBlock(nn.Module):
    """x + attend(norm(x)), then x + mlp(norm(x)); no position code, so frames may be of any number and size.

    Args:
        width: J, of the tokens.
        heads: of the attention, whose maps are averaged for whoever reads them.
        mlp_ratio: hidden width of the MLP over J.
        start: "likeness" or "random", what the attention is before any step. By likeness, queries and keys are the
            normed tokens themselves: a head's softmax is over `SHARPNESS` times about the cosine of its part of them.

    Raises:
        InputError: the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, start: str):
        super().__init__()
        check_heads(heads, width)
        hidden = round(mlp_ratio * width)
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projections = nn.Linear(width, 3 * width)  # queries, keys, values
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        if start == "likeness":
            gain = (SHARPNESS / (width / heads) ** 0.5) ** 0.5  # of queries and of keys
            with torch.no_grad():
                self.projections.weight[: 2 * width] = gain * torch.eye(width).repeat(2, 1)
                self.projections.bias[: 2 * width] = 0

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [b, n, J] -> tokens [b, n, J], and the attention of each to all, mean over heads, [b, n, n]."""
        queries, keys, values = (self._split(one) for one in self.projections(self.norm_1(tokens)).chunk(3, dim=-1))
        attention = self._attention(queries, keys)  # [b, heads, n, n]
        read = (attention @ values).transpose(1, 2).flatten(2)  # [b, n, J]
        tokens = tokens + self.out(read)
        return tokens + self.mlp(self.norm_2(tokens)), attention.mean(dim=1)

    def rows(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Attention of tokens [n, J] to other tokens `seen` [m, J], mean over heads: [n, m], each row sums to 1."""
        queries, keys, _ = self.projections.weight.chunk(3)
        of_queries, of_keys, _ = self.projections.bias.chunk(3)
        queries = self._split(nn.functional.linear(self.norm_1(tokens), queries, of_queries)[None])
        keys = self._split(nn.functional.linear(self.norm_1(seen), keys, of_keys)[None])
        total = torch.zeros(len(tokens), len(seen), dtype=tokens.dtype, device=tokens.device)
        for head in range(self.heads):  # one at a time: all of them need `heads` times the memory
            total += self._attention(queries[0, head], keys[0, head])
        return total / self.heads

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [b, heads, n, J / heads]

    def _attention(self, queries: Tensor, keys: Tensor) -> Tensor:
        return (queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5).softmax(dim=-1)


def spread(total: int, number: int) -> list[int]:
    """Places of `number` frames, at most `total`, in the middles of equal parts of 0 .. total - 1."""
    number = min(number, total)
    return [(2 * place + 1) * total // (2 * number) for place in range(number)]
