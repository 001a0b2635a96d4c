"""jobs/train.py with what keeps a training from learning clips by heart: streamed, kept, evaluated, ended early."""

import json

import pytest

from objadapt.config import Experiment, Transform
from objadapt.pipeline.cache import cache_key

pytestmark = pytest.mark.slow

MIXED = ["training.mixup=0.4", "training.cutmix=1.0", "training.class_balance=sampling", "training.repeats=2"]
SMOOTHED = ["transform.random_erasing=0.5", "training.ema=0.8"]


@pytest.mark.parametrize("method", ["object_centric", "st_adapter"])
def test_what_was_validated_is_what_its_checkpoint_gives(method, run_job, tiny_config, local_ray, tmp_path):
    """Frames and features; the clips of a batch come from the stream, each under two augmentations."""
    of = {"st_adapter": ["method.name=st_adapter", "method.label_smoothing=0.1"]}.get(method, [])
    arguments = [f"output={tmp_path}", *MIXED, *SMOOTHED, *of]
    done = run_job("train", "--config", tiny_config, "--json", tmp_path / "summary.json", *arguments)
    assert done.code == 0, done.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["decoded_by_pyav"] + summary["decoded_by_decord"] == 48, "each clip is counted once"
    folder = next((tmp_path / "runs").glob("tiny-seed0-*"))
    assert (folder / "last" / "learning.safetensors").exists()
    found = run_job("evaluate", folder, "--json", tmp_path / "evaluated.json")
    assert found.code == 0, found.err
    assert json.loads((tmp_path / "evaluated.json").read_text())["top1"] == summary["top1"]


def test_patience_is_said_at_the_end(run_job, tiny_config, local_ray, tmp_path):
    asked = ["training.patience=1", "data.holdout=0.5", "training.epochs=12", "training.lr=1.0e-7", "training.min_lr=0"]
    arguments = ["--config", tiny_config, f"output={tmp_path}", *asked, "stream.hold=true"]
    done = run_job("train", *arguments, "--json", tmp_path / "summary.json")
    assert done.code == 0, done.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["epochs"] < 12 and f"behind epoch {summary['epochs']} of 12" in summary["ended"]
    assert "ended      behind epoch" in done.out
    other = run_job("train", *arguments, "--json", tmp_path / "again.json")
    assert other.code == 0 and json.loads((tmp_path / "again.json").read_text()) == summary


def test_sources_count_where_they_decide_what_is_learnt(tiny_plan):
    usual = tiny_plan().method_sources
    assert not any("objective" in name or "average" in name for name in usual)
    mixed = tiny_plan("training.mixup=0.4").method_sources
    assert mixed.keys() - usual.keys() == {
        f"objadapt.training.{name}" for name in ("objective", "mixing", "class_balance")
    }
    assert tiny_plan("training.ema=0.9").method_sources.keys() - usual.keys() == {"objadapt.training.average"}
    assert tiny_plan("training.patience=3", "data.holdout=0.5").method_sources == usual


def test_caches_keep_their_keys_and_erased_clips_have_features_of_their_own():
    erased = [Experiment(transform=Transform(random_erasing=share)) for share in (0.0, 0.25, 0.5)]
    keys = [cache_key(config, "weights", 32, False, "clips") for config in erased]
    assert len(set(keys)) == 3
    assert cache_key(Experiment(), "w", 32, False, "clips") == "f7e1a8c6b626", "of a time before random erasing"
