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
        iterations: R, refinement steps; k and v are computed once.
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
        k, v = self.to_k(patches), self.to_v(patches)  # [F, N, d]
        queries = self.queries.expand(len(patches), -1, -1)  # [F, K, d]
        slots = queries
        for iteration in range(self.iterations):
            if self.implicit and iteration == self.iterations - 1:
                slots = slots.detach() + queries - queries.detach()  # value of the slots, gradient of the queries
            slots, attention = self.refine(slots, k, v)
        return slots, attention

    def tokens(self, patches: Tensor) -> Tensor:
        """Patches [F, N, J] -> what is grouped, [F, N, J]: normalised, and with `centred` without the frame's mean."""
        normed = self.norm_input(patches)
        return normed - normed.mean(dim=1, keepdim=True) if self.centred else normed

    def refine(self, slots: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """One iteration: slots [F, K, d], k and v [F, N, d] -> new slots [F, K, d], A [F, K, N]."""
        q = self.to_q(self.norm_slots(slots)) * slots.shape[-1] ** -0.5
        attention = (q @ k.transpose(1, 2)).softmax(dim=1)  # [F, K, N], the slots compete for each patch
        weights = attention / (attention.sum(dim=2, keepdim=True) + 1e-8)  # each slot averages its patches
        updates = weights @ v  # [F, K, d]
        slots = self.gru(updates.flatten(0, 1), slots.flatten(0, 1)).view_as(updates)
        if self.mlp is not None:
            slots = slots + self.mlp(slots)
        return slots, attention
