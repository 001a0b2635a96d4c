"""One plan is one MLflow run and one folder: resumed in its own run, never done twice, complete without a server."""

import json
import logging
import math

import mlflow
import pytest

from objadapt.errors import InputError
from objadapt.experiment.run import quarantine_table, run_experiment
from objadapt.training.worker import SAVE_REQUEST, Stopped

CODE = "c0ffee"


@pytest.fixture
def tiny_run(tiny_plan, tmp_path):
    """2 epochs of 4 batches, each followed by 2 batches of validation; its own folder, the session's MLflow store."""
    return tiny_plan(f"output={tmp_path}", "stream.hold=true", f"name={tmp_path.name}")


class Interrupt:
    """Progress callback: asks for a checkpoint at one batch and ends the training at another."""

    def __init__(self, folder, save_at, at):
        self.folder, self.save_at, self.at, self.calls = folder, save_at, at, 0

    def __call__(self, *_):
        self.calls += 1
        if self.calls == self.save_at:
            (self.folder / SAVE_REQUEST).touch()
        if self.calls == self.at:
            raise KeyboardInterrupt


def runs_named(plan) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(tracking_uri=plan.config.tracking.uri)
    experiment = client.get_experiment_by_name(plan.config.tracking.experiment)
    return client.search_runs([experiment.experiment_id], f"attributes.run_name = '{plan.config.name}, seed {plan.config.seed}'")


def history(plan, run_id: str, metric: str) -> dict[int, list[float]]:
    client, values = mlflow.MlflowClient(tracking_uri=plan.config.tracking.uri), {}
    for one in client.get_metric_history(run_id, metric):
        values.setdefault(one.step, []).append(one.value)
    return values


def records(plan) -> list[dict]:
    return [json.loads(line) for line in (plan.folder / "records.jsonl").read_text().splitlines()]


def test_a_finished_run_is_not_done_twice(tiny_run, held):
    first = run_experiment(tiny_run, CODE, held=held)
    before = {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*")}
    again = run_experiment(tiny_run, "other code", Interrupt(tiny_run.folder, None, at=1), held)
    assert json.loads(json.dumps(first)) == again
    assert {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*")} == before
    assert [run.info.run_id for run in runs_named(tiny_run)] == [first["mlflow_run_id"]]


def test_a_resumed_run_goes_on_in_its_own_mlflow_run_and_loses_no_step(tiny_run, held):
    with pytest.raises(KeyboardInterrupt):
        run_experiment(tiny_run, CODE, Interrupt(tiny_run.folder, save_at=8, at=9), held)  # the second batch of epoch 2
    (stopped,) = runs_named(tiny_run)
    assert stopped.info.status == "KILLED"
    summary = run_experiment(tiny_run, CODE, held=held)
    (finished,) = runs_named(tiny_run)
    assert finished.info.run_id == stopped.info.run_id == summary["mlflow_run_id"]
    assert finished.info.status == "FINISHED" and summary["tracked"] is True
    losses = history(tiny_run, finished.info.run_id, "step/total")
    assert sorted(losses) == list(range(1, 9))
    assert all(len(values) == 1 for values in losses.values())
    assert sorted(history(tiny_run, finished.info.run_id, "epoch/val/top1")) == [1, 2]
    recorded = [line["step"] for line in records(tiny_run) if line["kind"] == "metrics" and "step/total" in line["values"]]
    assert sorted(recorded) == list(range(1, 9))
    mean = sum(values[0] for step, values in losses.items() if step > 4) / 4
    assert mean == pytest.approx(summary["train_loss"], rel=1e-6)


def test_a_server_that_never_answers_costs_nothing_but_the_page(tiny_plan, held, tmp_path, caplog):
    plan = tiny_plan(f"output={tmp_path}", "stream.hold=true", "tracking.uri=http://127.0.0.1:1")
    with caplog.at_level(logging.WARNING):
        summary = run_experiment(plan, CODE, held=held)
    assert summary["tracked"] is False and summary["mlflow_run_id"] is None
    assert f"MLflow at http://127.0.0.1:1 does not answer; records go to {plan.folder / 'records.jsonl'} alone" in caplog.text
    written = records(plan)
    assert [line["kind"] for line in written][0] == "start" and written[-1] == {
        "time": written[-1]["time"], "kind": "finish", "status": "FINISHED"
    }  # fmt: skip
    steps = [line["step"] for line in written if line["kind"] == "metrics" and "step/total" in line["values"]]
    assert steps == list(range(1, 9))
    finals = {name: value for line in written if line["kind"] == "metrics" for name, value in line["values"].items()}
    assert finals["final/top1"] == summary["top1"]
    assert (plan.folder / "summary.json").exists() and (plan.folder / "quarantine.csv").exists()


def test_the_name_and_password_of_a_server_are_written_nowhere(tiny_plan, held, tmp_path):
    plan = tiny_plan(f"output={tmp_path}", "stream.hold=true", "tracking.uri=http://ann:secret@127.0.0.1:1")
    run_experiment(plan, CODE, held=held)
    for path in plan.folder.rglob("*"):
        assert path.is_dir() or b"secret" not in path.read_bytes(), path.name


def test_clips_without_labels_teach_by_the_other_losses(tiny_plan, toy_root, local_ray, tmp_path):
    videos = sorted((toy_root / "videos").iterdir())
    rows = [f"{video},{split}" for split, some in (("train", videos[:8]), ("val", videos[-4:])) for video in some]
    (tmp_path / "clips.csv").write_text("\n".join(["path,split", *rows]) + "\n")
    table = ["data.format=csv", f"data.root={tmp_path}", "data.train=clips.csv", "data.label_column=''"]
    with pytest.raises(InputError, match=r"objective\.classification: no training clip has a label; .* set it to 0"):
        tiny_plan(*table)
    plan = tiny_plan(*table, f"output={tmp_path}/out", "objective.classification=0", "training.epochs=1")
    summary = run_experiment(plan, CODE)
    assert summary["num_train_clips"] == 8 and summary["num_val_clips"] == 4 and math.isnan(summary["top1"])
    assert summary["tracked"] is True and math.isfinite(summary["train_loss"]) and summary["train_loss"] > 0


def test_what_the_summary_says_is_there(tiny_run, held):
    summary = run_experiment(tiny_run, CODE, held=held)
    assert summary["num_train_clips"] == 32 and summary["num_val_clips"] == 16 and summary["quarantined"] == 0
    assert summary["coverage"] == {"train": {"found": 32, "listed": 32}, "val": {"found": 16, "listed": 16}}
    assert summary["views"] == "4 x 1 x 1" and summary["chance"] == 1 / 16
    assert math.isfinite(summary["train_loss"]) and 0 <= summary["top1"] <= summary["top5"] <= 1
    trained = tiny_run.adapter()
    counted = sum(p.numel() for name, p in trained.named_parameters() if not name.startswith(trained.training_only))
    assert summary["tunable_parameters"] == counted
    assert summary["code_version"] == CODE
    empty = quarantine_table(tiny_run, {"quarantine": []})
    assert list(empty.columns) == ["clip_id", "path", "split", "stage", "reason"] and empty.empty


def test_who_watches_the_validations_can_stop_a_run_and_the_same_run_can_go_on(tiny_run, held):
    seen = []

    def stop_after_one(epoch, metrics):
        seen.append((epoch, metrics["top1"]))
        raise Stopped

    with pytest.raises(Stopped):
        run_experiment(tiny_run, CODE, held=held, on_validation=stop_after_one)
    (stopped,) = runs_named(tiny_run)
    assert stopped.info.status == "KILLED" and not (tiny_run.folder / "summary.json").exists()
    assert json.loads((tiny_run.folder / "mlflow_run.json").read_text())["run_id"] == stopped.info.run_id
    summary = run_experiment(tiny_run, CODE, held=held, on_validation=lambda epoch, metrics: seen.append((epoch, metrics["top1"])))
    assert [epoch for epoch, _ in seen] == [1, 2] and seen[1][1] == summary["top1"]
    (finished,) = runs_named(tiny_run)
    assert finished.info.run_id == stopped.info.run_id and finished.info.status == "FINISHED"


def test_the_mlflow_run_is_on_record_before_the_training_which_may_be_killed(tiny_run, held):
    found = []

    def look(*_):
        found.append(json.loads((tiny_run.folder / "mlflow_run.json").read_text())["run_id"])

    summary = run_experiment(tiny_run, CODE, look, held)
    assert set(found) == {summary["mlflow_run_id"]}
