"""ST-Adapter: a bottleneck with a depthwise convolution over time, inserted into each block of a frozen ViT.

Source: Pan et al., "ST-Adapter: Parameter-Efficient Image-to-Video Transfer Learning", NeurIPS 2022, arXiv 2206.13559.
Here: its two placements. `mlp` has an adapter before each block's MLP (Kinetics-400), `both` one before the attention,
too (Something-Something-v2). No activation, no norm, cls is passed by; the head reads the final norm of cls averaged
over time.
The last adapter learns nothing, as published: behind it no attention brings patches to cls, which the head reads.
Differs: nothing that is known. The paper's recipe: AdamW, lr 1e-3 for 256 clips, weight decay 1e-2.
Expected: 7.1 M parameters (`mlp`) or 14.2 M (`both`) on ViT-B/16; published accuracies in the tables kinetics400 and
something_something_v2.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backbone.encoder import Encoder
from ..config_peers import STAdapter
from .inside_vit import InsideViT


class TemporalBottleneck(nn.Module):
    """Up(DWConv(Down(x))), a convolution of 3 frames at each patch by itself; zero at the start.

    Args:
        tokens: D, width of the tokens.
        width: of the bottleneck.
    """

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.down, self.up = nn.Linear(tokens, width), nn.Linear(width, tokens)
        self.kernel = nn.Parameter(torch.zeros(3, width))  # of the frame before, of this one, of the next
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.bias)

    def forward(self, patches: Tensor) -> Tensor:
        """[B, T, N, D] -> what is to be added to it."""
        low = self.down(patches)  # [B, T, N, width]
        over_time = low.permute(0, 2, 3, 1).flatten(0, 1)  # [B N, width, T]
        width = len(self.bias)
        over_time = functional.conv1d(over_time, self.kernel.T[:, None], self.bias, padding=1, groups=width)
        return self.up(over_time.unflatten(0, (len(low), -1)).permute(0, 3, 1, 2))


class STAdapterMethod(InsideViT):
    """A frozen ViT with temporal bottlenecks.

    Args:
        encoder: the ViT.
        heads: classes of each head.
    """

    def __init__(self, settings: STAdapter, encoder: Encoder, heads: dict[str, int]):
        super().__init__(encoder, heads, settings.dropout)
        width, blocks = settings.width or encoder.token_width // 2, len(encoder.blocks)

        def adapters(number: int) -> nn.ModuleList:
            return nn.ModuleList(TemporalBottleneck(encoder.token_width, width) for _ in range(number))

        self.before_attention = adapters(blocks if settings.placement == "both" else 0)
        self.before_mlp = adapters(blocks)

    @property
    def leaves_unused(self) -> bool:
        """The last adapter gets no gradient."""
        return True

    def video(self, batch: dict[str, Tensor]) -> Tensor:
        """Final norm of the mean over time of cls."""
        tokens = self.embed(batch)  # [B, T, prefix + N, D]
        for number, block in enumerate(self.encoder.block_parts):
            if self.before_attention:
                tokens = self._adapt(tokens, self.before_attention[number])
            flat = tokens.flatten(0, 1)  # [B * T, prefix + N, D]
            tokens = (flat + block.attend(block.norm_1(flat))).view_as(tokens)
            tokens = self._adapt(tokens, self.before_mlp[number])
            tokens = tokens + block.mlp(block.norm_2(tokens))
        return self.final_norm(tokens[:, :, 0].mean(dim=1))

    def _adapt(self, tokens: Tensor, adapter: nn.Module) -> Tensor:
        before, patches = tokens.split([self.encoder.prefix, tokens.shape[2] - self.encoder.prefix], dim=2)
        return torch.cat([before, patches + adapter(patches)], dim=2)
