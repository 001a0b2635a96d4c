"""Perceive sampler: a fixed number of learned queries reads any number of image tokens."""

import torch
from torch import Tensor, nn


class PerceiveSampler(nn.Module):
    """Queries see each other in every layer, and the image in every second one, the first included.

    Args:
        width: of the image's tokens.
        out: of the tokens that come out.
        queries: how many; published: 64.
        layers: of the queries' transformer; published: those of BERT-base.
        heads: attention heads; a divisor of `inner`.
        inner: width of the queries.
    """

    def __init__(self, width: int, out: int, queries: int = 64, layers: int = 2, heads: int = 4, inner: int = 64):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, inner) * 0.02)
        self.image = nn.Linear(width, inner)
        kind = {"dim_feedforward": 4 * inner, "dropout": 0.0, "activation": "gelu", "batch_first": True}
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(inner, heads, norm_first=True, **kind)
            if number % 2
            else nn.TransformerDecoderLayer(inner, heads, norm_first=True, **kind)
            for number in range(layers)
        )
        self.out = nn.Linear(inner, out)

    def forward(self, tokens: Tensor) -> Tensor:
        """Image tokens [B, N, width], any N from 1 on -> [B, queries, out]."""
        image, states = self.image(tokens), self.queries.expand(len(tokens), -1, -1)
        for layer in self.layers:
            states = layer(states, image) if isinstance(layer, nn.TransformerDecoderLayer) else layer(states)
        return self.out(states)
