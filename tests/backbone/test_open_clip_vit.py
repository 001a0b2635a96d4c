"""open_clip towers: the same numbers as open_clip's own model, and every wrong name or file refused in one line."""

from types import SimpleNamespace

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file

import objadapt.backbone.encoder
from objadapt.backbone import build_backbone
from objadapt.backbone.encoder import compute_dtype, say_float32
from objadapt.backbone.features_hash import features_hash
from objadapt.backbone.open_clip_vit import encoder_of
from objadapt.backbone.weights import hash_tensors
from objadapt.config import Backbone
from objadapt.errors import InputError

import open_clip  # isort: skip  after objadapt.backbone, which makes torchvision importable
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD  # isort: skip

NAME = "ViT-S-32-alt"  # the smallest plain ViT that open_clip has a name for


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return open_clip.create_model(NAME).eval()


@pytest.fixture(scope="module")
def weights(clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "clip.safetensors"
    save_file({key: value.contiguous() for key, value in clip.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def encoder(weights):
    return build(weights)


def build(path=None, name=NAME, **fields):
    return build_backbone(Backbone(library="open_clip", name=name, weights=path and str(path), **fields))


def images(size=(224, 224), count=2):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_cls_is_exactly_the_image_embedding(clip, encoder):
    patches, cls = encoder(images())
    assert torch.equal(cls, clip.encode_image(images()))
    assert patches.shape == (2, 49, encoder.joint_width) == (2, 49, 256)


@torch.inference_mode()
def test_patches_are_the_projected_tokens_of_open_clip(clip, encoder):
    clip.visual.output_tokens = True
    try:
        _, tokens = clip.visual(images())  # after ln_post, before proj
    finally:
        clip.visual.output_tokens = False
    torch.testing.assert_close(encoder(images())[0], tokens @ clip.visual.proj)


def test_attributes_describe_the_input(encoder):
    assert (encoder.name, encoder.image_size, encoder.patch_size) == (NAME, 224, 32)
    assert encoder.mean == open_clip.OPENAI_DATASET_MEAN and encoder.std == open_clip.OPENAI_DATASET_STD


@torch.inference_mode()
def test_other_sizes_interpolate_positions_along_the_right_axes(encoder, clip):
    """Where position embeddings vary along one axis of the grid only,
    so do the patches of a still picture of another size.
    """
    patches, cls = encoder(images((96, 160)))
    assert patches.shape == (2, 3 * 5, 256) and cls.shape == (2, 256)
    wide = build_with_positions(clip, encoder, axis=1)
    tall = build_with_positions(clip, encoder, axis=0)
    still = torch.zeros(1, 3, 96, 160)
    rows = tall(still)[0].reshape(3, 5, -1)
    columns = wide(still)[0].reshape(3, 5, -1)
    torch.testing.assert_close(rows, rows[:, :1].expand_as(rows), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(columns, columns[:1].expand_as(columns), atol=1e-4, rtol=1e-4)
    assert (rows[0] - rows[2]).abs().max() > 1e-2 and (columns[:, 0] - columns[:, 4]).abs().max() > 1e-2


def build_with_positions(clip, encoder, axis):
    """The encoder with position embeddings that turn from one direction to another along one axis of the 7 x 7 grid."""
    ramp = torch.linspace(0, 1, 7)
    grid = (ramp[:, None] if axis == 0 else ramp[None]).expand(7, 7).reshape(49, 1)
    visual = open_clip.create_model(NAME).visual
    visual.load_state_dict(clip.visual.state_dict())
    start, end = torch.randn(2, visual.class_embedding.shape[0], generator=torch.Generator().manual_seed(2))
    visual.positional_embedding.data[1:] = start + grid * (end - start)
    return encoder_of(visual, name="turn", mean=encoder.mean, std=encoder.std, precision="float32")


def test_sizes_that_cut_patches_are_refused(encoder):
    with pytest.raises(InputError, match="100x224.*multiples of 32"):
        encoder(images((100, 224)))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@torch.no_grad()
def test_low_precision_stays_close(weights, encoder, precision, monkeypatch):
    half, exactly = build(weights, precision=precision), encoder(images())
    assert half.weights_hash == encoder.weights_hash
    # as on a GPU; on CPUs float16 is not computed in
    monkeypatch.setattr(objadapt.backbone.encoder, "compute_dtype", lambda *_: getattr(torch, precision))
    for rough, exact in zip(half(images()), exactly, strict=True):
        assert rough.dtype == getattr(torch, precision)
        assert torch.cosine_similarity(rough.float(), exact, dim=-1).min() > 0.99


def test_cpus_compute_in_float32_and_say_so_once(weights, encoder, caplog):
    """Float16 takes several times as long there, and bfloat16 longer, too."""
    say_float32.cache_clear()
    named = {precision: build(weights, precision=precision) for precision in ("auto", "float16", "bfloat16")}
    with torch.inference_mode():
        found = {precision: model(images())[0] for precision, model in named.items()}
        exact = encoder(images())[0]
        named["float16"](images())
    assert all(torch.equal(features, exact) for features in found.values())
    assert [record.getMessage() for record in caplog.records if "float32" in record.getMessage()] == [
        f"backbone.precision: {precision} is slower than float32 on CPUs, where the backbone computes in float32"
        for precision in ("float16", "bfloat16")
    ]


@pytest.mark.parametrize(
    "precision, native, expected",
    [
        ("auto", True, "bfloat16"),
        ("auto", False, "float16"),
        ("float16", True, "float16"),
        ("float32", True, "float32"),
        ("bfloat16", False, "bfloat16"),
    ],
)
def test_what_a_backbone_computes_in_on_a_gpu(monkeypatch, precision, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)  # no GPU is here
    assert compute_dtype(precision, torch.device("cuda")) == getattr(torch, expected)


def variants(state):
    visual = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    module = {f"module.{key}": value for key, value in state.items()}
    extras = {
        "input_resolution": torch.tensor(224),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    return {
        "full.pt": state,
        "tower.pth": visual,
        "tower_with_prefix.bin": {f"visual.{key}": value for key, value in visual.items()},
        "training_checkpoint.pt": {"epoch": 3, "name": "run", "state_dict": module},
        "of_first_clip_code.pt": {**state, **extras},
    }


def test_every_way_to_store_the_tower_is_the_same_tower(clip, encoder, tmp_path):
    for name, content in variants(clip.state_dict()).items():
        torch.save(content, tmp_path / name)
        assert build(tmp_path / name).weights_hash == encoder.weights_hash, name


def test_hash_follows_the_weights(clip, encoder, tmp_path):
    state = {key: value.clone() for key, value in clip.visual.state_dict().items()}
    state["conv1.weight"][0, 0, 0, 0] += 1e-3
    save_file(state, tmp_path / "other.safetensors")
    other = build(tmp_path / "other.safetensors")
    assert other.weights_hash != encoder.weights_hash and len(other.weights_hash) == 12
    save_file(other.model.state_dict(), tmp_path / "again.safetensors")
    assert build(tmp_path / "again.safetensors").weights_hash == other.weights_hash


def test_wrong_keys_and_shapes_are_named(clip, tmp_path):
    state = {key: value.clone() for key, value in clip.visual.state_dict().items()}
    del state["ln_post.weight"]
    state["surprise"] = torch.zeros(1)
    state["proj"] = torch.zeros(384, 99)
    state["conv1.weight"][0] = float("nan")
    path = tmp_path / "bent.safetensors"
    save_file(state, path)
    with pytest.raises(InputError) as caught:
        build(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    assert "ln_post.weight missing; surprise unexpected; " in message
    assert "proj [384, 99] for [384, 256] of wrong shape; conv1.weight not finite" in message


def test_many_missing_keys_are_cut_to_five(tmp_path):
    save_file({"vision_model.embeddings.class_embedding": torch.zeros(384)}, tmp_path / "transformers.safetensors")
    with pytest.raises(
        InputError, match=r"class_embedding, conv1.weight, ln_post.bias, ln_post.weight, .* and \d+ more missing"
    ):
        build(tmp_path / "transformers.safetensors")


def test_unknown_names_get_close_ones():
    with pytest.raises(InputError, match="ViT-B-16"):
        build(name="ViT-B16", pretrained="openai")


def test_unknown_tags_get_the_known_ones():
    with pytest.raises(InputError, match="no tag 'opnai'.*openai.*dfn2b"):
        build(name="ViT-B-16-quickgelu", pretrained="opnai")


def test_no_weights_at_all_is_refused():
    with pytest.raises(InputError, match="pretrained.*openai.*weights"):
        build(name="ViT-B-16-quickgelu")


@pytest.mark.parametrize(
    "name, kind",
    [
        ("RN50", "ResNet"),
        ("convnext_base", "timm tower"),
        ("ViT-B-16-SigLIP", "timm tower"),
        ("coca_ViT-B-32", "attention"),
        ("ViT-L-14-CLIPA", "'avg'"),
    ],
)
def test_other_towers_are_refused(name, kind, weights):
    with pytest.raises(InputError, match=kind):
        build(weights, name=name)


@pytest.mark.parametrize(
    "name, tag, remedy",
    [
        ("ViT-B-16", "openai", "ViT-B-16-quickgelu"),
        ("ViT-L-14", "dfn2b", "ViT-L-14-quickgelu"),
        ("ViT-B-32", "laion400m_e32", "ViT-B-32-quickgelu"),
        ("roberta-ViT-B-32", "laion2b_s12b_b32k", "other weights"),
    ],
)
def test_tag_of_the_other_activation_is_refused(name, tag, remedy, weights):
    with pytest.raises(InputError, match=f"GELU.*{remedy}"):
        build(name=name, pretrained=tag)
    with pytest.raises(InputError, match=f"GELU.*{remedy}"):
        build(weights, name=name, pretrained=tag)


@pytest.mark.parametrize(
    "name, file, remedy",
    [
        ("ViT-B-16", "ViT-B-16-openai.safetensors", "ViT-B-16-quickgelu"),
        ("ViT-L-14", "vit_l_14.dfn2b.pt", "ViT-L-14-quickgelu"),
        ("ViT-B-16-quickgelu", "ViT-B-16-laion2b_s34b_b88k.bin", "ViT-B-16"),
    ],
)
def test_tag_in_the_file_name_of_the_other_activation_is_refused(name, file, remedy, tmp_path):
    (tmp_path / file).touch()  # it is refused by its name
    with pytest.raises(InputError, match=f"trained with .*use backbone.name={remedy}$"):
        build(tmp_path / file, name=name)


def test_longer_tag_wins_in_a_file_name(tmp_path):
    """dfn2b is QuickGELU and dfn2b_s39b is not; the refusal is of the absent file, not of the activation."""
    with pytest.raises(InputError, match="is not a file"):
        build(tmp_path / "ViT-L-14-dfn2b_s39b.safetensors", name="ViT-L-14")


def test_metadata_of_the_other_activation_is_refused(clip, tmp_path):
    path = tmp_path / "clip.safetensors"
    state = {key: value.contiguous() for key, value in clip.state_dict().items()}
    save_file(state, path, metadata={"quick_gelu": "true"})
    with pytest.raises(InputError, match="trained with QuickGELU"):
        build(path)
    save_file(state, path, metadata={"quick_gelu": "false"})
    assert build(path).name == NAME


def test_failed_download_points_to_local_files(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InputError, match="openai of ViT-B-16-quickgelu could not be downloaded.*backbone.weights"
    ) as caught:
        build(name="ViT-B-16-quickgelu", pretrained="openai")
    assert "\n" not in str(caught.value)


def test_frozen_means_frozen(encoder):
    """Gradients reach a head behind the encoder and stop there, even when the whole is set to training."""
    head = torch.nn.Linear(encoder.joint_width, 3)
    model = torch.nn.Sequential(encoder, head).train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    head(encoder(images())[1]).square().sum().backward()
    optimizer.step()
    assert head.weight.grad.abs().sum() > 0
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in encoder.parameters())
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_a_tag_s_normalisation_makes_another_backbone_of_one_file(encoder, weights):
    """It sets mean and deviation; the file is the same, and what was computed before was taken for the new."""
    hashes = [
        features_hash(SimpleNamespace(mean=mean, std=OPENAI_DATASET_STD, weights_hash="ab"), library)
        for mean, library in ((OPENAI_DATASET_MEAN, "open_clip"), ((0.5, 0.5, 0.5), "open_clip"), ((0.5,) * 3, "timm"))
    ]
    assert hashes[0] == hashes[2] == "ab" and hashes[1] != "ab" and len(hashes[1]) == 12
    assert encoder.weights_hash == hash_tensors(encoder.model.state_dict()), "the usual one keeps what was made before"
