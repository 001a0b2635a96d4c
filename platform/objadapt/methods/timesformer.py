"""TimeSformer: attention along time before the attention in space of each block, and the whole network learns.

Source: Bertasius et al., "Is Space-Time Attention All You Need for Video Understanding?", ICML 2021, arXiv 2102.05095
(divided space-time attention).
Here: patches attend along time, then a linear layer that is zero at the start; cls is passed by. In space, cls is given
to each frame and averaged over them behind the attention. Attention along time begins as the block's own norm and
attention; a learned embedding of time is zero at the start.
Differs: `trained: time` leaves the image model as it is and learns what was added; no such row is published. The
paper's recipe: SGD, lr 0.005, momentum 0.9, weight decay 1e-4.
Expected: 121 M parameters on ViT-B/16 with `trained: all`. The tables kinetics400 and something_something_v2 have the
published accuracies of TimeSformer-L, which takes 96 frames.
"""

import copy

import torch
from torch import Tensor, nn

from ..backbone.block_parts import BlockParts
from ..backbone.encoder import Encoder
from ..config_peers import TimeSformer
from .inside_vit import InsideViT


class TimeAttention(nn.Module):
    """Linear(attention(norm(x))) along time; zero at the start.

    Args:
        block: whose first norm and attention are copied.
        width: D.
    """

    def __init__(self, block: BlockParts, width: int):
        super().__init__()
        self.norm = copy.deepcopy(block.first_norm).float().requires_grad_(True)
        self.linear = nn.Linear(width, width)
        self.attention = nn.MultiheadAttention(width, block.heads, batch_first=True)
        weight, bias = block.projections()
        own = self.attention.in_proj_weight, self.attention.in_proj_bias, *self.attention.out_proj.parameters()
        with torch.no_grad():
            for parameter, copied in zip(own, (weight, bias, block.out.weight, block.out.bias), strict=True):
                parameter.zero_() if copied is None else parameter.copy_(copied)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, patches: Tensor) -> Tensor:
        """[B, T, N, D] -> what is to be added to it."""
        lines = self.norm(patches.transpose(1, 2).flatten(0, 1))  # [B * N, T, D]
        seen = self.linear(self.attention(lines, lines, lines, need_weights=False)[0])
        return seen.unflatten(0, (len(patches), -1)).transpose(1, 2)


class TimeSformerMethod(InsideViT):
    """A ViT with divided space-time attention.

    Args:
        encoder: the ViT, which learns, too, with `trained: all`.
        heads: classes of each head.
        frames: T.
    """

    def __init__(self, settings: TimeSformer, encoder: Encoder, heads: dict[str, int], frames: int):
        super().__init__(encoder, heads, settings.dropout)
        self.time = nn.Parameter(torch.zeros(frames, 1, encoder.token_width))
        self.in_time = nn.ModuleList(TimeAttention(block, encoder.token_width) for block in encoder.block_parts)
        if settings.trained == "all":
            encoder.precision = "float32"  # steps are lost in half precision; autocast speeds up what can be
            encoder.model.requires_grad_(True)
            for name, parameter in encoder.model.named_parameters():
                parameter.requires_grad_(name != "proj")  # CLIP's way into the joint space is not used

    def video(self, batch: dict[str, Tensor]) -> Tensor:
        """Final norm of cls, which all frames of a clip share."""
        tokens = self.embed(batch)  # [B, T, prefix + N, D]
        prefix, frames = self.encoder.prefix, tokens.shape[1]
        shared, patches = tokens[:, :, :prefix].mean(dim=1), tokens[:, :, prefix:] + self.time
        for block, in_time in zip(self.encoder.block_parts, self.in_time, strict=True):
            patches = patches + in_time(patches)
            whole = torch.cat([shared[:, None].expand(-1, frames, -1, -1), patches], dim=2)
            flat = whole.flatten(0, 1)
            added = block.attend(block.norm_1(flat)).view_as(whole)
            shared, patches = shared + added[:, :, :prefix].mean(dim=1), patches + added[:, :, prefix:]
            shared, patches = (part + block.mlp(block.norm_2(part)) for part in (shared, patches))
        return self.final_norm(shared[:, 0])
