"""A model's weights are found in every nest and under every prefix that training scripts save them in;
else the file is described.
"""

import argparse
import logging
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from objadapt import config
from objadapt.backbone import build_backbone
from objadapt.backbone.small_clip import FOLDER, small_clip_encoder
from objadapt.backbone.weights import load_exactly, read_weights
from objadapt.errors import InputError

# isort: split
import timm  # behind torchvision_compat

OPTIMISER = {
    "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return timm.create_model("test_vit", num_classes=10).state_dict()


def encoder(path: Path):
    return build_backbone(config.Backbone(library="timm", name="test_vit", weights=str(path)))


def under(prefix: str, state: dict) -> dict:
    return OrderedDict((prefix + key, value) for key, value in state.items())


def other(state: dict) -> dict:
    """The same names, other values."""
    return {key: value + 1 for key, value in state.items()}


PREFIXES = [
    "",
    "module.",
    "_orig_mod.",
    "model.",
    "backbone.",
    "encoder.",
    "visual.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "module.backbone.",
    "model.module.backbone.",
    "net.",
    "my.own.wrapper.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".ckpt"])
def test_under_a_prefix(prefix, suffix, state, tmp_path):
    path = tmp_path / f"weights{suffix}"
    save_file(under(prefix, state), path) if suffix == ".safetensors" else torch.save(under(prefix, state), path)
    same(encoder(path), state)


def same(built, state: dict) -> None:
    own = built.model.state_dict()
    assert own.keys() == {key for key in state if not key.startswith("head.")}
    assert all(torch.equal(value, state[key]) for key, value in own.items())


NESTS = {
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "optimizer": OPTIMISER},
    "model": lambda s: {
        "model": s,
        "optimizer": OPTIMISER,
        "args": argparse.Namespace(lr=0.1, nested=argparse.Namespace(a=None)),
    },
    "model_state": lambda s: {"model_state": under("module.", s), "optimizer_state": OPTIMISER, "scaler": {}},
    "model_state_dict": lambda s: {"epoch": 1, "model_state_dict": s, "loss": 0.5},
    "module": lambda s: {"module": s},
    "deep": lambda s: {"state": {"model": {"state_dict": under("_orig_mod.", s)}}, "epoch": torch.tensor(4)},
    "alone in state_dict_ema": lambda s: {"state_dict_ema": under("module.", s), "best": None},
    "alone in model_ema": lambda s: {"model_ema": {"module": s, "decay": 0.9}},
    "any other": lambda s: {"net": s, "version": "1.0", "epoch": 3},
    "beside other modules": lambda s: {
        "state_dict": under("model.", s) | {"criterion.weight": torch.ones(3), "head.bias": torch.ones(2)}
    },
    "a DINO": lambda s: {"teacher": under("backbone.", s) | {"head.mlp.0.weight": torch.ones(2, 2)}, "epoch": 100},
}


@pytest.mark.parametrize("nest", NESTS)
def test_in_a_nest(nest, state, tmp_path, caplog):
    torch.save(NESTS[nest](state), tmp_path / "weights.pth")
    same(encoder(tmp_path / "weights.pth"), state)
    assert not [one for one in caplog.records if "objadapt" in one.name]  # nothing was to be chosen


TWICE = {
    "state_dict": lambda s: {"state_dict_ema": other(s), "state_dict": s},
    "model": lambda s: {"model": s, "model_ema": under("module.", other(s))},
    "teacher.backbone": lambda s: {
        "student": under("module.backbone.", other(s)),
        "teacher": under("backbone.", s),
        "epoch": 1,
    },
    "base_encoder": lambda s: {
        "state_dict": under("module.momentum_encoder.", other(s)) | under("module.base_encoder.", s)
    },
    "teacher": lambda s: under("student.", other(s)) | under("teacher.", s),
    "schema": lambda s: {"model_ema": other(s), "schema": s},
    "semantic.backbone": lambda s: under("semantic.backbone.", s) | under("segmenter.backbone.", other(s)),
}


@pytest.mark.parametrize("taken", TWICE)
def test_of_two_the_one_that_is_taken_is_said(taken, state, tmp_path, caplog):
    path = tmp_path / "weights.pth"
    torch.save(TWICE[taken](state), path)
    with caplog.at_level(logging.WARNING):
        same(encoder(path), state)
    (said,) = [one.getMessage() for one in caplog.records if one.name == "objadapt.backbone.weights"]
    assert str(path) in said and f"{taken} is taken, not " in said and "2 times" in said


@pytest.mark.parametrize(
    "prefix", ["", "module.", "visual.", "module.visual.", "visual.module.", "_orig_mod.model.visual."]
)
def test_an_image_tower_alone(prefix, tmp_path):
    clip, _ = read_weights(FOLDER / "weights.safetensors")
    tower = {key.removeprefix("visual."): value for key, value in clip.items() if key.startswith("visual.")}
    tower_of(under(prefix, tower), tmp_path)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "model."])
def test_an_image_tower_in_its_clip(prefix, tmp_path):
    clip, _ = read_weights(FOLDER / "weights.safetensors")
    assert any(key.startswith("transformer.") for key in clip)  # the text tower, whose names are the image tower's own
    tower_of(under(prefix, clip), tmp_path)


def tower_of(content: dict, folder: Path) -> None:
    """The content is loaded as the shipped file is."""
    (folder / "model.json").write_text((FOLDER / "model.json").read_text())
    save_file(content, folder / "weights.safetensors")
    expected, own = small_clip_encoder().model.state_dict(), small_clip_encoder(folder=folder).model.state_dict()
    assert own.keys() == expected.keys() and all(torch.equal(value, expected[key]) for key, value in own.items())


def refused(path: Path, *words: str) -> str:
    with pytest.raises(InputError, match="^backbone.weights: ") as caught:
        encoder(path)
    said = str(caught.value)
    assert str(path) in said and said.isprintable() and all(word in said for word in words), said
    return said


def test_what_does_not_fit_is_described(state, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"epoch": 3, "net": {"layer.0.weight": torch.ones(4, 2)}, "optimizer": OPTIMISER, "note": "x"}, path)
    refused(
        path,
        "missing",
        "it holds epoch (int), net (1 names: layer.0.weight [4, 2], ...), optimizer (2 names:",
        "note (str)",
    )
    torch.save({f"blocks.{n}.weight": torch.ones(2) for n in range(20)}, path)
    refused(path, "missing", "it holds blocks.0.weight [2], ", "and 14 more")
    torch.save({"state_dict": {"only": "words"}}, path)
    refused(path, "no state dict", "it holds state_dict (1 names: only, ...)")
    torch.save([state], path)
    refused(path, "no state dict", "it holds a list")


def test_terminal_codes_in_a_file_do_not_reach_the_terminal(state, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(
        {"\x1b[31mred\x1b[0m\x1b]0;title\x07\r\nname": torch.ones(2), "\u202edlo": {"\x9b2Jx": torch.ones(1)}}, path
    )
    said = refused(path, "red", "x [1]")
    assert "[31m" not in said and "title" not in said


@pytest.mark.parametrize(
    "beside", [np.float64(3.0), Path("/a"), torch.nn.Linear(2, 2)], ids=lambda value: type(value).__name__
)
def test_what_only_code_can_make_is_named_with_the_remedy(beside, state, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"model": state, "beside": beside}, path)
    name = {
        "float": "numpy",
        "float64": "numpy",
        "PosixPath": "pathlib.PosixPath",
        "Linear": "torch.nn.modules.linear.Linear",
    }
    refused(path, f"it holds {name[type(beside).__name__]}", "weights_only=False", ".safetensors", "never executed")


ODD = {
    "sparse": lambda value: value.to_sparse(),
    "quantised": lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    "complex": lambda value: value.to(torch.complex64),
    "meta": lambda value: value.to("meta"),
}


@pytest.mark.filterwarnings("ignore")  # torch's, of quantised tensors
@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_are_no_plain_numbers_are_named(kind, state, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(state | {"norm.bias": ODD[kind](state["norm.bias"])}, path)
    refused(path, "norm.bias of no plain numbers")


def test_half_a_models_names_under_a_prefix_are_not_enough(state, tmp_path):
    path = tmp_path / "weights.pt"
    keys = sorted(state)
    torch.save(under("module.", {key: state[key] for key in keys[::2]}) | {key: state[key] for key in keys[1::2]}, path)
    refused(path, "missing")


def test_a_plain_state_dict_is_loaded_as_it_is():
    source = torch.nn.Linear(3, 2)
    model = torch.nn.Linear(3, 2)
    load_exactly(model, source.state_dict(), "here")
    assert torch.equal(model.weight, source.weight)
    with pytest.raises(InputError, match="bias missing"):
        load_exactly(model, {"weight": source.weight}, "here")
