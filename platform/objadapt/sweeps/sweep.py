"""Sweeps: a search space over a config, Ray Tune for the trials, an Optuna study that outlives the driver,
one MLflow run.

Trials are judged on training clips that are held out (`holdout` of the search space), never on the validation set that
is reported, and all of them read one extraction of features.
"""

import fcntl
import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import pandas as pd
import ray
import yaml

from ..config import Experiment
from ..config_file import validate
from ..data.manifest import Manifest, build_manifest
from ..errors import InputError
from ..evaluation.recognition import Recognition
from ..files import write_whole
from ..methods.build import takes_frames
from ..metric import stored_name
from ..passwords import redact
from ..plan import Plan, plan
from ..run_folder import MLFLOW_RUN, RECORDS, RUNS, SWEEPS, output_of, store_uri
from ..runs.feature_caches import ensure_features
from ..store_uri import sqlite_uri
from ..stored_format import marks, read_marked
from ..tracking import Tracker, prepare_store
from . import study as studies
from .space import SearchSpace
from .trials import Placement, SharedByTrials, Show, final_run, run_trials

OUTCOME = "sweep.json"  # in the sweep's folder
REMEDY = "delete it, and the same command writes it anew"


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is the same when the same command is given again; made by `declare`."""

    name: str  # also of the trials' runs, so that a sweep's runs are its own
    space: SearchSpace
    seed: int  # of the sampler
    base: Experiment  # what trials override: part of the training clips held out, features from a cache
    manifest: Manifest  # of the trials: the validation split is what is held out of the training clips

    @property
    def folder(self) -> Path:
        """The study, the table of trials, the best overrides, Tune's own files."""
        return Path(self.base.output).absolute() / SWEEPS / self.name

    @property
    def uri(self) -> str:
        """Of the MLflow store."""
        return store_uri(self.base.tracking.uri, output_of(self.folder))

    def plans(self) -> list[Plan]:
        """One plan for each set of features that trials can need."""
        return [plan(config, self.manifest) for config in self.space.feature_configs(self.base)]

    def check_final(self) -> None:
        """InputError where the data have no validation clips, on which the final training would be judged."""
        splits = (self.manifest.whole or self.manifest).table["split"]
        if "val" not in set(splits):
            there = ", ".join(splits.unique())
            raise InputError(f"--final: no validation clips in {self.base.data.root}, only {there}; leave it out")

    def final_config(self, params: dict, gpus: float) -> Experiment:
        """A configuration on all training clips, validated once: at its end, on the validation set itself."""
        tree = _with_gpus(self.space.config(self.base, params), gpus).model_dump()
        tree["name"], tree["data"]["holdout"] = f"{self.name}-final", 0.0
        tree["training"]["validate_every"] = tree["training"]["epochs"]
        tree["training"]["patience"] = None  # no clips are held out that could end it early
        return validate(tree)


def declare(config: Experiment, space: SearchSpace, seed: int = 0) -> Sweep:
    """Check a search space against a config and its data.

    Raises:
        InputError: values that the config refuses, settings that exclude each other, a metric that the data does not
            have.
    """
    tree = config.model_dump()
    tree["data"]["holdout"] = config.data.holdout or space.holdout
    cache = None if takes_frames(config.method) else f"{config.output}/features"
    tree["stream"] |= {"cache": config.stream.cache or cache, "num_workers": 0, "hold": False}
    base = validate(tree)
    space.check(base)
    manifest = build_manifest(base.data, base.seed)
    of_classes = Recognition(manifest.heads).compute().metrics
    metrics = of_classes if base.method.classifies else {"loss": math.nan}  # the names are asked for alone
    space = replace(space, metric=stored_name(space.metric, metrics))
    if space.metric not in metrics:
        known = ", ".join(metrics)
        raise InputError(f"search space {space.name}: metric: no {space.metric!r} for this data; there are {known}")
    settings = replace(space, trials=0)  # more trials later belong to the same sweep
    planned = plan(base, manifest)
    base = planned.config  # trials on whichever node compute in the precision that is chosen here
    # part of how trials are chosen, though not of what they are
    judged = f"{base.evaluation.label} {base.training.validate_every}"
    identity = hashlib.sha256(f"{planned.identity} {settings} {seed} {judged}".encode()).hexdigest()
    name = f"{config.name}-{space.name}-{space.sampler}-{identity[:8]}"
    return Sweep(name, space, seed, base.model_copy(update={"name": name}), manifest)


def decode_cpus(config: Experiment) -> float:
    """CPUs that each trial needs beside its own, `Placement.decode`."""
    return config.stream.decode_cpus if takes_frames(config.method) else 0.0


def run_sweep(
    sweep: Sweep, placement: Placement, code_version: str, show: Show | None = None, final: bool = False
) -> dict:
    """Run the trials that the sweep's study lacks; -> the outcome (also `sweep.json` in the sweep's folder).

    The same sweep again keeps finished trials, and goes on with those that were cut off, from their checkpoints.

    Args:
        final: retrain the best configuration on all training clips, and evaluate it once on the validation set.

    Raises:
        InputError: the features cannot be had, no node has room for a trial, the sweep is running elsewhere, a newer
            version wrote its files, or `final` has no validation clips.
    """
    if final:
        sweep.check_final()
    placement = replace(placement, decode=decode_cpus(sweep.base))
    placement.check()
    sweep.folder.mkdir(parents=True, exist_ok=True)
    read_marked(sweep.folder / OUTCOME, REMEDY)
    with _alone(sweep.folder):
        tracker = _parent(sweep, code_version)
        try:
            study = studies.open_study(sweep.folder, sweep.name, sweep.space)
            before = {trial["number"] for trial in studies.rows(study, sweep.space)}
            if missing := studies.prepare(study, sweep.space):
                ensure_features(sweep.plans(), show)
                base = _with_gpus(sweep.base, placement.gpus)
                work = SharedByTrials(base, sweep.space, sweep.manifest, placement.cpus, code_version, tracker.run_id)
                run_trials(sweep.folder, sweep.seed, placement, missing, work, show)
            trials = studies.rows(study, sweep.space)
            _end_runs(sweep, [trial for trial in trials if trial["number"] not in before])
            outcome = _outcome(sweep, study, trials, tracker)
            if final and outcome["best"]:
                outcome["final"] = _final(
                    sweep, placement, studies.best(study)[0].params, code_version, tracker.run_id, show
                )
        except BaseException as error:  # Ctrl-C too: the run must not stay RUNNING in MLflow; nothing is swallowed
            tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        _keep(sweep, outcome, tracker)
        tracker.finish()
    return outcome


def _with_gpus(config: Experiment, gpus: float) -> Experiment:
    return config.model_copy(update={"stream": config.stream.model_copy(update={"trainer_gpus": gpus})})


def _final(
    sweep: Sweep, placement: Placement, params: dict, code_version: str, parent: str | None, show: Show | None
) -> dict:
    config = sweep.final_config(params, placement.gpus)
    chosen = plan(config, build_manifest(config.data, config.seed))
    ensure_features([chosen], show)
    task = final_run.options(num_cpus=placement.cpus, num_gpus=placement.gpus)
    return ray.get(task.remote(chosen, placement.cpus, code_version, parent))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
        except OSError:
            raise InputError(f"output: this sweep is running already in {folder}; wait for it, or end it") from None
        yield


def _parent(sweep: Sweep, code_version: str) -> Tracker:
    """A tracker whose run is the parent of the trials' runs: the one of before, where there is one."""
    mark = sweep.folder / MLFLOW_RUN
    prepare_store(sweep.uri)
    tracker = Tracker(sweep.uri, sweep.base.tracking.experiment, sweep.folder / RECORDS)
    previous = read_marked(mark, REMEDY)
    own = previous.get("run_id") if previous.get("uri") == redact(sweep.uri) else None
    space = sweep.space
    tags = {
        "kind": "sweep",
        "space": space.name,
        "metric": space.metric,
        "sampler": space.sampler,
        "pruner": space.pruner,
    }
    tags |= {"seed": str(sweep.seed), "holdout": str(sweep.base.data.holdout), "code_version": code_version}
    tracker.start(sweep.name, tags, {}, own)
    write_whole(mark, json.dumps(marks() | {"run_id": tracker.run_id or own, "uri": redact(sweep.uri)}) + "\n")
    return tracker


def _end_runs(sweep: Sweep, trials: list[dict]) -> None:
    """Close the MLflow runs of pruned and failed trials: Tune may end their processes before they do it themselves."""
    for trial in trials:
        if trial["state"] != "complete" and trial["mlflow_run_id"]:
            records = output_of(sweep.folder) / RUNS / trial["run"] / RECORDS
            tracker = Tracker(sweep.uri, sweep.base.tracking.experiment, records)
            tracker.run_id = trial["mlflow_run_id"]
            tracker.finish("KILLED" if trial["state"] == "pruned" else "FAILED")


def _outcome(sweep: Sweep, study: optuna.Study, trials: list[dict], tracker: Tracker) -> dict:
    by_number = {trial["number"]: trial for trial in trials}
    best = [by_number[trial.number] for trial in studies.best(study)]
    return marks() | {
        "sweep": sweep.name,
        "objectives": studies.objectives(sweep.space),
        "holdout": sweep.base.data.holdout,
        "num_train_clips": int((sweep.manifest.table["split"] == "train").sum()),
        "num_held_out_clips": int((sweep.manifest.table["split"] == "val").sum()),
        "sampler": sweep.space.sampler,
        "pruner": sweep.space.pruner,
        "trials": trials,
        "best": best[0] if best else None,
        "pareto": best if len(study.directions) > 1 else None,
        "folder": str(sweep.folder),
        "study": sqlite_uri(sweep.folder / "study.db"),
        "mlflow_run_id": tracker.run_id,
        "mlflow_uri": redact(sweep.uri),
    }


def trial_table(trials: list[dict]) -> pd.DataFrame:
    """A row a trial: number, state, values, parameters (empty where a condition left them out), run."""
    rows = [
        {"trial": trial["number"], "state": trial["state"], **trial["values"], **trial["params"]}
        | {name: trial[name] for name in ("adapter_gflops", "epoch", "seconds", "run", "mlflow_run_id", "reason")}
        for trial in trials
    ]
    return pd.DataFrame(rows)


def _keep(sweep: Sweep, outcome: dict, tracker: Tracker) -> None:
    """Files in the sweep's folder and with its MLflow run; not params, which MLflow never lets change,
    as the best may.
    """
    table, done = trial_table(outcome["trials"]).to_csv(index=False), len(outcome["trials"])
    files = {OUTCOME: json.dumps(outcome, indent=2, default=str) + "\n", "trials.csv": table}
    if outcome["best"]:
        files["best.yaml"] = yaml.safe_dump(outcome["best"]["params"], sort_keys=False)
        tracker.metrics({f"best/{name}": value for name, value in outcome["best"]["values"].items()}, step=done)
    if outcome.get("final"):
        numbers = {k: v for k, v in outcome["final"].items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
        tracker.metrics({f"final/{name}": value for name, value in numbers.items()}, step=done)
    for name, content in files.items():
        write_whole(sweep.folder / name, content)
        tracker.artifact(sweep.folder / name)
