"""What an evaluation leaves behind, and how a training's end is told."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from objadapt.evaluation.recognition import Recognition, Seen
from objadapt.runs.earlier import write_run
from objadapt.runs.kept import confusion_of, keep, keep_training, per_class, per_class_figure, worst_clips
from objadapt.runs.result_text import linear_probe, result_text

NAMES = ["grow", "shrink", "turn round and round until the very end"]
CLASSES = {"label": NAMES}


def clip(number: int, true: int | None, probabilities: list[float]) -> dict:
    order = sorted(range(len(NAMES)), key=lambda one: -probabilities[one])
    said = {
        "true": None if true is None else NAMES[true],
        "rank": None if true is None else order.index(true) + 1,
        "top": [NAMES[one] for one in order],
        "probabilities": probabilities,
    }
    shown = {"clip_id": f"c{number}", "path": f"videos/c{number}.mp4", "split": "val", "views": 1, "problem": None}
    return shown | {"heads": {"label": said}}


CLIPS = [
    clip(0, 0, [0.8, 0.1, 0.1]),
    clip(1, 0, [0.3, 0.6, 0.1]),
    clip(2, 1, [0.9, 0.02, 0.08]),
    clip(3, None, [0.2, 0.2, 0.6]),
    {"clip_id": "c4", "path": "c4.mp4", "split": "val", "views": 0, "problem": "open: no video", "heads": {}},
]


def test_confusion_and_accuracy_of_each_class():
    confusion = confusion_of(CLIPS, "label", NAMES)
    assert confusion.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0]]
    table = per_class(confusion, NAMES)
    assert table["class"].to_list() == ["shrink", "grow", NAMES[2]] and table["clips"].to_list() == [1, 2, 0]
    assert table["accuracy"][:2].to_list() == [0.0, 0.5] and np.isnan(table["accuracy"][2])


def test_the_surest_mistakes_come_first():
    worst = worst_clips(CLIPS, CLASSES)
    assert worst["clip_id"].to_list() == ["c2", "c1"]
    first = worst.iloc[0]
    assert (first["true"], first["predicted"], first["path"]) == ("shrink", "grow", "videos/c2.mp4")
    assert (first["of_true"], first["of_predicted"]) == (0.02, 0.9)


def test_all_of_it_lies_in_the_folder(tmp_path):
    figures = keep(tmp_path, CLIPS, CLASSES, {})
    assert set(figures) == {"confusion_label.png", "per_class_accuracy_label.png"}
    assert all((tmp_path / "figures" / name).stat().st_size > 5000 for name in figures)
    predicted = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)
    assert predicted["path"].to_list() == [one["path"] for one in CLIPS]
    assert predicted["label: grow"].to_list() == ["0.8", "0.3", "0.9", "0.2", ""]
    confusion = pd.read_csv(tmp_path / "confusion_label.csv", index_col="true")
    assert confusion.loc["grow", "shrink"] == 1 and list(confusion) == NAMES
    keep(tmp_path / "unlabelled", CLIPS[3:], CLASSES, {})
    assert not list((tmp_path / "unlabelled").glob("confusion*")), "clips without labels have none"


@pytest.mark.parametrize("classes", [3, 174])
def test_no_name_and_no_number_of_the_figure_is_cut_off(classes, tmp_path):
    names = [f"{NAMES[2]} {number}" for number in range(classes)]
    table = pd.DataFrame({"class": names, "clips": 1234, "accuracy": np.linspace(0, 1, classes)})
    figure = per_class_figure(table, "label")
    figure.savefig(tmp_path / "figure.png")
    width, height = figure.bbox.width, figure.bbox.height
    axes = figure.axes[0]
    for text in [*axes.get_yticklabels(), *axes.texts, axes.xaxis.label]:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width + 1 and box.y1 <= height + 1, text.get_text()


def test_probabilities_come_back_from_the_disk(tmp_path):
    recognition = Recognition({"label": 3})
    batch = {"row": torch.tensor([5, 2]), "valid": torch.tensor([True, True]), "labels": torch.tensor([[1], [-1]])}
    recognition.update({"label": torch.randn(2, 3)}, batch)
    scores = recognition.compute()
    scores.clip_probabilities().to_parquet(tmp_path / "probabilities.parquet")
    seen = Seen.of(pd.read_parquet(tmp_path / "probabilities.parquet"), {"label": 3})
    pd.testing.assert_frame_equal(seen.seen, scores.seen)
    assert torch.equal(seen.probabilities["label"], scores.probabilities["label"])


@pytest.fixture
def finished(tiny_plan, tmp_path):
    """A plan with the results of a training in its folder, and its summary."""
    plan = tiny_plan(f"output={tmp_path}", "name=mine")
    write_run(plan)
    rows = plan.schedule.val_rows
    recognition, labels = Recognition(plan.manifest.heads), torch.tensor(plan.labels[rows[1:]])
    logits = torch.zeros(len(labels), 16).scatter(1, labels, 4.0).roll(1, dims=0)
    valid = torch.ones(len(labels), dtype=torch.bool)
    recognition.update({"label": logits}, {"row": torch.tensor(rows[1:]), "valid": valid, "labels": labels})
    recognition.compute().clip_probabilities().to_parquet(plan.folder / "probabilities.parquet")
    reason = [int(rows[0]), "open", "moov atom not found"]
    keep_training(plan, {"val_clips": 15, "quarantine": [reason]}, plan.folder, "4 x 1 x 1")
    bad = plan.manifest.table.iloc[rows[0]]
    table = pd.DataFrame(
        [[bad["clip_id"], bad["path"], "val", *reason[1:]]], columns="clip_id path split stage reason".split()
    )
    table.to_csv(plan.folder / "quarantine.csv", index=False)
    return plan, {
        "method": "objadapt.methods.object_centric.adapter",
        "top1": 0.25,
        "chance": 0.0625,
        "views": "4 x 1 x 1",
        "num_train_clips": 32,
        "num_val_clips": 15,
        "coverage": plan.manifest.coverage,
        "best": {"epoch": 1, "top1": 0.3125},
        "epochs": 2,
        "quarantined": 1,
        "data_wait_share": 0.031,
        "seconds": 61.2,
        "device": "cpu",
        "tunable_parameters": 123456,
        "mlflow_uri": f"sqlite:///{tmp_path}/mlflow.db",
        "mlflow_experiment_id": "7",
    }


def test_the_end_of_a_training_names_what_matters(finished):
    plan, summary = finished
    lines = result_text(plan, summary, plan.folder).splitlines()
    assert lines[0] == "top-1      25.0 % of 15 validation clips in 4 x 1 x 1 views; chance 6.2 %"
    assert lines[1] == "best epoch 1, with 31.2 %: in best/; the last of 2 is above"
    assert lines[3].startswith("left out   1 clip could not be used; all are in ") and lines[4].endswith(
        ": open: moov atom not found"
    )
    assert lines[5].startswith("worst      ") and " %, said " in lines[5]
    assert (
        "time       61 s on cpu; the last epoch waited 3 % of its time for clips; 123,456 parameters learned" in lines
    )
    assert lines[-1].endswith("then http://127.0.0.1:5000/#/experiments/7/runs?workflowType=machine_learning")
    assert not any(plan.identity in line for line in lines if "run  " not in line and str(plan.folder) not in line)


def test_a_linear_probe_of_the_same_clips_stands_beside_it(finished, tiny_plan, tmp_path):
    plan, summary = finished
    assert linear_probe(plan) is None
    probe = tiny_plan(f"output={tmp_path}", "name=probe", "method.name=linear_probe")
    write_run(probe)
    told = {"method": "objadapt.methods.linear_probe", "top1": 0.5}
    (probe.folder / "summary.json").write_text(json.dumps(told))
    assert linear_probe(plan) == 0.5
    assert "linear probe 50.0 %" in result_text(plan, summary, plan.folder)
    record = json.loads((probe.folder / "run.json").read_text()) | {"manifest_hash": "other clips"}
    (probe.folder / "run.json").write_text(json.dumps(record))
    assert linear_probe(plan) is None
