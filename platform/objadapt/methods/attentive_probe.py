"""Attentive probe: one query attends to all frozen tokens of a clip.

Source: today's usual yardstick for frozen video encoders, e.g. V-JEPA (Bardes et al., arXiv 2404.08471, section 4).
Here: one pre-norm block (cross-attention of a learned query, then an MLP of 4x), as there. A learned embedding of the
frame's place in time, zero at the start, is added: the tokens of an image model do not know when they are.
Expected: above `linear_probe` where labels suffice; no row of the paper. 12 J^2 parameters and the heads.
"""

import torch
from torch import Tensor, nn

from ..config_peers import AttentiveProbe
from .classifier import Classifier, check_heads
from .cross_attention import CrossAttentionBlock


class AttentiveProbeMethod(Classifier):
    """A query, a block of cross-attention over T x (N + 1) tokens, and linear heads.

    Args:
        heads: classes of each head.
        joint_width: J, width of the tokens.
        frames: T.

    Raises:
        InputError: the attention heads do not divide J.
    """

    def __init__(self, settings: AttentiveProbe, heads: dict[str, int], joint_width: int, frames: int):
        check_heads(settings.heads, joint_width)
        super().__init__(heads, joint_width, settings.dropout)
        self.queries = nn.Parameter(torch.randn(1, 1, joint_width) * 0.02)
        self.time = nn.Parameter(torch.zeros(frames, 1, joint_width))
        self.block = CrossAttentionBlock(joint_width, settings.heads, nn.GELU(), 0.0)
        self.norm = nn.LayerNorm(joint_width)

    def video(self, batch: dict[str, Tensor]) -> Tensor:
        """What the query finds in `batch["patches"]` [B, T, N, J] and `batch["cls"]` [B, T, J]."""
        tokens = torch.cat([batch["cls"][:, :, None], batch["patches"]], dim=2).to(self.dtype) + self.time
        found = self.block(self.queries.expand(len(tokens), -1, -1), tokens.flatten(1, 2))  # [B, 1, J]
        return self.norm(found[:, 0])
