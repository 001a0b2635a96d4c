"""timm ViTs: the same numbers as timm's own model; real DeiT weights see the same video as the same."""

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from objadapt.backbone import build_backbone
from objadapt.config import Backbone
from objadapt.errors import InputError

import timm  # isort: skip  after objadapt.backbone, which makes torchvision importable

NAME = "deit_tiny_patch16_224"


@pytest.fixture(scope="module")
def deit_file(shared):
    return shared / "weights" / "deit_tiny_patch16_224.fp16.safetensors"


@pytest.fixture(scope="module")
def deit(deit_file):
    return build(deit_file)


@pytest.fixture(scope="module")
def random_deit(tmp_path_factory):
    torch.manual_seed(0)
    model = timm.create_model(NAME).eval()
    path = tmp_path_factory.mktemp("timm") / "deit.pt"
    torch.save({"model": model.state_dict()}, path)
    return model, path


def build(path=None, name=NAME, **fields):
    return build_backbone(Backbone(library="timm", name=name, weights=path and str(path), **fields))


def images(*size):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_tokens_are_those_of_a_fresh_timm_model(random_deit):
    model, path = random_deit
    encoder = build(path)
    patches, cls = encoder(images(224, 224))
    features = model.forward_features(images(224, 224))
    assert torch.equal(cls, features[:, 0]) and torch.equal(patches, features[:, 1:])
    assert (encoder.joint_width, encoder.patch_size, encoder.image_size) == (192, 16, 224)
    assert encoder.mean == (0.485, 0.456, 0.406) and encoder.std == (0.229, 0.224, 0.225)


@torch.inference_mode()
def test_other_sizes(random_deit):
    patches, cls = build(random_deit[1])(images(64, 160))
    assert patches.shape == (2, 4 * 10, 192) and cls.shape == (2, 192)
    model = timm.create_model(NAME, img_size=(64, 160)).eval()  # timm resamples positions while loading
    state = timm.models.vision_transformer.checkpoint_filter_fn(random_deit[0].state_dict(), model)
    model.load_state_dict(state)
    torch.testing.assert_close(patches, model.forward_features(images(64, 160))[:, 1:])


@torch.inference_mode()
def test_register_tokens_are_no_patches(tmp_path):
    name = "vit_small_patch14_reg4_dinov2"
    model = timm.create_model(name, dynamic_img_size=True).eval()
    save_file(model.state_dict(), tmp_path / "reg4.safetensors")
    patches, cls = build(tmp_path / "reg4.safetensors", name=name)(images(56, 56))
    features = model.forward_features(images(56, 56))  # cls, 4 registers, 16 patches
    assert torch.equal(patches, features[:, 5:]) and torch.equal(cls, features[:, 0])


def test_only_the_classifier_is_dropped(random_deit, tmp_path):
    state = random_deit[0].state_dict()
    torch.save({**state, "heads.weight": torch.zeros(3)}, tmp_path / "more.pt")
    with pytest.raises(InputError, match="heads.weight unexpected"):
        build(tmp_path / "more.pt")
    torch.save({key: value for key, value in state.items() if not key.startswith("head.")}, tmp_path / "less.pt")
    assert build(tmp_path / "less.pt").weights_hash == build(random_deit[1]).weights_hash


def test_real_weights_are_loaded_exactly(deit, deit_file):
    file = load_file(deit_file)
    mine = deit.model.state_dict()
    assert set(file) - set(mine) == {"head.weight", "head.bias"}
    assert all(torch.equal(value, file[key].float()) for key, value in mine.items())


@torch.inference_mode()
def test_real_weights_tell_videos_apart(deit, shared):
    """Every frame's cls is nearer to frames of its own video than the videos are to each other, on average by far."""
    features = {}
    for video in ("blackswan", "car-shadow", "dog"):
        files = sorted((shared / "davis" / "JPEGImages" / "480p" / video).glob("*.jpg"))[::15][:4]
        cls = deit(torch.stack([frame(path, deit) for path in files]))[1]
        features[video] = torch.nn.functional.normalize(cls, dim=-1)
    within = torch.stack([(f @ f.T)[~torch.eye(len(f), dtype=bool)].mean() for f in features.values()])
    across = torch.stack([(features[a] @ features[b].T).mean() for a in features for b in features if a < b])
    assert within.min() > across.max() + 0.2


def frame(path, encoder):
    """The centre crop of a frame, resized and normalised. [3, 224, 224]"""
    picture = Image.open(path)
    width, height = picture.size
    left = (width - height) // 2
    picture = picture.crop((left, 0, left + height, height)).resize((224, 224), Image.Resampling.BICUBIC)
    pixels = (np.asarray(picture, dtype=np.float32) / 255 - np.array(encoder.mean)) / np.array(encoder.std)
    return torch.from_numpy(pixels).permute(2, 0, 1).float()


@pytest.mark.parametrize(
    "name, reason",
    [
        ("deit_tiny_distilled_patch16_224", "VisionTransformerDistilled"),
        ("vit_base_patch16_gap_224", "class token"),
        ("vit_base_patch16_siglip_224", "class token"),
        ("resnet18", "not a plain ViT"),
        ("deit_tiny_patch16", "deit_tiny_patch16_224"),
        ("deit_tiny_patch16_224.no_such_tag", "no timm model"),
    ],
)
def test_other_models_are_refused(name, reason, random_deit):
    with pytest.raises(InputError, match=reason):
        build(random_deit[1], name=name)


def test_weights_come_from_exactly_one_place(random_deit):
    for fields in ({}, {"path": random_deit[1], "pretrained": "default"}):
        with pytest.raises(InputError, match="one of the two"):
            build(**fields)
    with pytest.raises(InputError, match=f"{NAME}.fb_in1k"):
        build(pretrained="fb_in1k")


def test_failed_download_points_to_local_files(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InputError, match="weights of deit_tiny_patch16_224 could not be downloaded.*backbone.weights"
    ) as caught:
        build(pretrained="default")
    assert "\n" not in str(caught.value)
