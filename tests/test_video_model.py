"""A checkpoint is a classifier in three lines, with the numbers of the evaluation, and needs neither Ray nor MLflow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from objadapt.config_file import validate
from objadapt.data.clip import read_clip
from objadapt.data.manifest import Manifest
from objadapt.errors import InputError
from objadapt.video_model import load

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def checkpoint(trained) -> Path:
    return Path(json.loads(trained.json.read_text())["checkpoint"])


@pytest.fixture(scope="module")
def model(checkpoint):
    return load(checkpoint)


@pytest.fixture(scope="module")
def validation(checkpoint):
    """(rows of the manifest, frames uint8 [B, T, H, W, 3] as they are in the files)."""
    state = json.loads((checkpoint / "state.json").read_text())
    table = Manifest.read(checkpoint.parent / "manifest").table
    rows = table[table["split"] == "val"]
    sampling = validate(state["config"]).sampling
    frames = [read_clip(clip.path, clip.start_s, clip.end_s, sampling).frames for clip in rows.itertuples()]
    return rows, torch.from_numpy(np.stack(frames))


def test_it_says_what_the_evaluation_said(model, checkpoint, validation):
    rows, frames = validation
    assert frames.shape == (16, 4, 64, 64, 3)
    probabilities = model(frames).logits["label"].softmax(dim=1)
    scored = pd.read_parquet(checkpoint.parent / "clips.parquet").set_index("row").loc[rows.index]
    assert probabilities.argmax(dim=1).tolist() == scored["predicted"].to_list()
    assert probabilities.amax(dim=1).tolist() == pytest.approx(scored["probability"].to_list(), abs=1e-3)
    assert scored["true"].to_list() == rows["label"].to_list()
    assert model.classes == Manifest.read(checkpoint.parent / "manifest").classes


def test_clips_do_not_see_each_other_and_objects_share_each_patch(model, validation):
    frames = validation[1][:3]
    together = model(frames)
    for number in range(3):
        alone = model(frames[number : number + 1])
        torch.testing.assert_close(alone.logits["label"][0], together.logits["label"][number], atol=2e-3, rtol=0)
    assert together.attention.shape == (3, 4, 3, 4)  # K = 3 objects, 2 x 2 patches of a 32-pixel crop
    torch.testing.assert_close(together.attention.sum(dim=2), torch.ones(3, 4, 4))


def test_it_is_ready_for_use(model):
    assert not model.training and not model.encoder.training
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
    out = model(torch.zeros(1, 4, 100, 40, 3, dtype=torch.uint8))  # any size of picture
    assert out.logits["label"].shape == (1, 16) and not out.logits["label"].requires_grad


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(4, 64, 64, 3, dtype=torch.uint8),
        torch.zeros(1, 5, 64, 64, 3, dtype=torch.uint8),
        torch.zeros(1, 4, 3, 64, 64, dtype=torch.uint8),
        torch.zeros(1, 4, 64, 64, 3),
    ],
)
def test_wrong_frames_are_refused_with_what_is_wanted(model, frames):
    with pytest.raises(InputError, match=r"frames: must be uint8 \[B, T = 4, H, W, 3\], not torch\.\w+ \[") as caught:
        model(frames)
    assert str(list(frames.shape)) in str(caught.value)


def test_other_backbone_weights_are_noticed(checkpoint, tmp_path):
    copy = tmp_path / "last"
    shutil.copytree(checkpoint, copy)
    state = json.loads((copy / "state.json").read_text())
    weights = torch.load(state["config"]["backbone"]["weights"])
    torch.save({name: value + 1e-3 for name, value in weights.items()}, tmp_path / "other.pt")
    state["config"]["backbone"]["weights"] = str(tmp_path / "other.pt")
    (copy / "state.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match="was trained on other backbone weights"):
        load(copy)
    with pytest.raises(InputError, match="no state.json there"):
        load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_answer_nothing(checkpoint, tmp_path, value):
    shutil.copytree(checkpoint, tmp_path / "last")
    weights = load_file(tmp_path / "last/adapter.safetensors")
    weights["heads.label.bias"][0] = value
    save_file(weights, tmp_path / "last/adapter.safetensors")
    with pytest.raises(InputError, match=r"checkpoint .*last: weights that are not finite .heads.label.bias.; use"):
        load(tmp_path / "last")


def test_it_needs_neither_ray_nor_mlflow(checkpoint):
    program = (
        "import sys, torch; from objadapt.video_model import load; model = load(sys.argv[1]);"
        "print(tuple(model(torch.zeros(1, 4, 32, 32, 3, dtype=torch.uint8)).logits['label'].shape));"
        "print({'ray', 'mlflow', 'optuna'} & sys.modules.keys() or 'neither')"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "platform")}
    done = subprocess.run([sys.executable, "-c", program, checkpoint], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(1, 16)\nneither\n"
