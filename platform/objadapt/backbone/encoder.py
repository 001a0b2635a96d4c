"""The frozen image encoder phi (Eq. 1): frames in, patch tokens and cls token in the joint space out."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from ..errors import InputError
from .block_parts import BlockParts
from .weights import hash_tensors

HALF = ("float16", "bfloat16")

log = logging.getLogger(__name__)


class Encoder(nn.Module, ABC):
    """A pretrained ViT that never learns: its parameters ask for no gradient, and it is always in eval mode.

    It comes in three parts, for methods that reach inside: `embed`, `blocks`, `finish`. `forward` runs them one after
    the other. Gradients flow through all three to whatever a method inserts. What it inserts belongs to the method, not
    to `model`, whose parameters are brought to the backbone's precision. `block_parts` takes each block apart.

    Subclasses say in `embed_images`, `blocks`, `block_parts`, `final_norm` and `finish` how their library's ViT does
    it.

    Attributes:
        name: model name, as configured.
        joint_width: J, width of the patch and cls tokens handed out.
        image_size: S, side in pixels of the native square input.
        patch_size: P, side in pixels of a patch.
        prefix: tokens before the patches; the first is cls.
        mean, std: of RGB in [0, 1], one number a channel.
        precision: as configured; `compute_dtype` turns it into a dtype for the encoder's device.
        weights_hash: 12 hex digits of the float32 weights, whatever file and `precision` they came in; `build_backbone`
            makes it one of a tag's normalisation, too (features_hash.py).
    """

    prefix = 1
    passes_gradients = False  # float16 would lose small ones: then it computes in float32 where bfloat16 is lacking

    def __init__(  # noqa: PLR0913 -- its attributes, each given by name
        self,
        model: nn.Module,
        *,
        name: str,
        joint_width: int,
        image_size: int,
        patch_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        precision: str,
    ):
        super().__init__()
        self.name = name
        self.joint_width = joint_width
        self.image_size = image_size
        self.patch_size = patch_size
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.precision = precision
        self.weights_hash = hash_tensors(model.state_dict())  # before rounding to the precision
        self.model = model.requires_grad_(False)  # cast at the first forward, since the dtype depends on the device
        self.eval()

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in eval mode, also as part of a model that is set to training."""
        return super().train(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode normalised frames.

        Args:
            images: as for `embed`.

        Returns:
            patches [B, N, J], row by row, and cls [B, J], in the precision of `compute_dtype`. Both went through the
            frozen final norm and, where the model has one, the projection to the joint space.
        """
        tokens = self.embed(images)
        for block in self.blocks:
            tokens = block(tokens)
        return self.finish(tokens)

    def embed(self, images: Tensor, added: Tensor | None = None) -> Tensor:
        """Normalised frames -> the tokens that enter the first block, [B, prefix + N, D],
        in the precision of `compute_dtype`.

        Args:
            images: float [B, 3, H, W], H and W multiples of the patch size. At other sizes than the native
                one the position embeddings are interpolated (bicubic); at the native one they are untouched.
            added: an embedding of the method, [B, 1 or prefix + N, D], added where the position embeddings are.

        Raises:
            InputError: H or W is not a multiple of the patch size.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be [B, 3, H, W], not {list(images.shape)}")
        height, width = images.shape[-2:]
        if not height or not width or height % self.patch_size or width % self.patch_size:
            raise InputError(
                f"transform.size: frames of {height}x{width} do not divide into the {self.patch_size}x{self.patch_size}"
                f" patches of {self.name}; use multiples of {self.patch_size} (native: {self.image_size})"
            )
        weight = next(self.model.parameters())
        dtype = compute_dtype(self.precision, weight.device)
        if dtype == torch.float16 and self.passes_gradients:
            dtype = torch.float32
        if weight.dtype != dtype:
            with torch.inference_mode(False):  # parameters made in inference mode could not be used outside
                self.model.to(dtype)
        return self.embed_images(images.to(dtype), None if added is None else added.to(dtype))

    @abstractmethod
    def embed_images(self, images: Tensor, added: Tensor | None) -> Tensor:
        """As `embed`, of images in the model's dtype."""

    @property
    @abstractmethod
    def blocks(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """The transformer blocks in order, each [B, prefix + N, D] -> the same.

        The first of the prefix is the cls token.
        """

    @property
    @abstractmethod
    def block_parts(self) -> list[BlockParts]:
        """The same blocks taken apart.

        Raises:
            InputError: they are of another kind than a plain pre-norm block.
        """

    @property
    @abstractmethod
    def final_norm(self) -> nn.Module:
        """The norm behind the last block, [..., D] -> the same; `finish` has it."""

    @property
    def token_width(self) -> int:
        """D, width of the tokens between the blocks."""
        return next(self.final_norm.parameters()).shape[0]

    @abstractmethod
    def finish(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens behind the last block -> (patches [B, N, J], cls [B, J]), normed and projected."""


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype in which a backbone of a configured precision computes on a device.

    "auto" is bfloat16 on GPUs, and float16 on GPUs that only imitate bfloat16. CPUs always compute in float32, since
    half precision takes several times as long there.
    """
    if device.type == "cpu":
        if precision in HALF:
            say_float32(precision)
        return torch.float32
    if precision == "auto":
        native = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return getattr(torch, precision)


def refuse_blocks(name: str, blocks: Sequence[nn.Module], plain: type) -> None:
    """InputError where a ViT has blocks of another kind than its library's plain one."""
    if other := {type(block).__name__ for block in blocks if type(block) is not plain}:
        raise InputError(
            f"backbone.name: the blocks of {name} are {', '.join(sorted(other))}; methods that insert something into"
            f" them need plain ones, such as ViT-B-16 has"
        )


@lru_cache  # once a process
def say_float32(precision: str) -> None:
    """Warn that CPUs compute in float32, whatever half precision is configured."""
    log.warning(
        "backbone.precision: %s is slower than float32 on CPUs, where the backbone computes in float32", precision
    )
