"""The frozen image encoder phi (Eq. 1): frames in, patch tokens and cls token in the joint space out."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..errors import InputError
from .weights import hash_tensors


class Encoder(nn.Module, ABC):
    """A pretrained ViT that never learns: no gradient, always in eval mode.

    Subclasses say in `tokens` how their library's ViT yields its tokens.

    Attributes:
        name: model name, as configured.
        joint_width: J, width of the patch and cls tokens handed out.
        image_size: S, side in pixels of the native square input.
        patch_size: P, side in pixels of a patch.
        mean, std: what RGB in [0, 1] is normalised with, one number a channel.
        weights_hash: 12 hex digits of the float32 weights, whatever file and `precision` they came in.
    """

    def __init__(
        self, model: nn.Module, *, name: str, joint_width: int, image_size: int, patch_size: int,
        mean: tuple[float, ...], std: tuple[float, ...], precision: str,
    ):  # fmt: skip
        super().__init__()
        self.name = name
        self.joint_width = joint_width
        self.image_size = image_size
        self.patch_size = patch_size
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.weights_hash = hash_tensors(model.state_dict())  # before rounding to the precision
        self.model = model.to(getattr(torch, precision)).requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in eval mode, also as part of a model that is set to training."""
        return super().train(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode normalised frames.

        Args:
            images: float [B, 3, H, W], H and W multiples of the patch size. At other sizes than the native
                one the position embeddings are interpolated (bicubic); at the native one they are untouched.

        Returns:
            patches [B, N, J], row by row, and cls [B, J], in the configured precision. Both went through the
            frozen final norm and, where the model has one, the projection to the joint space.

        Raises:
            InputError: H or W is not a multiple of the patch size.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be [B, 3, H, W], not {list(images.shape)}")
        height, width = images.shape[-2:]
        if not height or not width or height % self.patch_size or width % self.patch_size:
            raise InputError(
                f"transform.size: frames of {height}x{width} do not divide into the {self.patch_size}x{self.patch_size} patches "
                f"of {self.name}; use multiples of {self.patch_size} (native: {self.image_size})"
            )
        weight = next(self.model.parameters())
        return self.tokens(images.to(weight.dtype))

    @abstractmethod
    def tokens(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images in the model's dtype -> (patches [B, N, J], cls [B, J])."""
