"""AIM: the frozen attention of an image model is used along time, too, and small adapters make it fit.

Source: Yang et al., "AIM: Adapting Image Models for Efficient Video Action Recognition", ICLR 2023, arXiv 2302.03024.
Here: in each block, attention along time behind an adapter without a skip; attention in space behind an adapter with
one; an adapter beside the MLP, scaled by 0.5. An embedding of time, zero at the start, before the first norm. The final
norm learns. The head reads the mean over time of cls behind it.
Differs: stochastic depth leaves out a clip's branch; the published code leaves out token positions. Its rate grows from
0 in the first block to `drop_path` in the last. The default is 0; published is 0.2. The second adapter that the authors
have on Something-Something-v2, before the attention along time (14 M parameters in all), is not here. Register tokens
of newer ViTs attend along time as cls does.
The paper's recipe: AdamW, lr 3e-4, weight decay 0.05.
Expected: 11.0 M parameters on ViT-B/16 with 400 classes; published accuracies in the tables kinetics400 and
something_something_v2.
"""

import copy

import torch
from torch import Tensor, nn
from torchvision.ops import stochastic_depth

from ..backbone.encoder import Encoder
from ..config_peers import AIM
from .inside_vit import InsideViT


class Adapter(nn.Module):
    """Up(GELU(Down(x))), with x beside it where `skip`; the way up is zero at the start."""

    def __init__(self, tokens: int, width: int, skip: bool):
        super().__init__()
        self.down, self.up, self.skip = nn.Linear(tokens, width), nn.Linear(width, tokens), skip
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        added = self.up(nn.functional.gelu(self.down(tokens)))
        return tokens + added if self.skip else added


class AIMMethod(InsideViT):
    """A frozen ViT whose attention is adapted in space, in time and jointly.

    Args:
        encoder: the ViT.
        heads: classes of each head.
        frames: T.
    """

    def __init__(self, settings: AIM, encoder: Encoder, heads: dict[str, int], frames: int):
        super().__init__(encoder, heads, settings.dropout)
        tokens, blocks = encoder.token_width, len(encoder.blocks)
        width = settings.width or tokens // 4

        def adapters(skip: bool) -> nn.ModuleList:
            return nn.ModuleList(Adapter(tokens, width, skip) for _ in range(blocks))

        self.temporal, self.spatial, self.joint = adapters(False), adapters(True), adapters(False)
        self.scale = settings.scale
        self.rates = torch.linspace(0, settings.drop_path, blocks).tolist()
        self.time = nn.Parameter(torch.zeros(frames, 1, tokens))
        self.norm = copy.deepcopy(encoder.final_norm).float().requires_grad_(True)

    def video(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean over time of the normed cls."""
        clips, frames = batch["frames"].shape[:2]
        tokens = self.embed(batch, self.time.repeat(clips, 1, 1))  # [B, T, n, D]
        for number, block in enumerate(self.encoder.block_parts):
            in_time = tokens.transpose(1, 2).flatten(0, 1)  # [B * n, T, D]
            in_time = self.temporal[number](block.attend(block.norm_1(in_time)))
            tokens = tokens + self._drop(in_time.unflatten(0, (clips, -1)).transpose(1, 2), number)
            flat = tokens.flatten(0, 1)  # [B * T, n, D]
            flat = flat + self.spatial[number](block.attend(block.norm_1(flat)))
            normed = block.norm_2(flat)
            joint = self.scale * self.joint[number](normed)
            tokens = (flat + block.mlp(normed)).view_as(tokens) + self._drop(joint.view_as(tokens), number)
        return self.norm(tokens[:, :, 0]).mean(dim=1)

    def _drop(self, branch: Tensor, number: int) -> Tensor:
        """Stochastic depth: a branch of some clips is left out in training, the more often the deeper the block."""
        return stochastic_depth(branch, self.rates[number], "row", self.training)
