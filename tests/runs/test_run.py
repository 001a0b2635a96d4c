"""One plan is one MLflow run and one folder: resumed in its own run, never done twice, complete without a server."""

import dataclasses
import json
import logging
import math

import mlflow
import pandas as pd
import pytest

from objadapt.errors import InputError
from objadapt.pipeline.placement import Nodes, lacking, placement
from objadapt.plan import streaming
from objadapt.run_folder import SAVE_REQUEST, store_uri
from objadapt.runs.cautions import cautions
from objadapt.runs.evaluate import declare, evaluate_checkpoint
from objadapt.runs.run import results_folder, run_experiment, stored_summary
from objadapt.runs.summary import chance, quarantine_table
from objadapt.training import checkpoint
from objadapt.training.task import Stopped

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
    return client.search_runs(
        [experiment.experiment_id], f"attributes.run_name LIKE '{plan.config.name}, seed {plan.config.seed}%'"
    )


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


def files(folder, but=("records.jsonl",)) -> dict:
    """What lies in a run's folder, the results of other views apart."""
    found = (
        path
        for path in folder.rglob("*")
        if path.is_file() and "evaluations" not in path.parts and path.name not in but
    )
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


VIEWS = ["evaluation.temporal_clips=2", "evaluation.spatial_crops=3"]


@pytest.mark.slow
def test_a_finished_run_is_evaluated_and_not_trained_where_other_views_are_asked_for(tiny_run, tiny_plan, held):
    same = [f"output={tiny_run.config.output}", "stream.hold=true", f"name={tiny_run.config.name}"]
    first, before, seen = run_experiment(tiny_run, CODE, held=held), files(tiny_run.folder), []
    wide = tiny_plan(*same, *VIEWS, "training.validate_every=2")
    assert wide.folder == tiny_run.folder
    found = run_experiment(wide, "other code", lambda what, *_: seen.append(what))
    assert set(seen) == {"epoch 2/2 val"}, "nothing is trained, nothing encoded to be held"
    assert (first["views"], found["views"]) == ("4 x 1 x 1", "4 x 2 x 3")
    scores, clips = evaluate_checkpoint(declare(first["checkpoint"], [*VIEWS, "stream.hold=false"]))
    for name in ("top1", "top5", "mean_class_accuracy", "num_val_clips", "views"):
        assert found[name] == scores[name], name
    kept = pd.read_parquet(results_folder(wide) / "clips.parquet")
    assert kept["probability"].to_list() == pytest.approx(
        [max(clip["heads"]["label"]["probabilities"]) for clip in clips], abs=1e-4
    )
    narrow = pd.read_parquet(tiny_run.folder / "clips.parquet")
    assert kept["probability"].to_list() != pytest.approx(narrow["probability"].to_list(), abs=1e-4), (
        "other views, other scores"
    )
    of_training = (
        "train_loss seconds device_hours devices best mlflow_run_id tunable_parameters checkpoint code_version"
    )
    for name in of_training.split():
        assert found[name] == json.loads(json.dumps(first))[name], name
    assert files(tiny_run.folder) == before, "its checkpoints, its summary and its clips stay as they were"

    backwards = run_experiment(tiny_plan(*same, "evaluation.reverse=true"), CODE)
    assert backwards["views"] == "4 x 1 x 1 (frames backwards)"
    never = Interrupt(tiny_run.folder, None, at=1)
    for plan, summary in ((tiny_run, first), (wide, found), (tiny_plan(*same, "evaluation.reverse=true"), backwards)):
        assert run_experiment(plan, CODE, never, held) == json.loads(json.dumps(summary)) == stored_summary(plan)
    (run,) = runs_named(tiny_run)
    assert run.info.status == "FINISHED" and run.data.metrics["final/top1"] == first["top1"]
    assert run.data.metrics["final/4 x 2 x 3/top1"] == found["top1"]
    assert run.data.metrics["final/4 x 1 x 1 frames backwards/top1"] == backwards["top1"]


def test_a_finished_run_whose_checkpoint_is_gone_cannot_be_evaluated_anew(tiny_run, tiny_plan, held):
    run_experiment(tiny_run, CODE, held=held)
    wide = tiny_plan(f"output={tiny_run.config.output}", "stream.hold=true", f"name={tiny_run.config.name}", *VIEWS)
    (tiny_run.folder / "last").rename(tiny_run.folder / "elsewhere")
    with pytest.raises(
        InputError, match=r"last: no checkpoint of the whole training to evaluate in 4 x 2 x 3 views; delete the run's"
    ):
        run_experiment(wide, CODE)
    assert not (tiny_run.folder / "evaluations").exists() and not (tiny_run.folder / "last").exists()


@pytest.mark.slow
def test_scores_in_other_views_reach_a_store_whose_folder_has_an_odd_name(tiny_plan, held, tmp_path):
    same = [f"output={tmp_path}/100%41#1?x", "stream.hold=true", "tracking.uri=null", "training.epochs=1"]
    first = run_experiment(tiny_plan(*same), CODE, held=held)
    other = tiny_plan(*same, "evaluation.reverse=true")
    found = run_experiment(other, CODE)
    client = mlflow.MlflowClient(tracking_uri=store_uri(None, other.folder.parents[1]))
    metrics = client.get_run(first["mlflow_run_id"]).data.metrics
    assert metrics["final/4 x 1 x 1 frames backwards/top1"] == found["top1"]
    assert [path.name for path in tmp_path.iterdir()] == ["100%41#1?x"]


def test_other_views_of_a_training_that_held_its_features_find_room_on_one_gpu(tiny_plan, monkeypatch):
    """Held, encoders and worker have the GPU one after the other; streamed, at the same time."""
    there = [Nodes("node", 1, 8, 1)]
    for module in ("placement", "automatic", "precision"):
        monkeypatch.setattr(f"objadapt.pipeline.{module}.nodes", lambda: there)
    plan = tiny_plan("stream.hold=true", "stream.num_workers=auto")
    assert (
        lacking(placement(plan.placed, 1, 1), there)
        == "1 decode tasks, 1 encoders, 1 training workers need 2 GPUs, the cluster has 1"
    )
    streamed = streaming(plan)
    assert lacking(placement(streamed.placed, 1, 1), there) is None and streamed.placed.encoder_gpus > 0
    assert streamed.folder == plan.folder


def test_how_often_it_is_validated_makes_no_other_run(tiny_run, tiny_plan, held):
    first = run_experiment(tiny_run, CODE, held=held)
    same = [f"output={tiny_run.config.output}", "stream.hold=true", f"name={tiny_run.config.name}"]
    again = run_experiment(
        tiny_plan(*same, "training.validate_every=2"), CODE, Interrupt(tiny_run.folder, None, at=1), held
    )
    assert again == json.loads(json.dumps(first))


@pytest.mark.slow
def test_a_run_that_goes_on_under_other_views_mixes_none(tiny_run, tiny_plan, held):
    """Its MLflow run, whose parameters cannot change, is a new one.

    The best checkpoint is the best in the new views.
    """
    with pytest.raises(KeyboardInterrupt):
        run_experiment(tiny_run, CODE, Interrupt(tiny_run.folder, save_at=8, at=9), held)  # epoch 1 was validated
    state = checkpoint.read_state(tiny_run.folder / "last")
    state.best = {"epoch": 1, "top1": 1.0}  # as good as can be, in the views of before
    (tiny_run.folder / "last" / "state.json").write_text(json.dumps(dataclasses.asdict(state)))
    wide = tiny_plan(
        f"output={tiny_run.config.output}",
        f"name={tiny_run.config.name}",
        "stream.hold=true",
        "evaluation.temporal_clips=2",
    )
    summary = run_experiment(wide, CODE)
    assert summary["views"] == "4 x 2 x 1" and summary["best"] == {"epoch": 2, "top1": summary["top1"]}
    stopped, finished = sorted(runs_named(tiny_run), key=lambda run: run.info.run_id == summary["mlflow_run_id"])
    assert stopped.info.status == "KILLED" and stopped.data.params["evaluation.temporal_clips"] == "1"
    assert finished.data.params["evaluation.temporal_clips"] == "2" and finished.data.tags["views"] == "4 x 2 x 1"
    assert checkpoint.read_state(tiny_run.folder / "last").config["evaluation"]["temporal_clips"] == 2
    assert run_experiment(wide, CODE, Interrupt(wide.folder, None, at=1)) == json.loads(json.dumps(summary))


def test_what_the_epochs_or_the_clips_do_not_allow_is_said_before_the_training_and_beside_its_result(
    tiny_plan, held, tmp_path, caplog
):
    plan = tiny_plan(f"output={tmp_path}", "stream.hold=true", "training.epochs=1", "training.warmup_epochs=2")
    said = []
    with caplog.at_level(logging.WARNING):
        summary = run_experiment(plan, CODE, lambda *_: said or said.append(caplog.text), held)
    (caution,) = summary["cautions"]
    assert caution == (
        "training.warmup_epochs: 2 of 1 epochs would leave too little behind the warm-up; it takes 0.5,"
        " half of the training"
    )
    assert caution in said[0] and summary["warmup_epochs"] == 0.5
    rates = history(plan, summary["mlflow_run_id"], "step/lr")
    assert max(values[0] for values in rates.values()) == plan.config.training.lr > rates[4][0]

    large = cautions(tiny_plan("training.batch_size=48", "training.clips_per_class=4"))
    assert large == [
        "training.batch_size: 48, but there are 32 training clips: each step sees all, the rest is padding",
        "training.clips_per_class: 4, but no class has more than 2 training clips: the rest is padding",
    ]
    assert cautions(tiny_plan("training.clips_per_class=2")) == []


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
    recorded = [
        line["step"] for line in records(tiny_run) if line["kind"] == "metrics" and "step/total" in line["values"]
    ]
    assert sorted(recorded) == list(range(1, 9))
    mean = sum(values[0] for step, values in losses.items() if step > 4) / 4
    assert mean == pytest.approx(summary["train_loss"], rel=1e-6)


def test_a_server_that_never_answers_costs_nothing_but_the_page(tiny_plan, held, tmp_path, caplog):
    plan = tiny_plan(f"output={tmp_path}", "stream.hold=true", "tracking.uri=http://127.0.0.1:1")
    with caplog.at_level(logging.WARNING):
        summary = run_experiment(plan, CODE, held=held)
    assert summary["tracked"] is False and summary["mlflow_run_id"] is None
    assert (
        f"MLflow at http://127.0.0.1:1 does not answer; records go to {plan.folder / 'records.jsonl'} alone"
        in caplog.text
    )
    written = records(plan)
    assert [line["kind"] for line in written][0] == "start" and written[-1] == {
        "time": written[-1]["time"],
        "kind": "finish",
        "status": "FINISHED",
    }
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


@pytest.mark.slow
def test_clips_without_labels_teach_by_the_other_losses(tiny_plan, toy_root, local_ray, tmp_path):
    videos = sorted((toy_root / "videos").iterdir())
    rows = [f"{video},{split}" for split, some in (("train", videos[:8]), ("val", videos[-4:])) for video in some]
    (tmp_path / "clips.csv").write_text("\n".join(["path,split", *rows]) + "\n")
    table = ["data.format=csv", f"data.root={tmp_path}", "data.train=clips.csv", "data.label_column=''"]
    with pytest.raises(
        InputError, match=r"method\.losses\.classification: no training clip has a label; .* set it to 0"
    ):
        tiny_plan(*table)
    plan = tiny_plan(*table, f"output={tmp_path}/out", "method.losses.classification=0", "training.epochs=1")
    summary = run_experiment(plan, CODE)
    assert summary["num_train_clips"] == 8 and summary["num_val_clips"] == 4 and math.isnan(summary["top1"])
    assert summary["tracked"] is True and math.isfinite(summary["train_loss"]) and summary["train_loss"] > 0


def test_what_the_summary_says_is_there(tiny_run, held):
    summary = run_experiment(tiny_run, CODE, held=held)
    assert summary["num_train_clips"] == 32 and summary["num_val_clips"] == 16 and summary["quarantined"] == 0
    assert summary["coverage"] == {"train": {"found": 32, "listed": 32}, "val": {"found": 16, "listed": 16}}
    assert summary["views"] == "4 x 1 x 1" and summary["chance"] == 1 / 16
    assert math.isfinite(summary["train_loss"]) and 0 <= summary["top1"] <= summary["top5"] <= 1
    trained = tiny_run.method()
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
    summary = run_experiment(
        tiny_run, CODE, held=held, on_validation=lambda epoch, metrics: seen.append((epoch, metrics["top1"]))
    )
    assert [epoch for epoch, _ in seen] == [1, 2] and seen[1][1] == summary["top1"]
    (finished,) = runs_named(tiny_run)
    assert finished.info.run_id == stopped.info.run_id and finished.info.status == "FINISHED"


def test_the_mlflow_run_is_on_record_before_the_training_which_may_be_killed(tiny_run, held):
    found = []

    def look(*_):
        found.append(json.loads((tiny_run.folder / "mlflow_run.json").read_text())["run_id"])

    summary = run_experiment(tiny_run, CODE, look, held)
    assert set(found) == {summary["mlflow_run_id"]}


def test_chance_of_several_heads_is_that_of_guessing_all_of_them(tiny_plan):
    made = tiny_plan()
    assert chance(made) == 1 / made.manifest.heads["label"]
    table = made.manifest.table.assign(verb_label=0, noun_label=1)
    classes = {"verb_label": ["cut", "wash", "put"], "noun_label": ["pan", "egg"]}
    two = dataclasses.replace(made.manifest, table=table, classes=classes)
    assert chance(dataclasses.replace(made, manifest=two)) == pytest.approx(1 / 6)
