"""Temporal transformer: a vector a frame, and a small transformer over time.

Source: the plain way from an image model to video, as in ActionCLIP (Wang et al., arXiv 2109.08472, "Transf").
Here: a frame is the mean of its patch tokens; learned places in time; pre-norm layers; the mean over time.
Expected: knows the order of frames, but not which object changes. Per layer about 12 J^2 parameters.
"""

import torch
from torch import Tensor, nn

from ..config_peers import TemporalTransformer
from .classifier import Classifier, check_heads


class TemporalTransformerMethod(Classifier):
    """Mean patch of each frame -> transformer over T -> mean -> linear heads.

    Args:
        heads: classes of each head.
        joint_width: J.
        frames: T.

    Raises:
        InputError: the attention heads do not divide J.
    """

    def __init__(self, settings: TemporalTransformer, heads: dict[str, int], joint_width: int, frames: int):
        check_heads(settings.heads, joint_width)
        super().__init__(heads, joint_width, settings.dropout)
        self.time = nn.Parameter(torch.randn(frames, joint_width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            joint_width, settings.heads, 4 * joint_width, settings.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, settings.layers, norm=nn.LayerNorm(joint_width), enable_nested_tensor=False
        )

    def video(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean over time of what the layers make of `batch["patches"]` [B, T, N, J]."""
        frames = batch["patches"].to(self.dtype).mean(dim=2)  # [B, T, J]
        return self.layers(frames + self.time).mean(dim=1)
