"""The keys of a ViT's last attention in the place of its patch tokens: DINO's tell objects apart best."""

import hashlib
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn.functional import linear

from .block_parts import BlockParts
from .encoder import Encoder


class LastKeys(Encoder):
    """An encoder whose patches and cls are keys of the last block, [B, N, D] and [B, D], all heads side by side.

    The last block itself is not computed, nor the final norm. What reaches inside by `blocks` and `finish` finds the
    encoder as it is.

    Args:
        inner: any encoder of plain pre-norm blocks.

    Raises:
        InputError: its blocks are of another kind.
    """

    def __init__(self, inner: Encoder):
        nn.Module.__init__(self)
        self.inner, self.prefix = inner, inner.prefix
        self.last = inner.block_parts[-1]
        for name in ("name", "image_size", "patch_size", "mean", "std"):
            setattr(self, name, getattr(inner, name))
        self.joint_width = inner.token_width
        # other features of the same weights: caches and checkpoints of one kind are never taken for those of the other
        self.weights_hash = hashlib.sha256(f"{inner.weights_hash} keys".encode()).hexdigest()[:12]
        self.eval()

    @property
    def precision(self) -> str:
        """That of the encoder inside."""
        return self.inner.precision

    @precision.setter
    def precision(self, value: str) -> None:
        self.inner.precision = value

    @property
    def model(self) -> nn.Module:
        """That of the encoder inside."""
        return self.inner.model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised frames as for `embed` -> keys of the patches and of cls."""
        tokens = self.embed(images)
        for block in self.inner.blocks[:-1]:
            tokens = block(tokens)
        weight, bias = self.last.projections()
        width = tokens.shape[-1]
        own = slice(width, 2 * width)  # queries, keys, values, one below the other
        keys = linear(self.last.norm_1(tokens).to(weight.dtype), weight[own], None if bias is None else bias[own])
        return keys[:, self.prefix :], keys[:, 0]

    def embed(self, images: Tensor, added: Tensor | None = None) -> Tensor:
        """As the encoder inside."""
        return self.inner.embed(images, added)

    def embed_images(self, images: Tensor, added: Tensor | None) -> Tensor:
        """As the encoder inside."""
        return self.inner.embed_images(images, added)

    @property
    def blocks(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """Those of the encoder inside."""
        return self.inner.blocks

    @property
    def block_parts(self) -> list[BlockParts]:
        """Those of the encoder inside."""
        return self.inner.block_parts

    @property
    def final_norm(self) -> nn.Module:
        """That of the encoder inside."""
        return self.inner.final_norm

    def finish(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """As the encoder inside."""
        return self.inner.finish(tokens)
