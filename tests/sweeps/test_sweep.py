"""A sweep: trials judged on held-out training clips, child runs of one MLflow run, a study that outlives the driver."""

import json
from dataclasses import replace

import mlflow
import optuna
import pandas as pd
import pytest
import yaml

from objadapt.config_file import load_config
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError
from objadapt.sweeps.space_file import load_space
from objadapt.sweeps.sweep import declare, run_sweep
from objadapt.sweeps.trials import Placement

CODE = "c0ffee"
LR = {"training.lr": {"log_uniform": [1e-4, 1e-2], "points": 3}}
SLOTS = {
    "method.slots.number": {"choice": [1, 3]},
    "method.slots.iterations": {"choice": [1, 2], "when": {"method.slots.number": 3}},
}


@pytest.fixture
def space(tmp_path):
    """`space(parameters, key=value, ...)`: a search space from a file of its own."""

    def make(parameters: dict, **settings):
        path = tmp_path / "space.yaml"
        content = {"trials": 3, "sampler": "random", **settings, "parameters": parameters}
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return load_space(path)

    return make


@pytest.fixture(scope="session")
def sweep_features(tmp_path_factory):
    """One folder of feature caches for all sweeps of the tests."""
    return tmp_path_factory.mktemp("sweep-features")


@pytest.fixture
def config(tiny_config, sweep_features, local_ray, tmp_path):
    """`config("key=value", ...)`: the tiny experiment in a folder of its own."""

    def make(*overrides: str):
        places = [f"output={tmp_path / 'out'}", "tracking.uri=null", f"stream.cache={sweep_features}"]
        return load_config(tiny_config, [*places, *overrides])

    return make


def children(outcome: dict) -> dict[str, mlflow.entities.Run]:
    """Run id -> child runs of a sweep's MLflow run."""
    client = mlflow.MlflowClient(tracking_uri=outcome["mlflow_uri"])
    experiment = client.get_run(outcome["mlflow_run_id"]).info.experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{outcome['mlflow_run_id']}'")
    return {run.info.run_id: run for run in found}


def study_of(outcome: dict) -> optuna.Study:
    return optuna.load_study(study_name=outcome["sweep"], storage=outcome["study"])


@pytest.mark.slow
def test_every_trial_is_a_child_run_judged_on_held_out_training_clips_alone(config, space):
    sweep = declare(config(), space(LR | SLOTS), seed=3)
    table, listed = sweep.manifest.table, build_manifest(config().data, 0).table
    trained, judged = (set(table["clip_id"][table["split"] == split]) for split in ("train", "val"))
    assert judged and not trained & judged and trained | judged == set(listed["clip_id"][listed["split"] == "train"])

    outcome = run_sweep(sweep, Placement(concurrent=2, cpus=0.5), CODE)
    trials, runs = outcome["trials"], children(outcome)
    assert [trial["state"] for trial in trials] == ["complete"] * 3
    assert {trial["mlflow_run_id"] for trial in trials} == runs.keys() and len(runs) == 3
    for trial in trials:
        run = runs[trial["mlflow_run_id"]]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["final/top1"] == trial["values"]["top1"]
        assert run.data.metrics["final/num_val_clips"] == len(judged)
        assert run.data.metrics["final/num_train_clips"] == len(trained)
        assert run.data.metrics["final/adapter_gflops"] == pytest.approx(trial["adapter_gflops"])
        for key, value in trial["params"].items():
            assert run.data.params[key] == str(value)
        assert ("method.slots.iterations" in trial["params"]) == (trial["params"]["method.slots.number"] == 3)
    assert outcome["best"]["values"]["top1"] == max(trial["values"]["top1"] for trial in trials)

    parent = mlflow.MlflowClient(tracking_uri=outcome["mlflow_uri"])
    assert parent.get_run(outcome["mlflow_run_id"]).info.status == "FINISHED"
    table = pd.read_csv(sweep.folder / "trials.csv")
    assert list(table["top1"]) == [trial["values"]["top1"] for trial in trials]
    assert yaml.safe_load((sweep.folder / "best.yaml").read_text()) == outcome["best"]["params"]
    kept = {file.path for file in parent.list_artifacts(outcome["mlflow_run_id"])}
    assert {"trials.csv", "best.yaml", "sweep.json"} <= kept

    again = run_sweep(sweep, Placement(), CODE)
    assert again["trials"] == trials and again["mlflow_run_id"] == outcome["mlflow_run_id"]
    assert children(again).keys() == runs.keys()
    more = run_sweep(declare(config(), space(LR | SLOTS, trials=4), seed=3), Placement(), CODE)
    assert more["sweep"] == outcome["sweep"] and more["trials"][:3] == trials and len(more["trials"]) == 4
    assert more["trials"][3]["params"] not in [trial["params"] for trial in trials]


@pytest.mark.slow
def test_a_grid_visits_each_point_once(config, space):
    sweep = declare(config("training.epochs=1"), space(SLOTS, sampler="grid", trials=10))
    outcome = run_sweep(sweep, Placement(concurrent=2, cpus=0.5), CODE)
    points = [tuple(sorted(trial["params"].items())) for trial in outcome["trials"]]
    assert sorted(points) == sorted(
        [
            (("method.slots.number", 1),),
            (("method.slots.iterations", 1), ("method.slots.number", 3)),
            (("method.slots.iterations", 2), ("method.slots.number", 3)),
        ]
    )
    assert run_sweep(sweep, Placement(), CODE)["trials"] == outcome["trials"]


@pytest.mark.slow
def test_the_best_is_retrained_on_all_training_clips_and_evaluated_once_only_on_request(config, space):
    sweep = declare(config(), space(LR, trials=2))
    assert "final" not in run_sweep(sweep, Placement(), CODE)
    outcome = run_sweep(sweep, Placement(), CODE, final=True)
    final = outcome["final"]
    assert (final["num_train_clips"], final["num_val_clips"]) == (32, 16)
    run = children(outcome)[final["mlflow_run_id"]]
    assert float(run.data.params["training.lr"]) == outcome["best"]["params"]["training.lr"]
    client = mlflow.MlflowClient(tracking_uri=outcome["mlflow_uri"])
    assert [one.step for one in client.get_metric_history(run.info.run_id, "epoch/val/top1")] == [2]


@pytest.mark.slow
def test_nsga2_gives_the_trials_that_no_other_beats_in_both_accuracy_and_cost(config, space):
    shapes = {"method.slots.number": {"choice": [1, 2, 3]}, "method.slots.iterations": {"integer": [1, 2]}}
    outcome = run_sweep(
        declare(config("training.epochs=1"), space(shapes, sampler="nsga2", trials=5)), Placement(2, 0.5), CODE
    )
    points = [(trial["values"]["top1"], trial["values"]["adapter_gflops"]) for trial in outcome["trials"]]
    assert len(points) == 5 and [trial["adapter_gflops"] for trial in outcome["trials"]] == [cost for _, cost in points]
    beaten = {(a, c) for a, c in points for b, d in points if (b >= a and d < c) or (b > a and d <= c)}
    pareto = {(trial["values"]["top1"], trial["values"]["adapter_gflops"]) for trial in outcome["pareto"]}
    assert pareto == set(points) - beaten
    assert outcome["best"] == outcome["pareto"][0] and outcome["best"]["values"]["top1"] == max(a for a, _ in pareto)


@pytest.mark.slow
@pytest.mark.parametrize("pruner, decays", [("asha", [0.0, 0.1]), ("median", [0.0, 0.05, 0.1])])
def test_a_pruned_trial_is_marked_so_and_its_run_killed(config, space, pruner, decays):
    """Two rates by some decays: where the rates differ at all,
    the last decay of the worse rate comes too late to survive.
    """
    pairs = {"training.weight_decay": {"choice": decays}, "training.lr": {"choice": [1e-2, 1e-12]}}
    many = config("training.epochs=9", "training.min_lr=0.0", "training.warmup_epochs=0")
    sweep = declare(many, space(pairs, sampler="grid", pruner=pruner, trials=2 * len(decays), metric="top5"))
    outcome = run_sweep(sweep, Placement(), CODE)
    runs, reported = children(outcome), {trial.number: trial.intermediate_values for trial in study_of(outcome).trials}
    assert {trial["state"] for trial in outcome["trials"]} == {"complete", "pruned"} and outcome["best"][
        "state"
    ] == "complete"
    for trial in outcome["trials"]:
        status = runs[trial["mlflow_run_id"]].info.status
        finished = (sweep.folder.parents[1] / "runs" / trial["run"] / "summary.json").exists()
        assert (trial["state"], status, finished) in (("complete", "FINISHED", True), ("pruned", "KILLED", False))
        assert (trial["epoch"] == 9) == finished and list(reported[trial["number"]]) == list(
            range(1, trial["epoch"] + 1)
        )
        if not finished:
            assert trial["values"]["top5"] < max(values.get(trial["epoch"], 0) for values in reported.values())
    assert run_sweep(sweep, Placement(), CODE)["trials"] == outcome["trials"]


@pytest.mark.slow
def test_a_trial_that_fails_is_named_with_its_reason_and_tried_again_by_the_same_command(config, space):
    widths = {"method.width": {"choice": [32, 36]}}  # 8 heads do not divide 36
    sweep = declare(config("training.epochs=1"), space(widths, sampler="grid", trials=2))
    outcome = run_sweep(sweep, Placement(), CODE)
    states = {trial["params"]["method.width"]: trial["state"] for trial in outcome["trials"]}
    assert states == {32: "complete", 36: "failed"}
    (failed,) = [trial for trial in outcome["trials"] if trial["state"] == "failed"]
    assert "method.heads: 8 does not divide the slot width 36" in failed["reason"]
    again = run_sweep(sweep, Placement(), CODE)
    assert [trial for trial in again["trials"] if trial["state"] == "complete"] == [outcome["best"]]
    assert len(study_of(again).trials) == 3


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_samplers_suggest_within_the_space(config, space, sampler):
    ranges = LR | {"training.weight_decay": {"uniform": [0.0, 0.2]}}
    outcome = run_sweep(declare(config("training.epochs=1"), space(ranges, sampler=sampler)), Placement(2, 0.5), CODE)
    assert [trial["state"] for trial in outcome["trials"]] == ["complete"] * 3
    assert all(1e-4 <= trial["params"]["training.lr"] <= 1e-2 for trial in outcome["trials"])
    assert len({json.dumps(trial["params"]) for trial in outcome["trials"]}) == 3


@pytest.mark.slow
def test_a_search_over_frames_is_served_by_one_extraction_of_their_union(config, space):
    sweep = declare(config("training.epochs=1"), space({"sampling.frames": {"choice": [2, 3]}}, sampler="grid"))
    own = config("training.epochs=1", f"stream.cache={sweep.folder.parents[1] / 'features'}")
    outcome = run_sweep(declare(own, sweep.space), Placement(2, 0.5), CODE)
    assert [trial["state"] for trial in outcome["trials"]] == ["complete"] * 2
    (record,) = (sweep.folder.parents[1] / "features").glob("*/cache.json")
    assert json.loads(record.read_text())["contents"]["frames"] == [2, 3]


def test_settings_that_exclude_each_other_are_refused(config, space):
    for settings, overrides, message in [
        ({"sampler": "nsga2", "pruner": "asha"}, [], "--pruner: nsga2"),
        ({"pruner": "median"}, ["training.validate_every=2"], "--pruner: trials are validated at their end alone"),
        ({"sampler": "cmaes"}, [], "--sampler: cmaes needs at least two parameters that are ranges"),
        ({"metric": "top2"}, [], "metric: no 'top2' for this data; there are top1, top5, mean_class_accuracy"),
    ]:
        with pytest.raises(InputError, match=message):
            declare(config(*overrides), space(LR, **settings))
    with pytest.raises(InputError, match="--pruner: trials of different training.epochs"):
        declare(config(), space({"training.epochs": {"choice": [1, 2]}}, pruner="asha"))
    with pytest.raises(InputError, match=r"at sampling.frames=4, method.interval=4: method.interval: 4 is not below"):
        declare(config(), space({"sampling.frames": {"choice": [4]}, "method.interval": {"choice": [4]}}))


def test_a_final_training_without_validation_clips_is_refused_before_the_trials(config, space):
    sweep = declare(config(), space(LR))
    whole = sweep.manifest.whole
    training = replace(whole, table=whole.table[whole.table["split"] == "train"])
    alone = replace(sweep, manifest=replace(sweep.manifest, whole=training))
    with pytest.raises(InputError, match="--final: no validation clips in .*, only train; leave it out"):
        run_sweep(alone, Placement(), CODE, final=True)
    assert not alone.folder.exists()


def test_a_placement_that_no_node_can_give_is_refused(config, space):
    sweep = declare(config(), space(LR))
    for placement in (Placement(cpus=1000), Placement(gpus=1000)):
        with pytest.raises(InputError, match="no node has that"):
            run_sweep(sweep, placement, CODE)
    for placement in (Placement(concurrent=0), Placement(cpus=0), Placement(gpus=-1)):
        with pytest.raises(InputError, match="--concurrent: at least 1; --cpus-per-trial: above 0"):
            run_sweep(sweep, placement, CODE)


def test_trials_that_are_judged_otherwise_are_another_sweep(config, space):
    """Testing views and how often a trial is validated make no other training, and another choice among trainings."""
    judged = ([], ["evaluation.temporal_clips=2"], ["evaluation.reverse=true"], ["training.validate_every=2"])
    assert len({declare(config(*more), space(LR)).name for more in judged}) == len(judged)


@pytest.mark.parametrize("name", ["sweep.json", "mlflow_run.json"])
def test_files_that_a_newer_version_wrote_are_refused_and_left_alone(config, space, name):
    sweep = declare(config(), space(LR), seed=3)
    sweep.folder.mkdir(parents=True)
    content = json.dumps({"format": 99, "objadapt": "9.0.0"})
    (sweep.folder / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}: written by a newer objadapt \(format 99\).*use objadapt >= 9.0.0"):
        run_sweep(sweep, Placement(cpus=0.5), CODE)
    assert (sweep.folder / name).read_text() == content and not (sweep.folder / "study.db").exists()
