"""Evaluating a checkpoint: the same answer off the stream, from the cache and by two workers,
for every clip of any split.
"""

import csv
import json
import shutil
import tempfile

import numpy as np
import pandas as pd
import pytest
import torch

from objadapt.data.manifest import Manifest
from objadapt.errors import InputError
from objadapt.evaluation.recognition import Recognition
from objadapt.runs.clip_predictions import predictions, write_predictions
from objadapt.runs.evaluate import _scratch, declare, evaluate_checkpoint
from objadapt.runs.feature_caches import ensure_features
from objadapt.training.trainer import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cached(tiny_plan, local_ray, tmp_path_factory):
    """A training from a cache that holds two test views a clip, in this process."""
    output = tmp_path_factory.mktemp("cached")
    views = ["evaluation.temporal_clips=2", "training.epochs=1", "stream.views=1"]
    plan = tiny_plan(f"output={output}", f"stream.cache={output}/features", "training.warmup_epochs=0.5", *views)
    ensure_features([plan])
    train(plan)
    return plan


def look(plan, *overrides: str, split: str = "val"):
    return evaluate_checkpoint(declare(str(plan.folder / "last"), list(overrides), split))


def assert_same(one: list[dict], other: list[dict], **close) -> None:
    assert [clip["clip_id"] for clip in one] == [clip["clip_id"] for clip in other]
    for mine, theirs in zip(one, other, strict=False):
        assert mine["views"] == theirs["views"] and mine["heads"].keys() == theirs["heads"].keys()
        for head in mine["heads"]:
            assert mine["heads"][head]["probabilities"] == pytest.approx(
                theirs["heads"][head]["probabilities"], **close
            )


def test_the_cache_the_stream_and_held_features_give_the_same_answer(cached, caplog):
    from_cache, clips = look(cached)
    assert from_cache["features"] == "cache" and from_cache["num_val_clips"] == 16 and "streamed" not in caplog.text
    streamed, others = look(cached, "stream.cache=null")
    assert streamed["features"] == "streamed"
    assert_same(clips, others, abs=1e-5)
    # encoded before, as in a training that holds them
    held, again = look(cached, "stream.cache=null", "stream.hold=true")
    assert held["features"] == "held"
    assert_same(clips, again, abs=1e-5)
    alike = (
        "top1",
        "top5",
        "mean_class_accuracy",
        "chance",
        "views",
        "quarantined",
        "decoded_by_decord",
        "decoded_by_pyav",
    )
    assert {name: from_cache[name] for name in alike} == {name: streamed[name] for name in alike}
    kept = pd.read_parquet(cached.folder / "clips.parquet")  # of the training's own validation
    assert [clip["heads"]["label"]["rank"] for clip in clips] == (kept["rank"] + 1).tolist()
    best = [max(clip["heads"]["label"]["probabilities"]) for clip in clips]
    assert best == pytest.approx(kept["probability"].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("overrides", "split", "said"),
    [
        (["evaluation.temporal_clips=1"], "val", "its temporal_clips is 2, not 1"),
        (["sampling.frames=3"], "val", "it holds T = 4, not 3"),
        ([], "train", "it holds 0 test views of training clips, not 1"),
        (["stream.cache=nowhere"], "val", "there is none"),
    ],
)
def test_what_the_cache_does_not_hold_is_said_and_streamed(cached, caplog, overrides, split, said):
    found = declare(str(cached.folder / "last"), overrides, split)
    assert found.cache is None and found.plan.config.stream.cache is None
    assert (
        "the features are streamed, since the cache cannot serve this: stream.cache: " in caplog.text
        and said in caplog.text
    )


@pytest.mark.parametrize("features", ["cache", "streamed"])
def test_two_workers_give_the_answer_of_one(cached, features):
    where = [] if features == "cache" else ["stream.cache=null"]
    # the last batch is padded
    placed = [
        "training.batch_size=12",
        "stream.encoder_cpus=0.25",
        "stream.decode_cpus=0.25",
    ]
    one, clips = look(cached, *where, *placed)
    two, others = look(cached, *where, *placed, "stream.num_workers=2")
    assert one["features"] == two["features"] == features
    assert_same(clips, others, abs=1e-5)
    assert {**one, "top1": None} == {**two, "top1": None} and one["top1"] == two["top1"]


def test_nothing_is_written_to_the_output_folder_of_a_single_machine(cached, tmp_path, monkeypatch):
    """It may be another user's, or a relative one of another working directory."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    summary, _ = look(cached, f"output={tmp_path}/file/outputs")
    assert summary["num_val_clips"] == 16 and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_the_nodes_of_a_cluster_share_is_the_output_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "somewhere")
    assert _scratch(tmp_path / "outputs").parent == tmp_path / "outputs"
    (tmp_path / "file").touch()
    with pytest.raises(
        InputError, match=f"^output: {tmp_path}/file/x cannot be written .Not a directory.; give output=FOLDER"
    ):
        _scratch(tmp_path / "file" / "x")


def test_training_clips_are_looked_at_in_test_views(cached):
    summary, clips = look(cached, "evaluation.temporal_clips=1", split="train")
    assert (
        summary["split"] == "train"
        and summary["num_train_clips"] == len(clips) == 32
        and "num_val_clips" not in summary
    )
    assert summary["coverage"] == {"train": {"found": 32, "listed": 32}}
    assert {clip["split"] for clip in clips} == {"train"} and {clip["views"] for clip in clips} == {1}


@pytest.fixture
def unlabelled(toy_root, tmp_path):
    """Overrides for two unlabelled test clips, one of them no video,
    and a labelled training clip of each of two classes.
    """
    for name, video in zip(("a.mp4", "b.mp4", "c.mp4"), sorted((toy_root / "videos").iterdir()), strict=False):
        shutil.copy(video, tmp_path / name)
    (tmp_path / "d.mp4").write_text("no video")
    return tmp_path


def test_test_clips_without_labels_are_predicted(cached, unlabelled, caplog):
    (unlabelled / "labels.csv").write_text("path,split\nc.mp4,test\nd.mp4,test\na.mp4,val\n")
    data = [
        "data.format=csv",
        f"data.root={unlabelled}",
        "data.labels=null",
        "data.label_column=''",
        "stream.cache=null",
    ]
    summary, clips = look(cached, *data, split="test")
    assert summary["num_test_clips"] == 1 and summary["num_labelled_clips"] == 0 and summary["quarantined"] == 1
    assert not {"top1", "top5", "mean_class_accuracy", "chance"} & summary.keys()
    good, bad = clips
    assert (good["clip_id"], good["problem"], good["views"]) == ("c.mp4", None, 2)
    said = good["heads"]["label"]
    assert said["true"] is None and said["rank"] is None and sum(said["probabilities"]) == pytest.approx(1, abs=1e-5)
    order = np.argsort(said["probabilities"])[::-1][:5]
    assert said["top"] == [cached.manifest.classes["label"][one] for one in order]
    assert (
        bad["clip_id"] == "d.mp4" and bad["views"] == 0 and bad["heads"] == {} and bad["problem"].startswith("open: ")
    )


def test_a_split_that_is_not_there_is_named(cached):
    with pytest.raises(InputError, match="data.root: no test clips in .*, only train, val; check"):
        look(cached, split="test")
    with pytest.raises(InputError, match="--split: 'dev' is not one of train, val, test"):
        look(cached, split="dev")


def two_heads() -> tuple[Manifest, Recognition]:
    """Three clips of EPIC's form, each in two views.

    The last has a verb alone, and of the second one view is missing.
    """
    table = pd.DataFrame(
        {
            "clip_id": ["x", "y", "z"],
            "path": ["x.mp4"] * 3,
            "start_s": 0.0,
            "end_s": 1.0,
            "verb_label": [0, 1, 2],
            "noun_label": [3, 0, -1],
            "split": "val",
        }
    )
    classes = {"verb_label": ["take", "put", "cut"], "noun_label": ["cup", "knife", "pan", "tap"]}
    found = Recognition({"verb_label": 3, "noun_label": 4})
    generator = torch.Generator().manual_seed(0)
    for view in range(2):
        logits = {head: torch.randn(3, len(names), generator=generator) for head, names in classes.items()}
        labels = torch.tensor(table[list(classes)].to_numpy())
        valid = torch.tensor([True, view == 0, True])
        found.update(logits, {"row": torch.arange(3), "valid": valid, "labels": labels})
    return Manifest(table, classes, {}, True), found


def test_predictions_of_two_heads_as_csv_and_json(tmp_path):
    manifest, found = two_heads()
    scores = found.compute()
    clips = predictions(scores, manifest, "val", {1: ("decode", "cut short")})
    about = {"checkpoint": "last", "split": "val", "views": "8 x 2 x 1"}
    for name in ("p.csv", "p.json"):
        write_predictions(str(tmp_path / name), clips, manifest.classes, about)
    tree = json.loads((tmp_path / "p.json").read_text())
    assert tree["classes"] == manifest.classes and tree["split"] == "val"
    with open(tmp_path / "p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip_id"] for row in rows] == [clip["clip_id"] for clip in tree["clips"]] == ["x", "y", "z"]
    assert [row["views"] for row in rows] == ["2", "1", "2"] and [row["problem"] for row in rows] == [
        "",
        "decode: cut short",
        "",
    ]
    for number, (row, clip) in enumerate(zip(rows, tree["clips"], strict=False)):
        products = {}
        for head, names in manifest.classes.items():
            values = [float(row[f"{head}: {name}"]) for name in names]
            assert values == clip["heads"][head]["probabilities"] and sum(values) == pytest.approx(1, abs=1e-5)
            assert values == pytest.approx(scores.probabilities[head][number].tolist(), abs=1e-6)
            true = manifest.table[head][number]
            prefix = head.removesuffix("label")
            expected = sum(value > values[true] for value in values) + 1 if true >= 0 else ""
            assert row[f"{prefix}rank"] == str(expected) and row[f"{prefix}true"] == (names[true] if true >= 0 else "")
            best = sorted(range(len(names)), key=lambda one: -values[one])[:5]
            assert [row[f"{prefix}top{place}"] for place in range(1, len(best) + 1)] == [names[one] for one in best]
            assert row[f"{prefix}top5"] == ""
            products[head] = dict(zip(names, values, strict=False))
        actions = {
            f"{v} {n}": p * q for v, p in products["verb_label"].items() for n, q in products["noun_label"].items()
        }
        ranked = sorted(actions, key=lambda name: -actions[name])
        assert [row[f"action_top{place}"] for place in range(1, 6)] == ranked[:5]
        true = manifest.table["noun_label"][number] >= 0 and f"{row['verb_true']} {row['noun_true']}"
        assert row["action_true"] == (true or "") and row["action_rank"] == (
            str(ranked.index(true) + 1) if true else ""
        )
