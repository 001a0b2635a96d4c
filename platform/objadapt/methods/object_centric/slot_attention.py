"""Slot attention: each frame's patch tokens compete for K object slots (section 3.1, Eq. 2, 3).

The slots start at learnable queries. Only the last iteration is differentiated through (implicit slot
attention); a straight-through term hands its gradient to the queries directly (bi-level optimisation).
"""

import torch
from torch import Tensor, nn

from ..method import Grouping


class SlotAttention(Grouping):
    """K learnable queries -> K object slots and their soft masks, for every frame on its own.

    Args:
        num_slots: K.
        input_width: J, width of the patch tokens.
        width: d, width of the slots.
        iterations: R, refinement steps.
        slot_mlp: add a residual MLP d -> 2d -> d after each GRU update.
        implicit: detach the slots before the last iteration, so that memory does not grow with R.
        centred: group each frame's tokens by how they differ from their mean, so that what the whole frame has in
            common, such as its scene, tells no slots apart.
    """

    def __init__(  # noqa: PLR0913 -- the settings of the section
        self,
        num_slots: int,
        input_width: int,
        width: int,
        iterations: int,
        slot_mlp: bool = False,
        implicit: bool = True,
        centred: bool = False,
    ):
        super().__init__()
        self.num_slots, self.iterations, self.implicit, self.centred = num_slots, iterations, implicit, centred
        self.queries = nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_slots, width)))
        self.norm_input = nn.LayerNorm(input_width)
        self.norm_input.bias.requires_grad_(not centred)  # `centred` takes it away again
        self.norm_slots = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(input_width, width)
        self.to_v = nn.Linear(input_width, width)
        self.gru = nn.GRUCell(width, width)
        self.mlp = None
        if slot_mlp:
            self.mlp = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
            )

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Group the patches of each frame.

        Args:
            patches: [F, N, J], F frames of any clips.

        Returns:
            slots [F, K, d] and attention [F, K, N]: A of the last iteration, which sums to 1 over the slots.
        """
        patches = self.tokens(patches)
        keys, values = self._behind_norm(self.to_k), self._behind_norm(self.to_v)
        queries = self.queries.expand(len(patches), -1, -1)  # [F, K, d]
        slots = queries
        for iteration in range(self.iterations):
            if self.implicit and iteration == self.iterations - 1:
                slots = slots.detach() + queries - queries.detach()  # value of the slots, gradient of the queries
            slots, attention = self.refine(slots, patches, keys, values)
        return slots, attention

    def tokens(self, patches: Tensor) -> Tensor:
        """Patches [F, N, J] -> what is grouped, [F, N, J]: normalised, and with `centred` without the frame's mean.

        Nothing here is learned, so no gradient is computed for N tokens: see `_behind_norm`.
        """
        normed = nn.functional.layer_norm(patches, patches.shape[-1:], eps=self.norm_input.eps)
        return normed - normed.mean(dim=1, keepdim=True) if self.centred else normed

    def _behind_norm(self, linear: nn.Linear) -> tuple[Tensor, Tensor]:
        """Weight [d, J] and bias [d] of LayerNorm's gain and shift, then `linear`."""
        weight, bias = linear.weight * self.norm_input.weight, linear.bias
        return weight, bias if self.centred else bias + linear.weight @ self.norm_input.bias

    def refine(
        self, slots: Tensor, patches: Tensor, keys: tuple[Tensor, Tensor], values: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """One iteration: slots [F, K, d], `tokens` [F, N, J] -> new slots [F, K, d], A [F, K, N].

        The paper's sums in another order: q goes through the weights of k, and a slot averages its patches before they
        go through those of v. K slots are projected instead of N patches, which are some thirty times as many.
        """
        (to_k, k_bias), (to_v, v_bias) = keys, values
        q = self.to_q(self.norm_slots(slots)) * slots.shape[-1] ** -0.5
        logits = (q @ to_k) @ patches.transpose(1, 2) + (q @ k_bias)[..., None]  # q k^T
        attention = logits.softmax(dim=1)  # [F, K, N], the slots compete for each patch
        weights = attention / (attention.sum(dim=2, keepdim=True) + 1e-8)  # each slot averages its patches
        updates = (weights @ patches) @ to_v.T + weights.sum(dim=2, keepdim=True) * v_bias  # weights v, [F, K, d]
        slots = self.gru(updates.flatten(0, 1), slots.flatten(0, 1)).view_as(updates)
        if self.mlp is not None:
            slots = slots + self.mlp(slots)
        return slots, attention
