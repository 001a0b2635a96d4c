"""A pre-norm block in which queries attend to other tokens; attentive_probe, evl and motion_layers have it."""

from torch import Tensor, nn
from torch.nn.functional import linear


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
        asking, seen = self.norm_queries(queries), self.norm_tokens(tokens)
        if queries.shape[1] * self.attention.num_heads < queries.shape[2]:
            found = few_queries(self.attention, asking, seen)
        else:
            found = self.attention(asking, seen, seen, need_weights=False)[0]
        queries = queries + found
        return queries + self.mlp(self.norm_mlp(queries))


def few_queries(attention: nn.MultiheadAttention, queries: Tensor, tokens: Tensor) -> Tensor:
    """What `attention` gives of queries [B, q, D] and tokens [B, n, D]: the same sums in another order, [B, q, D].

    A query goes through each head's weights of the keys. It averages tokens before they go through those of the values.
    So q times H vectors a clip are projected instead of n tokens: less work where q H < D.
    """
    heads, width = attention.num_heads, attention.head_dim
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    assert weight is not None and bias is not None, "keys and values as wide as queries, with a bias"
    (to_q, to_k, to_v), (q_bias, _, v_bias) = weight.chunk(3), bias.chunk(3)  # keys' bias: the same for all tokens
    q = (linear(queries, to_q, q_bias) * width**-0.5).unflatten(2, (heads, 1, width))  # [B, q, H, 1, e]
    asked = (q @ to_k.unflatten(0, (heads, width))).flatten(1, 3)  # [B, q H, D]
    weights = (asked @ tokens.transpose(1, 2)).softmax(dim=2)  # [B, q H, n]
    means = (weights @ tokens).unflatten(1, (-1, heads, 1))  # [B, q, H, 1, D]
    values = (means @ to_v.unflatten(0, (heads, width)).transpose(1, 2)).flatten(2) + v_bias  # [B, q, D]
    return attention.out_proj(values)
