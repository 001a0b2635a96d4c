"""open_clip's plain ViT image towers as frozen encoders, with names, tags and files checked before use.

QuickGELU: OpenAI, DFN and MetaCLIP weights were trained with a cheaper GELU. With the plain one they load
silently and give slightly wrong features. So the name's activation is compared with that of the weights, as the
pretrained tag, a tag of this model in the file's name (`ViT-B-16-laion2b_s34b_b88k.safetensors`), or
`quick_gelu` in safetensors metadata tells it. For a file without any of these, give its tag in
`backbone.pretrained` beside `backbone.weights`; that also sets the tag's mean and deviation.
"""

import difflib
from pathlib import Path

import open_clip
import torch
from open_clip.transformer import ResidualAttentionBlock
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from .. import config
from ..errors import InputError
from .block_parts import BlockParts, in_precision
from .encoder import Encoder, refuse_blocks
from .weights import load_exactly, read_weights

_SUFFIX = "-quickgelu"


class OpenClipEncoder(Encoder):
    """`open_clip.transformer.VisionTransformer` with all its tokens projected to the joint space."""

    def embed_images(self, images: Tensor, added: Tensor | None) -> Tensor:
        """See `Encoder.embed_images`."""
        visual = self.model
        x = visual.conv1(images)  # [B, D, h, w]
        grid = list(x.shape[-2:])
        # [1, 1 + N, D]
        positions = resample_abs_pos_embed(visual.positional_embedding[None], grid, list(visual.grid_size))
        x = x.flatten(2).transpose(1, 2)  # [B, N, D]
        x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)  # [B, 1 + N, D]
        return visual.ln_pre(x + positions if added is None else x + positions + added)

    @property
    def blocks(self) -> nn.ModuleList:
        """See `Encoder.blocks`."""
        return self.model.transformer.resblocks

    @property
    def block_parts(self) -> list[BlockParts]:
        """See `Encoder.block_parts`."""
        refuse_blocks(self.name, self.blocks, ResidualAttentionBlock)
        return [_parts(block) for block in self.blocks]  # pyright: ignore[reportArgumentType]  # of that class

    @property
    def final_norm(self) -> nn.Module:
        """See `Encoder.final_norm`."""
        return self.model.ln_post

    def finish(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `Encoder.finish`: as in `VisionTransformer.forward`, but `proj` takes the patch tokens too."""
        x = self.model.ln_post(tokens)
        return x[:, 1:] @ self.model.proj, x[:, 0] @ self.model.proj  # [B, N, J], [B, J]


def _parts(block: ResidualAttentionBlock) -> BlockParts:
    attention = block.attn
    return BlockParts(
        in_precision(block.ln_1, block),
        in_precision(lambda normed: block.ls_1(block.attention(normed)), block),
        in_precision(block.ln_2, block),
        in_precision(lambda normed: block.ls_2(block.mlp(normed)), block),
        attention.num_heads,
        lambda: (attention.in_proj_weight, attention.in_proj_bias),
        attention.out_proj,
        block.ln_1,
    )


def open_clip_encoder(settings: config.Backbone) -> OpenClipEncoder:
    """Build the image tower `settings.name` with the weights of its tag or file.

    Raises:
        InputError: unknown name or tag, not a plain ViT, no weights, weights that do not fit, failed download.
    """
    model_config = open_clip.get_model_config(settings.name) if settings.name in open_clip.list_models() else None
    if model_config is None:
        close = difflib.get_close_matches(settings.name, open_clip.list_models(), n=4)
        hint = f"; close: {', '.join(close)}" if close else "; see open_clip.list_models()"
        raise InputError(f"backbone.name: {settings.name!r} is no open_clip model{hint}")
    _refuse_other_towers(settings.name, model_config["vision_cfg"])
    if settings.pretrained:
        tag = _tag_config(settings.name, settings.pretrained)
    else:
        tag = _tag_in_file_name(settings.name, settings.weights)
    if tag:
        _refuse_other_activation(model_config, settings, tag.get("quick_gelu", False))
    path = settings.weights or _download(settings, tag)
    state, metadata = read_weights(path)
    if "quick_gelu" in metadata:
        _refuse_other_activation(model_config, settings, metadata["quick_gelu"].lower() in ("true", "1"))

    with torch.device("meta"):  # no time lost on random values that the weights replace
        visual = image_tower(model_config)
    load_exactly(visual, state, str(path))
    mean, std = tag.get("mean", open_clip.OPENAI_DATASET_MEAN), tag.get("std", open_clip.OPENAI_DATASET_STD)
    return encoder_of(visual, name=settings.name, mean=mean, std=std, precision=settings.precision)


def image_tower(model_config: dict) -> nn.Module:
    """The image tower of an open_clip model config, built beside the smallest possible text tower."""
    clip = open_clip.CLIP(
        embed_dim=model_config["embed_dim"],
        vision_cfg=model_config["vision_cfg"],
        text_cfg={"context_length": 1, "vocab_size": 1, "width": 1, "heads": 1, "layers": 1},
        quick_gelu=model_config.get("quick_gelu", False),
    )
    return clip.visual


def encoder_of(visual: nn.Module, *, name: str, mean: tuple, std: tuple, precision: str) -> OpenClipEncoder:
    """Freeze a loaded `VisionTransformer` into an encoder."""
    return OpenClipEncoder(
        visual,
        name=name,
        joint_width=visual.output_dim,
        image_size=visual.image_size[0],
        patch_size=visual.patch_size[0],
        mean=mean,
        std=std,
        precision=precision,
    )


def _refuse_other_towers(name: str, vision: dict) -> None:
    kinds = {
        "a timm tower (use backbone.library=timm where timm has it as a plain ViT)": "timm_model_name" in vision,
        "a ResNet": not isinstance(vision.get("layers", 12), int),
        "pooled by attention": bool(vision.get("attentional_pool")),
        f"pooled by {vision.get('pool_type')!r}, not by the class token": vision.get("pool_type", "tok") != "tok",
    }
    for kind, holds in kinds.items():
        if holds:
            raise InputError(f"backbone.name: {name} is {kind}; use a plain ViT with a class token, e.g. ViT-B-16")


def _tag_config(name: str, tag: str) -> dict:
    tag_config = open_clip.get_pretrained_cfg(name, tag)
    if not tag_config:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none, give backbone.weights"
        raise InputError(f"backbone.pretrained: {name} has no tag {tag!r}; its tags: {tags}")
    return tag_config


def _counterpart(name: str) -> str | None:
    """The same architecture with the other activation, where open_clip has one."""
    other = name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else name + _SUFFIX
    return other if other in open_clip.list_models() else None


def _tag_in_file_name(name: str, path: str) -> dict:
    """Config of the longest tag of this architecture in the file's name; empty without one."""
    stem = Path(path).name.lower().replace("-", "_")
    tags = {
        tag: model
        for model in (_counterpart(name), name)
        if model
        for tag in open_clip.list_pretrained_tags_by_model(model)
    }
    longest = max((tag for tag in tags if tag in stem), key=len, default=None)
    return open_clip.get_pretrained_cfg(tags[longest], longest) if longest else {}


def _refuse_other_activation(model_config: dict, settings: config.Backbone, trained_quick_gelu: bool) -> None:
    if model_config.get("quick_gelu", False) == trained_quick_gelu:
        return
    other = _counterpart(settings.name)
    remedy = f"use backbone.name={other}" if other else "open_clip has no name for this pair; use other weights"
    computes, trained = ("GELU", "QuickGELU") if trained_quick_gelu else ("QuickGELU", "GELU")
    weights = settings.weights or settings.pretrained
    raise InputError(
        f"backbone.name: {settings.name} computes {computes}, but {weights} was trained with {trained}; {remedy}"
    )


def _download(settings: config.Backbone, tag: dict) -> str:
    try:
        return open_clip.download_pretrained(tag)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"backbone.pretrained: {settings.pretrained} of {settings.name} could not be downloaded ({reason}); "
            f"without a network give the file in backbone.weights, and keep the tag, or backbone.library=small_clip"
            " to try the commands"
        ) from None
