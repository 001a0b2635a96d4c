"""A frozen transformer block taken apart, for methods that insert something between its halves."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import linear


@dataclass(frozen=True)
class BlockParts:
    """A pre-norm block is x + attend(norm_1(x)), then x + mlp(norm_2(x)).

    Each part takes tokens [b, n, D] of any floating type and computes in the backbone's precision. It answers in the
    type that it was given: whatever a method inserts can stay in float32.

    Attributes:
        heads: attention heads.
        projections: weight [3D, D] and bias [3D] of queries, keys and values, one below the other; no bias: None.
        out: the linear layer [D] -> [D] behind the heads.
        first_norm: the module behind `norm_1`.
    """

    norm_1: Callable[[Tensor], Tensor]
    attend: Callable[[Tensor], Tensor]
    norm_2: Callable[[Tensor], Tensor]
    mlp: Callable[[Tensor], Tensor]
    heads: int
    projections: Callable[[], tuple[Tensor, Tensor | None]]
    out: nn.Linear
    first_norm: nn.Module

    def forward(self, tokens: Tensor) -> Tensor:
        """The whole block, unchanged."""
        tokens = tokens + self.attend(self.norm_1(tokens))
        return tokens + self.mlp(self.norm_2(tokens))

    def queries_and_keys(self, normed: Tensor) -> tuple[Tensor, Tensor]:
        """Of tokens behind `norm_1`: queries and keys [b, n, heads, D / heads], queries not scaled."""
        weight, bias = self.projections()
        width = normed.shape[-1]
        both = linear(normed.to(weight.dtype), weight[: 2 * width], None if bias is None else bias[: 2 * width])
        queries, keys = both.to(normed.dtype).chunk(2, dim=-1)
        return queries.unflatten(-1, (self.heads, -1)), keys.unflatten(-1, (self.heads, -1))


def in_precision(part: Callable[[Tensor], Tensor], of: nn.Module) -> Callable[[Tensor], Tensor]:
    """`part` in the precision that the weights of `of` have when it is called; the answer in the type of the tokens."""

    def computed(tokens: Tensor) -> Tensor:
        return part(tokens.to(next(of.parameters()).dtype)).to(tokens.dtype)

    return computed
