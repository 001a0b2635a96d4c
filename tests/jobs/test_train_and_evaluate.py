"""The whole way as a user goes it: train.py streams, trains and tracks; evaluate.py gives the same numbers again."""

import csv
import json
import re
import shutil
import signal
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import ray
import torch
from safetensors.torch import load_file

from objadapt.config import Sampling
from objadapt.data.clip import read_clip
from objadapt.data.probe import DecodeError


@pytest.fixture(scope="module")
def summary(trained) -> dict:
    return json.loads(trained.json.read_text())


@pytest.fixture(scope="module")
def tracked(summary) -> tuple[mlflow.MlflowClient, mlflow.entities.Run]:
    client = mlflow.MlflowClient(tracking_uri=summary["mlflow_uri"])
    return client, client.get_run(summary["mlflow_run_id"])


def artifacts(client, run_id: str, folder: str | None = None) -> set[str]:
    found = set()
    for entry in client.list_artifacts(run_id, folder):
        found |= artifacts(client, run_id, entry.path) if entry.is_dir else {entry.path}
    return found


def test_the_run_is_told_to_people_and_as_json(trained, summary):
    folder = Path(summary["checkpoint"]).parent
    assert folder.parent == trained.output / "runs" and folder.name.startswith("tiny-run-seed0-")
    assert f"run      {folder}\n" in trained.job.out
    assert "data     train 32 of 32, val 16 of 16 videos; 32 training clips used\n" in trained.job.out
    reached = f"{100 * summary['top1']:.1f} % of 16 validation clips in 4 x 1 x 1 views; chance 6.2 %"
    assert f"top-1      {reached}\n" in trained.job.out
    assert "train 32 of 32, val 16 of 16 videos; 32 trained on, 16 validated\n" in trained.job.out
    link = trained.output / "runs" / "tiny-run"
    assert f"run        {link} -> {folder.name}\n" in trained.job.out and link.resolve() == folder
    _, _, after = trained.job.out.partition("\nnext\n")
    evaluate, segment, dashboard = after.splitlines()
    assert (
        "evaluate" in evaluate
        and "tiny-run/last --video" in segment
        and dashboard.startswith("  make dashboard STORE=")
    )
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["num_train_clips"] == 32 and summary["num_val_clips"] == 16 and summary["epochs"] == 2
    assert summary["decoded_by_decord"] + summary["decoded_by_pyav"] == 48


def test_the_mlflow_run_is_complete(trained, summary, tracked):
    client, run = tracked
    assert summary["mlflow_uri"] == f"sqlite:///{trained.output}/mlflow.db" and summary["tracked"] is True
    assert run.info.status == "FINISHED" and run.info.run_name.startswith("tiny-run, seed 0: frames=4 ")
    assert run.data.params["method.slots.number"] == "3" and run.data.params["method.losses.temporal.margin"] == "0.3"
    assert run.data.tags["coverage"] == "train 32 of 32, val 16 of 16 videos" and run.data.tags["views"] == "4 x 1 x 1"
    assert run.data.tags["identity"] == summary["identity"]
    assert run.data.tags["code_version"] == summary["code_version"] != "unknown"
    for metric, steps in (
        ("step/total", range(1, 9)),
        ("step/lr", range(1, 9)),
        ("step/grad_norm", range(1, 9)),
        ("epoch/train/total", (1, 2)),
        ("epoch/train/data_wait_share", (1, 2)),
        ("epoch/val/top1", (1, 2)),
        ("final/top1", (2,)),
    ):
        assert [one.step for one in client.get_metric_history(run.info.run_id, metric)] == list(steps), metric
    assert run.data.metrics["final/top1"] == summary["top1"]


def test_artifacts_of_the_run(summary, tracked):
    client, run = tracked
    kept = artifacts(client, run.info.run_id)
    assert {
        "config.yaml",
        "clips.parquet",
        "predictions.csv",
        "worst.csv",
        "quarantine.json",
        "per_class_accuracy_label.json",
        "figures/confusion_label.png",
        "figures/per_class_accuracy_label.png",
        "checkpoints/last/adapter.safetensors",
        "checkpoints/last/optimiser.pt",
        "checkpoints/last/state.json",
        "checkpoints/best/adapter.safetensors",
    } <= kept
    copy = client.download_artifacts(run.info.run_id, "checkpoints/last/adapter.safetensors")
    assert load_file(copy).keys() == load_file(Path(summary["checkpoint"]) / "adapter.safetensors").keys()


def test_the_same_command_again_shows_the_finished_run(run_job, tiny_config, trained, summary, tmp_path):
    arguments = [f"output={trained.output}", "tracking.uri=null", "stream.num_workers=1", "name=tiny-run"]
    again = run_job("train", "--config", tiny_config, "--json", tmp_path / "again.json", *arguments)
    assert again.code == 0 and json.loads((tmp_path / "again.json").read_text()) == summary
    finished = "         is finished; delete its folder to train it again"
    assert set(again.out.splitlines()) - {finished} <= set(trained.job.out.splitlines()) and finished in again.out


@pytest.mark.slow
def test_the_same_command_with_other_views_evaluates_the_finished_run(run_job, tiny_config, trained, summary, tmp_path):
    """By a Ray Train worker, as it was trained."""
    arguments = [
        f"output={trained.output}",
        "tracking.uri=null",
        "stream.num_workers=1",
        "name=tiny-run",
        "evaluation.temporal_clips=2",
    ]
    done = run_job("train", "--config", tiny_config, "--json", tmp_path / "two.json", *arguments)
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "two.json").read_text())
    assert (found["views"], found["checkpoint"], found["epochs"]) == ("4 x 2 x 1", summary["checkpoint"], 2)
    done = run_job("evaluate", summary["checkpoint"], "--json", tmp_path / "e.json", "evaluation.temporal_clips=2")
    evaluated = json.loads((tmp_path / "e.json").read_text())
    for name in ("top1", "top5", "mean_class_accuracy", "num_val_clips"):
        assert found[name] == evaluated[name], name
    folder = Path(summary["checkpoint"]).parent
    assert json.loads((folder / "summary.json").read_text()) == summary


@pytest.mark.slow
def test_evaluations_of_other_settings_stand_beside_each_other(run_job, summary, tmp_path):
    """One overwrote the other, and neither said which settings it had."""
    kept = {}
    for name, overrides in {"mine": [], "dense": ["sampling.mode=dense", "sampling.stride=1"]}.items():
        done = run_job("evaluate", summary["checkpoint"], "--json", tmp_path / f"{name}.json", *overrides)
        assert done.code == 0, done.err
        kept[name] = Path(re.search(r"^results +(.+): evaluation.json", done.out, re.MULTILINE).group(1))
        found = json.loads((kept[name] / "evaluation.json").read_text())
        assert found["changed"] == dict(text.split("=") for text in overrides) | (
            {"sampling.stride": 1} if overrides else {}
        )
        assert ("changed    sampling.mode=dense sampling.stride=1; the training had others" in done.out) == bool(
            overrides
        )
    assert kept["mine"] != kept["dense"] and kept["dense"].name.startswith(f"{kept['mine'].name}-")
    mine, dense = ((folder / "predictions.csv").read_bytes() for folder in kept.values())
    assert mine != dense


@pytest.mark.slow
def test_evaluation_gives_the_same_numbers_again(run_job, summary, tmp_path):
    files = ["--predictions", tmp_path / "clips.csv", "--predictions", tmp_path / "clips.json"]
    before = signal.getsignal(signal.SIGINT)
    done = run_job("evaluate", summary["checkpoint"], "--json", tmp_path / "e.json", *files)
    assert done.code == 0, done.err
    assert signal.getsignal(signal.SIGINT) == before, "Ray Train's own would end the process with exit code 0"
    evaluated = json.loads((tmp_path / "e.json").read_text())
    kept = Path(
        re.search(r"^results +(.+): evaluation.json", done.out, re.MULTILINE).group(1)
    )  # other views stand beside it
    assert kept.parent == Path(summary["checkpoint"]).parent / "evaluations" and kept.name.startswith("last-val-")
    assert (kept / "predictions.csv").read_bytes() == (tmp_path / "clips.csv").read_bytes()
    assert (kept / "worst.csv").exists() and (kept / "figures" / "confusion_label.png").exists()
    assert json.loads((kept / "evaluation.json").read_text()) == evaluated
    client = mlflow.MlflowClient(tracking_uri=summary["mlflow_uri"])
    assert f"evaluations/{kept.name}/predictions.csv" in artifacts(client, summary["mlflow_run_id"])
    for name in (
        "top1",
        "top5",
        "mean_class_accuracy",
        "chance",
        "num_val_clips",
        "views",
        "short_clips",
        "quarantined",
    ):
        assert evaluated[name] == summary[name], name
    clips = pd.read_csv(tmp_path / "clips.csv")
    assert (
        len(clips) == 16 and (clips["true"] == clips["top1"]).mean() == summary["top1"] == (clips["rank"] == 1).mean()
    )
    assert "placement  1 encoder on CPUs in float32, 1 training worker on CPUs\n" in done.out
    kept = pd.read_parquet(Path(summary["checkpoint"]).parent / "clips.parquet")
    probabilities = clips[[name for name in clips if name.startswith("label: ")]].to_numpy()
    assert probabilities.shape == (16, 16) and probabilities.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert probabilities.max(axis=1) == pytest.approx(kept["probability"].to_list(), abs=1e-4)
    tree = json.loads((tmp_path / "clips.json").read_text())
    assert [clip["heads"]["label"]["rank"] for clip in tree["clips"]] == clips["rank"].to_list()
    reached = f"{100 * summary['top1']:.1f} % of 16 validation clips in 4 x 1 x 1 views; chance 6.2 %"
    assert f"top-1      {reached}\n" in done.out and "\nnext\n  make dashboard STORE=" in done.out


@pytest.mark.slow
def test_multi_view_testing_says_its_views(run_job, summary, tmp_path):
    views = (
        "evaluation.temporal_clips=2",
        "evaluation.spatial_crops=3",
        "evaluation.reverse=true",
        "stream.num_workers=0",
    )
    done = run_job("evaluate", summary["checkpoint"], "--json", tmp_path / "e.json", *views)
    assert done.code == 0, done.err
    evaluated = json.loads((tmp_path / "e.json").read_text())
    assert evaluated["views"] == "4 x 2 x 3 (frames backwards)" and "4 x 2 x 3 (frames backwards)" in done.out
    assert evaluated["num_val_clips"] == 16


@pytest.mark.slow
@pytest.mark.parametrize("other", ["classes", "weights", "model", "key"])
def test_a_checkpoint_is_not_scored_on_what_it_was_not_made_for(run_job, summary, toy_root, tmp_path, other):
    if other == "classes":
        for split, video in zip(("train", "val"), sorted((toy_root / "videos").iterdir()), strict=False):
            (tmp_path / split / "wave").mkdir(parents=True)
            shutil.copy(video, tmp_path / split / "wave")
        overrides, named = ["data.format=class_folders", f"data.root={tmp_path}"], "classes are not those"
    elif other == "weights":
        state = torch.load(
            json.loads((Path(summary["checkpoint"]) / "state.json").read_text())["config"]["backbone"]["weights"]
        )
        torch.save({name: value + 1e-3 for name, value in state.items()}, tmp_path / "other.pt")
        overrides, named = (
            [f"backbone.weights={tmp_path}/other.pt"],
            "backbone: its weights or normalisation are not those",
        )
    elif other == "model":
        overrides, named = ["method.slots.number=5"], "does not fit this config"
    else:
        overrides, named = ["evaluation.clips=2"], "evaluation.clips"
    done = run_job("evaluate", summary["checkpoint"], *overrides)
    assert done.code == 2 and named in done.err and done.err.count("\n") == 1, done.err


@pytest.mark.slow
def test_broken_files_in_a_folder_are_left_out_and_named(run_job, tiny_config, shared, toy_root, tmp_path, local_ray):
    data, output = tmp_path / "data", tmp_path / "out"
    broken = {"train": [], "val": []}
    videos = sorted((toy_root / "videos").iterdir())
    for number, video in enumerate(videos[:12] + videos[-6:]):
        folder = data / ("train" if number < 12 else "val") / f"class {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, folder)
    for number, path in enumerate(sorted(p for p in (shared / "hostile").iterdir() if p.suffix != ".csv")):
        split = "val" if number % 3 == 0 else "train"
        shutil.copy(path, data / split / f"class {number % 2}")
    for split in broken:
        for path in (path for path in (data / split).rglob("*") if path.is_file()):
            try:
                read_clip(str(path), None, None, Sampling(frames=4))
            except DecodeError:
                broken[split].append(path.name)
    overrides = ["data.format=class_folders", f"data.root={data}", f"output={output}", "training.epochs=1"]
    done = run_job("train", "--config", tiny_config, "--json", tmp_path / "s.json", *overrides)
    assert done.code == 0, done.err
    summary = json.loads((tmp_path / "s.json").read_text())
    with open(Path(summary["checkpoint"]).parent / "quarantine.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    partly = {"corrupt_middle.mp4", "decord_corrupted.mp4"}  # whether they can be used depends on the frames drawn
    named = {Path(row["path"]).name for row in rows}
    assert named - partly == {name for names in broken.values() for name in names} - partly
    assert all(
        row["stage"] in ("open", "demux", "decode") and row["reason"] and "\n" not in row["reason"] for row in rows
    )
    assert summary["quarantined"] == len(rows) >= 9
    for split, count in (("train", summary["num_train_clips"]), ("val", summary["num_val_clips"])):
        listed = sum(path.is_file() for path in (data / split).rglob("*"))
        assert count == listed - sum(row["split"] == split for row in rows)
    assert summary["short_clips"] >= 1  # one_frame.mp4, repeated


@pytest.mark.slow
def test_a_verb_and_a_noun_and_clips_of_no_length(run_job, tiny_config, toy_root, tmp_path, local_ray):
    """Two label columns make two heads; a span of no length is a quarantine row, and the rest is trained on."""
    lines = ["path,verb,noun,split,clip_id,start_s,end_s"]
    for number, video in enumerate(sorted((toy_root / "videos").iterdir())[:20]):
        span = "0.5,0.5" if number in (3, 17) else "0,0.6"
        lines.append(
            f"{video},verb {number % 2},noun {number % 3},{'train' if number < 14 else 'val'},clip {number},{span}"
        )
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    data = [
        "data.format=csv",
        f"data.root={tmp_path}",
        "data.label_column=[verb, noun]",
        f"output={tmp_path}/out",
        "training.epochs=1",
    ]
    done = run_job("train", "--config", tiny_config, "--json", tmp_path / "s.json", *data)
    assert done.code == 0, done.err
    summary = json.loads((tmp_path / "s.json").read_text())
    with open(Path(summary["checkpoint"]).parent / "quarantine.csv", newline="") as file:
        rows = {row["clip_id"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"clip 3", "clip 17"} and summary["quarantined"] == 2
    assert all(
        row["stage"] == "sampling" and "no frame between 0.5 s and 0.5 s" in row["reason"] for row in rows.values()
    )
    assert (summary["num_train_clips"], summary["num_val_clips"]) == (13, 5)
    assert {"verb_top1", "noun_top1", "action_top1"} <= summary.keys()


def test_a_dry_run_shows_what_the_parts_ask_for_beside_what_there_is_and_trains_nothing(
    run_job, tiny_config, local_ray, tmp_path
):
    command = ["--config", tiny_config, "--dry-run", f"output={tmp_path}/out", "stream.trainer_cpus=0.75"]
    shown = run_job("train", *command, "stream.num_workers=1-2", "stream.encoders=3", "stream.encoder_cpus=0.25")
    assert shown.code == 0, shown.err
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert "1 decode task 0.5 CPUs 0 GPUs each" in lines and "3 encoder 0.25 CPUs 0 GPUs each" in lines
    assert "1-2 training worker 0.75 CPUs 0 GPUs each" in lines
    (node,) = [line for line in lines if line.endswith("GB object store")]
    assert f" {ray.cluster_resources()['CPU']:g} CPUs" in node
    assert not (tmp_path / "out").exists()
    refused = run_job("train", *command, "stream.num_workers=8", "stream.trainer_cpus=900")
    assert refused.code == 2 and "need 7200" in refused.err.replace("7201", "7200")
