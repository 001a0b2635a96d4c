"""An encoder in parts: embed, blocks and finish are its forward, bit for bit,
and gradients reach what stands between them.
"""

import pytest
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from torch import nn

import objadapt.backbone.encoder
from objadapt.backbone import Encoder, build_backbone
from objadapt.config import Backbone

import open_clip  # isort: skip  after objadapt.backbone, which makes torchvision importable
import timm  # isort: skip

REGISTERS = "vit_small_patch14_reg4_dinov2"


@pytest.fixture(scope="module", params=["open_clip", "timm", "timm with registers", "small_clip"])
def encoder(request, tmp_path_factory) -> Encoder:
    """Each kind there is; random weights but for the small CLIP."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("parts") / "weights.safetensors"
    if request.param == "small_clip":
        return build_backbone(Backbone(library="small_clip"))
    if request.param == "open_clip":
        library, name = "open_clip", "ViT-S-32-alt"
        model = open_clip.create_model(name)
    else:
        library, name = "timm", "test_vit" if request.param == "timm" else REGISTERS
        model = timm.create_model(name, num_classes=0, dynamic_img_size=True)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, file)
    return build_backbone(Backbone(library=library, name=name, weights=str(file)))


def images(encoder: Encoder, patches: tuple[int, int]) -> torch.Tensor:
    size = [side * encoder.patch_size for side in patches]
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def in_parts(encoder: Encoder, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = encoder.embed(images)
    for block in encoder.blocks:
        tokens = block(tokens)
    return encoder.finish(tokens)


def whole(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches and cls by the libraries' own ways through all blocks at once."""
    if hasattr(model, "forward_features"):
        tokens = model.forward_features(images)
        return tokens[:, model.num_prefix_tokens :], tokens[:, 0]
    x = model.conv1(images)
    places = resample_abs_pos_embed(model.positional_embedding[None], list(x.shape[-2:]), list(model.grid_size))
    x = torch.cat([model.class_embedding.expand(len(x), 1, -1), x.flatten(2).transpose(1, 2)], dim=1)
    x = model.ln_post(model.transformer(model.ln_pre(x + places)))
    return x[:, 1:] @ model.proj, x[:, 0] @ model.proj


@pytest.mark.parametrize("patches", [(4, 4), (3, 5)])
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
def test_the_parts_are_the_whole(encoder, patches, mode):
    with mode():
        parts = in_parts(encoder, images(encoder, patches))
        ways = encoder(images(encoder, patches)), whole(encoder.model, images(encoder, patches))
    for way in ways:
        for part, expected in zip(parts, way, strict=True):
            assert torch.equal(part, expected)
    assert parts[0].shape == (2, patches[0] * patches[1], encoder.joint_width)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_reaches_what_is_inserted_between_blocks_and_nothing_else(encoder, dtype, monkeypatch):
    monkeypatch.setattr(objadapt.backbone.encoder, "compute_dtype", lambda *_: dtype)
    width = encoder.embed(images(encoder, (2, 2))).shape[-1]
    biases = [nn.Parameter(torch.zeros(width)) for _ in encoder.blocks]  # float32
    tokens = encoder.embed(images(encoder, (2, 2)))
    for block, bias in zip(encoder.blocks, biases, strict=True):
        tokens = block(tokens + bias.to(tokens.dtype))
    patches, cls = encoder.finish(tokens)
    assert patches.dtype == cls.dtype == dtype
    (patches.float().square().sum() + cls.float().square().sum()).backward()
    for bias in biases:
        assert bias.grad.isfinite().all() and bias.grad.abs().max() > 0
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in encoder.parameters())
