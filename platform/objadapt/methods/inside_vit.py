"""Base of the methods that work inside a ViT: frames in, tokens block by block, linear heads behind."""

from torch import Tensor

from ..backbone.block_parts import in_precision
from ..backbone.encoder import Encoder
from ..data.transforms import normalise
from .classifier import Classifier


class InsideViT(Classifier):
    """Holds the encoder, frozen, and brings frames to the tokens before its first block.

    Tokens are float32 between the blocks; each frozen part computes in the backbone's precision.

    Args:
        encoder: which the method reaches into; a checkpoint does not hold what is frozen of it.
        heads: classes of each head.
        dropout: before the heads.
    """

    inputs = "frames"

    def __init__(self, encoder: Encoder, heads: dict[str, int], dropout: float):
        super().__init__(heads, encoder.token_width, dropout)
        self.encoder = encoder
        encoder.passes_gradients = True

    def embed(self, batch: dict[str, Tensor], added: Tensor | None = None) -> Tensor:
        """Frames uint8 [B, T, S, S, 3] -> float32 tokens [B, T, prefix + N, D]; cls is the first of the prefix.

        Args:
            added: float [B * T, 1 or prefix + N, D], as of `Encoder.embed`.
        """
        frames = batch["frames"]
        images = normalise(frames.flatten(0, 1), self.encoder.mean, self.encoder.std)
        return self.encoder.embed(images, added).to(self.dtype).unflatten(0, frames.shape[:2])

    def final_norm(self, tokens: Tensor) -> Tensor:
        """The encoder's own norm behind its last block, [..., D] -> the same."""
        return in_precision(self.encoder.final_norm, self.encoder.model)(tokens)
