"""SMTC's slots: what kinds of things there are (semantic), then which of each kind (instances).

Both stages share one set of Gaussians and one set of weights. Semantic slots begin at the means, instance slots at
samples of each Gaussian, and instance slots compete inside of their kind's area alone.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity

from .transport import cosines

TINY = 1e-8


class Fusion(nn.Module):
    """Tokens + where each of them is found in the frame before: its cosines to that frame's patches, projected.

    Args:
        width: J.
        side: the correspondence maps are brought to `side` x `side`, so that frames may be of any size.
    """

    def __init__(self, width: int, side: int):
        super().__init__()
        self.side = side
        self.projection = nn.Linear(side * side, width)

    def forward(self, patches: Tensor, before: Tensor, grid: tuple[int, int]) -> Tensor:
        """Patches [b, N, J] and those of the frames before them -> [b, N, J]; `grid` is (h, w), N = h * w."""
        maps = cosines(patches, before)  # [b, N, N']
        pooled = adaptive_avg_pool2d(maps.unflatten(2, grid), self.side).flatten(2)  # [b, N, side * side]
        return patches + self.projection(pooled)


class TwoStages(nn.Module):
    """Semantic and instance slots of single frames.

    Args:
        width: J, of tokens and slots.
        kinds: S Gaussians, a semantic slot each.
        instances: P samples of each.
        iterations: R of both stages; the gradient flows through the last alone, and straight to the Gaussians.
        area: a patch is of a kind where the semantic map is above this, or where no other kind's is larger.
    """

    def __init__(self, width: int, kinds: int, instances: int, iterations: int, area: float):
        super().__init__()
        self.kinds, self.instances, self.iterations, self.area = kinds, instances, iterations, area
        self.means = nn.Parameter(torch.randn(kinds, width) * width**-0.5)
        self.log_sigmas = nn.Parameter(torch.full((kinds, width), 0.5 * width**-0.5).log())
        self.norm_tokens, self.norm_slots, self.norm_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.to_queries, self.to_keys, self.to_values = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def semantic(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [b, N, J] -> slots [b, S, J] and maps [b, S, N], which sum to 1 over S."""
        start = self.means.expand(len(tokens), 1, -1, -1)
        slots, maps = self._refined(start, tokens, None)
        return slots[:, 0], maps[:, 0]

    def instance(self, tokens: Tensor, semantic: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Instances of each kind.

        Args:
            tokens: [b, N, J].
            semantic: maps [b, S, N].
            noise: [S, P, J], standard normal; the same in all frames, so that an instance keeps its number.

        Returns:
            slots [b, S, P, J], and maps [b, S, P, N] that sum to 1 over P.
        """
        start = self.means[:, None] + self.log_sigmas.exp()[:, None] * noise  # [S, P, J]
        inside = semantic.detach() >= semantic.detach().amax(dim=1, keepdim=True).clamp(max=self.area)
        return self._refined(start.expand(len(tokens), -1, -1, -1), tokens, inside.to(tokens.dtype))

    def _refined(self, start: Tensor, tokens: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor]:
        """Groups of slots [b, G, K, J] that compete inside of their group, for patches `inside` [b, G, N]."""
        tokens = self.norm_tokens(tokens)
        slots = start.detach()
        with torch.no_grad():
            for _ in range(self.iterations - 1):
                slots, _ = self._step(slots, tokens, inside)
        return self._step(slots + start - start.detach(), tokens, inside)

    def _step(self, slots: Tensor, tokens: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor]:
        """All groups side by side, and slots go through the weights of keys and values in place of the tokens: the
        same sums in another order, with less work where there are more tokens than slots.
        """
        queries = self.to_queries(self.norm_slots(slots)) * slots.shape[-1] ** -0.5
        logits = (queries.flatten(1, 2) @ self.to_keys.weight) @ tokens.transpose(1, 2)  # [b, G K, N]
        maps = logits.unflatten(1, slots.shape[1:3]).softmax(dim=2)  # [b, G, K, N]
        weights = maps if inside is None else maps * inside[:, :, None]
        shares = weights / (weights.sum(dim=3, keepdim=True) + TINY)
        slots = slots + self.to_values(shares.flatten(1, 2) @ tokens).view_as(slots)
        return slots + self.mlp(self.norm_mlp(slots)), maps


def in_kind(instances: Tensor, semantic: Tensor) -> Tensor:
    """How much each instance is of its kind: cosine of slots [b, S, P, J] with semantic slots [b, S, J], [b, S, P]."""
    return cosine_similarity(instances, semantic[:, :, None], dim=3)
