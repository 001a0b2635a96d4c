"""An exported folder is the model: same answers, its backbone named by hash, numbers of its run, no place of here."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from safetensors.torch import load_file

from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.export import whole
from objadapt.export.model_card import model_card
from objadapt.export.whole import Whole, example, exported_program
from objadapt.training.state import read_state
from objadapt.video_model import VideoModel, load

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_folder(trained) -> Path:
    return Path(json.loads(trained.json.read_text())["checkpoint"]).parent


@pytest.fixture(scope="module")
def exported(run_folder, run_job, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "mine"
    done = run_job("export", "--checkpoint", run_folder, "--output", folder, "--whole")
    assert done.code == 0, done.err
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "README.md", "model.pt2"}
    return folder


@pytest.fixture(scope="module")
def weights(run_folder) -> str:
    return read_state(run_folder / "last").config["backbone"]["weights"]


def test_it_is_the_model(exported, run_folder, weights):
    model, again = load(run_folder / "last"), load(exported, [f"backbone.weights={weights}"])
    frames = torch.randint(0, 256, (3, 4, 50, 70, 3), dtype=torch.uint8)
    assert torch.equal(model(frames).logits["label"], again(frames).logits["label"])
    assert again.classes == model.classes
    learned = load_file(exported / "model.safetensors")
    assert learned.keys() == model.method.learned_state().keys() and not any("encoder" in name for name in learned)


def test_the_config_names_the_backbone_and_no_place_of_this_machine(exported, weights):
    config = json.loads((exported / "config.json").read_text())
    assert config["backbone"]["sha256"] == hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    assert config["backbone"]["weights"] == Path(weights).name
    assert config["format"] == 2 and config["heads"] == {"label": 16} and len(config["classes"]["label"]) == 16
    assert config["method"]["slots"]["number"] == 3 and config["sampling"]["frames"] == 4
    assert config["transform"]["size"] == 32 and config["clip_seconds"] == pytest.approx(1.0, abs=0.3)
    text = (exported / "config.json").read_text() + (exported / "README.md").read_text()
    assert not re.search(r"(?<![\w./-])/\w+/\w", text), "an absolute path"


def test_other_backbone_weights_are_refused(exported, weights, tmp_path):
    with pytest.raises(InputError, match=f"backbone.weights: {Path(weights).name} is not a file"):
        load(exported)
    other = {name: value + 1e-3 for name, value in torch.load(weights).items()}
    torch.save(other, tmp_path / "other.pt")
    with pytest.raises(InputError, match="was trained on other backbone weights"):
        load(exported, [f"backbone.weights={tmp_path / 'other.pt'}"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99, "objadapt": "9.0"}, "written by a newer objadapt"),
        ({"backbone": None}, "config.json is damaged"),
        ({"classes": 3}, "config.json is damaged"),
        (None, "config.json is damaged"),
    ],
)
def test_a_damaged_config_is_one_line(exported, tmp_path, change, said):
    folder = tmp_path / "damaged"
    shutil.copytree(exported, folder, ignore=shutil.ignore_patterns("*.pt2"))
    tree = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text("{" if change is None else json.dumps(tree | change))
    with pytest.raises(InputError, match=said):
        load(folder)


def test_the_card_says_what_the_run_said(exported, run_folder):
    _, front, text = (exported / "README.md").read_text().split("---\n", 2)
    card, summary = yaml.safe_load(front), json.loads((run_folder / "summary.json").read_text())
    assert card["license"] == "unknown" and card["pipeline_tag"] == "video-classification"
    (result,) = card["model-index"][0]["results"]
    values = {one["name"]: one["value"] for one in result["metrics"]}
    assert values["top-1 accuracy"] == pytest.approx(summary["top1"], abs=1e-4)
    assert f"| top-1 accuracy | {100 * summary['top1']:.1f} % |" in text
    assert "These are toy numbers" in text and "Object Actions (toy data)" in text
    assert f"{summary['tunable_parameters']:,}" in text and summary["identity"] in text
    assert "licence of these weights is not known" in text


def test_a_checkpoint_elsewhere_has_the_numbers_that_it_carries(exported, run_folder, tmp_path):
    shutil.copytree(run_folder / "last", tmp_path / "copy")
    config = json.loads((exported / "config.json").read_text())
    state = read_state(tmp_path / "copy")
    assert f"{100 * state.metrics['val/top1']:.1f} %" in model_card(tmp_path / "copy", state, config, {})
    state.metrics = {}
    assert "None is known" in model_card(tmp_path / "copy", state, config, {})


def test_a_model_with_other_settings_has_no_scores_of_its_run(run_folder, run_job, tmp_path):
    """Its card gave the run's accuracy beside settings under which nothing was scored."""
    (tmp_path / "mine.part").mkdir()
    (tmp_path / "mine.part" / "kept").touch()
    call = ["export", "--checkpoint", run_folder, "--output", tmp_path / "mine", "sampling.mode=dense"]
    done = run_job(*call, "sampling.stride=1")
    assert done.code == 0, done.err
    card = (tmp_path / "mine" / "README.md").read_text()
    said = "None is known of this model: its training had other settings than `sampling.mode=dense sampling.stride=1`."
    assert said in card and "model-index" not in card and "GFLOPs" not in card and "top-1" not in card
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "mine.part"}
    assert (tmp_path / "mine.part" / "kept").exists(), "a folder of the user's"


def test_a_folder_that_holds_something_is_left_alone(exported, run_folder, run_job, tmp_path):
    (tmp_path / "mine").write_text("kept")
    for folder in (exported, tmp_path):
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        done = run_job("export", "--checkpoint", run_folder, "--output", folder)
        assert done.code == 2 and "is there already and not empty" in done.err
        assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_the_whole_says_what_the_model_says(exported, run_folder):
    """For numbers of clips that it was not traced with; `torch.export.load` knows nothing of objadapt."""
    model, program = load(run_folder / "last"), torch.export.load(exported / "model.pt2").module()
    for clips in (1, 2, 5):
        frames = example(model, clips, seed=clips)
        (logits,) = program(frames)
        assert logits.shape == (clips, 16)
        torch.testing.assert_close(logits, model(frames).logits["label"], atol=2e-3, rtol=0)
    assert not torch.equal(program(example(model, 1, 1))[0], program(example(model, 1, 2))[0])


@pytest.mark.parametrize(
    "name", ["linear_probe", "attentive_probe", "temporal_transformer", "st_adapter", "aim", "evl", "timesformer"]
)
def test_every_method_is_exported_whole(tiny_config, name):
    config = load_config(tiny_config, [f"method.name={name}"])
    model = VideoModel(config, {"verb_label": ["a", "b", "c"], "noun_label": ["d", "e"]}).eval()
    program = exported_program(model).module()
    frames = example(model, 3)
    expected, found = model(frames).logits, program(frames)
    assert [one.shape for one in found] == [(3, 3), (3, 2)]
    for one, logits in zip(found, expected.values(), strict=True):
        torch.testing.assert_close(one, logits, atol=2e-3, rtol=0)


def test_eager_whole_is_the_model(run_folder):
    model = load(run_folder / "last")
    frames = example(model, 2)
    torch.testing.assert_close(Whole(model)(frames)[0], model(frames).logits["label"], atol=2e-3, rtol=0)


def test_the_onnx_file_says_what_the_model_says(run_folder, run_job, tmp_path):
    """In onnxruntime, which knows nothing of torch, and with all weights in the one file."""
    folder = tmp_path / "mine"
    done = run_job("export", "--checkpoint", run_folder, "--output", folder, "--onnx")
    assert done.code == 0, done.err
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "README.md", "model.onnx"}
    alone = tmp_path / "alone.onnx"
    shutil.move(folder / "model.onnx", alone)
    onnx.checker.check_model(alone)
    session, model = onnxruntime.InferenceSession(alone, providers=["CPUExecutionProvider"]), load(run_folder / "last")
    assert model.config.method.name == "object_centric"
    (given,) = session.get_inputs()
    for clips in (1, 2, 5):
        frames = example(model, clips, seed=clips)
        (logits,) = session.run(None, {given.name: frames.numpy()})
        assert logits.shape == (clips, 16)
        torch.testing.assert_close(torch.from_numpy(logits), model(frames).logits["label"], atol=2e-3, rtol=0)
    first, second = (session.run(None, {given.name: example(model, 1, seed).numpy()})[0] for seed in (1, 2))
    assert not np.allclose(first, second, atol=1e-4)


def test_an_onnx_file_that_says_something_else_is_not_kept(run_folder, run_job, tmp_path, monkeypatch):
    monkeypatch.setattr(whole, "TOLERANCE", -1.0)
    done = run_job("export", "--checkpoint", run_folder, "--output", tmp_path / "mine", "--onnx")
    assert done.code == 2 and "--onnx: the logits of label differ by" in done.err and not (tmp_path / "mine").exists()
