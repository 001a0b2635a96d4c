"""The small CLIP: its image tower equals the whole model's, and missing files name the job that makes them."""

import json

import pytest
import torch
from safetensors.torch import save_file

from objadapt.backbone import build_backbone
from objadapt.backbone.small_clip import FOLDER, build_small_clip_model, small_clip_encoder
from objadapt.config import Backbone
from objadapt.errors import InputError

CONFIG = {
    "embed_dim": 128,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 64, "layers": 6, "width": 192, "head_width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 128, "width": 128, "heads": 4, "layers": 3},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small CLIP with random weights, stored as the pretraining job stores it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("small_clip")
    clip = build_small_clip_model(CONFIG).eval().half().float()  # values that float16 holds
    (folder / "model.json").write_text(json.dumps(CONFIG))
    save_file({key: value.half() for key, value in clip.state_dict().items()}, folder / "weights.safetensors")
    return clip, folder


@torch.inference_mode()
def test_encoder_is_the_image_tower(made):
    clip, folder = made
    encoder = small_clip_encoder(folder=folder)
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    patches, cls = encoder(images)
    torch.testing.assert_close(cls, clip.encode_image(images))
    assert patches.shape == (3, 64, 128) and (encoder.joint_width, encoder.image_size) == (128, 64)


def test_model_trains_in_pretraining():
    clip = build_small_clip_model(CONFIG)
    loss = clip.get_logits(torch.randn(2, 3, 64, 64), torch.randint(1, 128, (2, 24)))[0].square().sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in clip.parameters())


def test_missing_files_name_the_job(tmp_path):
    with pytest.raises(InputError, match="python jobs/pretrain_backbone.py"):
        small_clip_encoder(folder=tmp_path)


def test_weights_of_another_config_are_refused(made, tmp_path):
    _, folder = made
    (tmp_path / "model.json").write_text(json.dumps({**CONFIG, "embed_dim": 64}))
    (tmp_path / "weights.safetensors").symlink_to(folder / "weights.safetensors")
    with pytest.raises(InputError, match=r"proj \[192, 128\] for \[192, 64\]"):
        small_clip_encoder(folder=tmp_path)


def test_own_weights_cannot_be_replaced():
    for field in ({"weights": "other.safetensors"}, {"pretrained": "openai"}):
        with pytest.raises(InputError, match="say backbone.pretrained=null backbone.weights=null"):
            build_backbone(Backbone(library="small_clip", **field))


@pytest.mark.skipif(not (FOLDER / "weights.safetensors").is_file(), reason="the shipped weights are not made yet")
@torch.inference_mode()
def test_shipped_weights_load():
    encoder = build_backbone(Backbone(library="small_clip"))
    patches, cls = encoder(torch.zeros(1, 3, encoder.image_size, encoder.image_size))
    assert (
        patches.shape == (1, (encoder.image_size // encoder.patch_size) ** 2, encoder.joint_width)
        and torch.isfinite(cls).all()
    )
