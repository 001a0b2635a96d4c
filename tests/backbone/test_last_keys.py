"""Keys of the last attention: those that the ViT itself computes, under another name than its patch tokens."""

import pytest
import timm
import torch

from objadapt.backbone import build_backbone
from objadapt.config import Backbone


@pytest.fixture
def settings(tiny_weights) -> Backbone:
    return Backbone(library="timm", name="test_vit", weights=str(tiny_weights))


def test_keys_are_those_that_the_last_attention_computes(settings, tiny_weights):
    encoder = build_backbone(settings.model_copy(update={"features": "keys"}))
    model = timm.create_model("test_vit", num_classes=0, dynamic_img_size=True).eval()
    model.load_state_dict(torch.load(tiny_weights, weights_only=True))
    seen = []
    model.blocks[-1].attn.qkv.register_forward_hook(lambda module, given, answer: seen.append(answer))
    images = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model(images)
        patches, cls = encoder(images)
    keys = seen[0].chunk(3, dim=-1)[1]
    torch.testing.assert_close(patches, keys[:, 1:])
    torch.testing.assert_close(cls, keys[:, 0])
    assert patches.shape == (2, 6, encoder.joint_width)


def test_they_are_never_taken_for_tokens_of_the_same_weights(settings):
    tokens, keys = (build_backbone(settings.model_copy(update={"features": kind})) for kind in ("tokens", "keys"))
    assert tokens.weights_hash != keys.weights_hash and not any(one.requires_grad for one in keys.parameters())
    assert keys.train().training is False
    small = [build_backbone(Backbone(library="small_clip", features=kind)) for kind in ("tokens", "keys")]
    answers = [encoder(torch.zeros(1, 3, small[0].image_size, small[0].image_size))[0] for encoder in small]
    assert answers[1].shape == (1, answers[0].shape[1], small[1].joint_width)
