"""EVL: a small decoder reads the last blocks of a frozen ViT, which sees no gradient.

Source: Lin et al., "Frozen CLIP Models are Efficient Video Learners", ECCV 2022, arXiv 2208.03550.
Here: the decoder reads the outputs of the last blocks. To each are added a depthwise convolution over time, an
embedding of time, and what a frame's queries find among the keys of the frame before and of the one after. The latter
is a sum of learned vectors, one for each distance between two patches, weighted by the attention. A learned query
passes one decoder layer for each block.
Differs: the queries and keys of the blocks that are read are computed a second time (5 % of the ViT's work). The
paper's recipe: AdamW, lr 4e-4, weight decay 0.05.
Expected: 33 M parameters on ViT-B/16. The tables kinetics400 and something_something_v2 have the published accuracies
of ViT-L/14, epic_kitchens_100 that of ViT-B/16.
"""

import torch
from torch import Tensor, nn

from ..backbone.encoder import Encoder
from ..config_peers import EVL
from ..errors import InputError
from .cross_attention import CrossAttentionBlock
from .inside_vit import InsideViT


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), as in CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        """[...] -> [...]."""
        return x * torch.sigmoid(1.702 * x)


class NeighbourAttention(nn.Module):
    """Where a patch was in the frame before and will be in the next one, as vectors; zero at the start.

    Args:
        grid: side of the grid of patches.
        width: D.
    """

    def __init__(self, grid: int, width: int):
        super().__init__()
        self.before, self.after = (nn.Parameter(torch.zeros((2 * grid - 1) ** 2, width)) for _ in range(2))
        row, column = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
        place = torch.stack([row.flatten(), column.flatten()])  # [2, N]
        apart = place[:, :, None] - place[:, None] + grid - 1  # [2, N, N], of query and key, 0 or above
        self.apart: Tensor  # int64 [N, N], which of the vectors
        self.register_buffer("apart", apart[0] * (2 * grid - 1) + apart[1], persistent=False)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Of all patches [B, T, N, h, d] -> [B, T, N, D]."""
        none = queries.new_zeros(len(queries), 1, queries.shape[2], self.before.shape[1])
        earlier = self._half(queries[:, 1:], keys[:, :-1], self.before)
        later = self._half(queries[:, :-1], keys[:, 1:], self.after)
        return torch.cat([none, earlier], dim=1) + torch.cat([later, none], dim=1)

    def _half(self, queries: Tensor, keys: Tensor, weights: Tensor) -> Tensor:
        scores = torch.einsum("btqhd,btkhd->bthqk", queries * queries.shape[-1] ** -0.5, keys)
        attention = scores.softmax(dim=-1).mean(dim=2)  # [B, T - 1, N, N]
        return torch.einsum("btqk,qkc->btqc", attention, weights[self.apart])


class EVLMethod(InsideViT):
    """A decoder with as many layers as it reads blocks of the ViT.

    Args:
        encoder: the ViT, whose features ask for no gradient.
        heads: classes of each head.
        frames: T.
        crop: S, side of the frames in pixels.

    Raises:
        InputError: the ViT has fewer blocks than the decoder layers.
    """

    def __init__(self, settings: EVL, encoder: Encoder, heads: dict[str, int], frames: int, crop: int):
        super().__init__(encoder, heads, settings.dropout)
        encoder.passes_gradients = False
        width, layers = encoder.token_width, settings.layers
        if layers > len(encoder.blocks):
            raise InputError(f"method.layers: {layers} is more than the {len(encoder.blocks)} blocks of {encoder.name}")
        attention_heads = encoder.block_parts[0].heads
        self.queries = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.time = nn.ParameterList(torch.zeros(frames, 1, width) for _ in range(layers))
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1, groups=width) for _ in range(layers))
        self.neighbours = nn.ModuleList(NeighbourAttention(crop // encoder.patch_size, width) for _ in range(layers))
        self.decoder = nn.ModuleList(
            CrossAttentionBlock(width, attention_heads, QuickGELU(), settings.mlp_dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def video(self, batch: dict[str, Tensor]) -> Tensor:
        """What the query finds in the last blocks."""
        found = self.queries.expand(len(batch["frames"]), -1, -1)  # [B, 1, D]
        for layer, (tokens, queries, keys) in enumerate(self._last_blocks(batch)):
            tokens = tokens + self._over_time(tokens, self.convolutions[layer]) + self.time[layer]
            before, patches = tokens.split([self.encoder.prefix, queries.shape[2]], dim=2)
            patches = patches + self.neighbours[layer](queries, keys)
            found = self.decoder[layer](found, torch.cat([before, patches], dim=2).flatten(1, 2))
        return self.norm(found[:, 0])

    @torch.no_grad()
    def _last_blocks(self, batch: dict[str, Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Of each block that is read: tokens [B, T, n, D], queries and keys of the patches [B, T, N, h, d]."""
        tokens, read = self.embed(batch), []
        first = len(self.encoder.blocks) - len(self.decoder)
        for number, block in enumerate(self.encoder.block_parts):
            flat = tokens.flatten(0, 1)
            behind = block.forward(flat).view_as(tokens)
            if number >= first:
                pair = block.queries_and_keys(block.norm_1(flat))
                queries, keys = (part[:, self.encoder.prefix :].unflatten(0, tokens.shape[:2]) for part in pair)
                read.append((behind, queries, keys))
            tokens = behind
        return read

    @staticmethod
    def _over_time(tokens: Tensor, convolution: nn.Module) -> Tensor:
        clips, _, number, _ = tokens.shape
        lines = tokens.permute(0, 2, 3, 1).flatten(0, 1)  # [B * n, D, T]
        return convolution(lines).view(clips, number, lines.shape[1], -1).permute(0, 3, 1, 2)
