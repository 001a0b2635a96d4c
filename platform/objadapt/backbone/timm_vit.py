"""timm's plain ViTs as frozen encoders (DeiT, DINO, MAE, ...): no joint space, so J is the model's own width."""

import difflib

import timm
import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from .. import config
from ..errors import InputError
from .block_parts import BlockParts, in_precision
from .encoder import Encoder, refuse_blocks
from .weights import load_exactly, read_weights

_PLAIN = ("vision_transformer", "deit")  # the timm modules that build VisionTransformer itself


class TimmEncoder(Encoder):
    """`timm.models.vision_transformer.VisionTransformer`, tokens after its final norm."""

    @property
    def prefix(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]  # the model's own
        """See `Encoder.prefix`: cls and registers."""
        return self.model.num_prefix_tokens

    def embed_images(self, images: Tensor, added: Tensor | None) -> Tensor:
        """See `Encoder.embed_images`; the three parts together are `VisionTransformer.forward_features`."""
        x = self.model._pos_embed(self.model.patch_embed(images))  # [B, prefix + N, D]
        x = x if added is None else x + added
        return self.model.norm_pre(self.model.patch_drop(x))

    @property
    def blocks(self) -> nn.Sequential:
        """See `Encoder.blocks`."""
        return self.model.blocks

    @property
    def block_parts(self) -> list[BlockParts]:
        """See `Encoder.block_parts`."""
        refuse_blocks(self.name, self.blocks, Block)
        return [_parts(block) for block in self.blocks]  # pyright: ignore[reportArgumentType]  # of that class

    @property
    def final_norm(self) -> nn.Module:
        """See `Encoder.final_norm`."""
        return self.model.norm

    def finish(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `Encoder.finish`; register tokens, which stand between cls and patches, are left out."""
        x = self.model.norm(tokens)  # [B, prefix + N, D]
        return x[:, self.prefix :], x[:, 0]  # [B, N, J], [B, J]


def _parts(block: Block) -> BlockParts:
    attention = block.attn
    return BlockParts(
        in_precision(block.norm1, block),
        in_precision(lambda normed: block.ls1(attention(normed)), block),
        in_precision(block.norm2, block),
        in_precision(lambda normed: block.ls2(block.mlp(normed)), block),
        attention.num_heads,
        lambda: (attention.qkv.weight, attention.qkv.bias),
        attention.proj,
        block.norm1,
    )


def timm_encoder(settings: config.Backbone) -> TimmEncoder:
    """Build the ViT `settings.name` with timm's own weights (`pretrained: default`) or a local file.

    The name may carry timm's tag (`vit_base_patch16_224.dino`). A classifier in the file (`head.*`) is dropped.

    Raises:
        InputError: unknown name, not a plain ViT, no weights, weights that do not fit, failed download.
    """
    names = timm.list_models() + timm.list_pretrained()  # plain names, names with a tag
    if settings.name not in names:
        close = difflib.get_close_matches(settings.name, names, n=4)
        hint = f"; close: {', '.join(close)}" if close else "; see timm.list_models('vit_*')"
        raise InputError(f"backbone.name: {settings.name!r} is no timm model{hint}")

    with torch.device("meta"):
        model = _plain_vit(settings.name, pretrained=False)
    if settings.weights:
        state, _ = read_weights(settings.weights)
        load_exactly(model, state, settings.weights, unused=("head.",))
    else:
        model = _downloaded(settings.name)
    data = timm.data.resolve_model_data_config(model)
    return TimmEncoder(
        model,
        name=settings.name,
        joint_width=model.embed_dim,
        image_size=model.patch_embed.img_size[0],
        patch_size=model.patch_embed.patch_size[0],
        mean=data["mean"],
        std=data["std"],
        precision=settings.precision,
    )


def _plain_vit(name: str, pretrained: bool) -> VisionTransformer:
    """The model without its classifier, able to take other image sizes."""
    problem = None
    if not timm.models.is_model_in_modules(name, _PLAIN):
        problem = "is not a plain ViT"
    else:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
        if type(model) is not VisionTransformer:  # distilled DeiT has a second class token
            problem = f"is a {type(model).__name__}, not a plain ViT"
        elif not model.has_class_token or model.global_pool != "token" or isinstance(model.norm, nn.Identity):
            problem = "does not pool by a class token"
    if problem:
        raise InputError(
            f"backbone.name: {name} {problem}; use a plain ViT with a class token, e.g. deit_tiny_patch16_224"
        )
    return model


def _downloaded(name: str) -> VisionTransformer:
    try:
        return _plain_vit(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"backbone.pretrained: the weights of {name} could not be downloaded ({reason}); "
            f"without a network give the file in backbone.weights"
        ) from None
