"""A pre-norm block in which queries attend to other tokens; attentive_probe and evl have it."""

from torch import Tensor, nn


class CrossAttentionBlock(nn.Module):
    """queries + attention(norm(queries), norm(tokens)), then + mlp(norm(queries)).

    Args:
        width: D, of queries and tokens.
        heads: attention heads; D is a multiple.
        activation: of the MLP, whose hidden width is 4 D.
        dropout: of the MLP's hidden units.
    """

    def __init__(self, width: int, heads: int, activation: nn.Module, dropout: float):
        super().__init__()
        self.norm_queries, self.norm_tokens, self.norm_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        hidden = nn.Linear(width, 4 * width)
        self.mlp = nn.Sequential(hidden, activation, nn.Dropout(dropout), nn.Linear(4 * width, width))

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """queries [B, q, D], tokens [B, n, D] -> [B, q, D]."""
        seen = self.norm_tokens(tokens)
        queries = queries + self.attention(self.norm_queries(queries), seen, seen, need_weights=False)[0]
        return queries + self.mlp(self.norm_mlp(queries))
