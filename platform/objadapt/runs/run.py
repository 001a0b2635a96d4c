"""One config + one seed = one run: a folder, a checkpoint, a summary and an MLflow run.

A finished run is not done twice. The testing views are no part of a run: asked for others, a finished run is evaluated
anew from its last checkpoint, and each set of views keeps a summary of its own. Those of the first lie in the run's
folder, others in `evaluations/`.
"""

import dataclasses
import json
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import ray
from matplotlib.figure import Figure

from ..config_file import flat
from ..errors import InputError
from ..files import write_whole
from ..identity import version_of
from ..passwords import redact
from ..plan import Plan, streaming
from ..run_folder import (
    BEST,
    CLIPS,
    CONFIG,
    EVALUATIONS,
    LAST,
    MLFLOW_RUN,
    PREDICTIONS,
    QUARANTINE,
    RECORDS,
    SUMMARY,
    WORST,
    output_of,
    store_uri,
)
from ..stored_format import read_run
from ..tracking import Tracker, prepare_store
from ..training import checkpoint
from ..training.display import stage
from ..training.patience import ended
from ..training.shared_stream import Turns
from ..training.task import Stopped
from ..training.trainer import hold_features, train
from .cautions import cautions
from .device_hours import device_hours
from .earlier import earlier, write_run
from .kept import keep_training
from .names import run_name
from .subset_scores import of_training
from .summary import coverage_text, quarantine_table, summarise, views_text

log = logging.getLogger(__name__)


def run_experiment(
    plan: Plan,
    code_version: str,
    show: Callable[[str, int, int, str], None] | None = None,
    held: list[ray.ObjectRef] | Turns | None = None,
    parent: str | None = None,
    on_validation: Callable[[int, dict[str, float]], None] | None = None,
) -> dict:
    """Train a plan to the end and track it; -> its summary (also `summary.json` in the run's folder).

    Args:
        held: blocks of `hold_features` under the same seed, or turns on a stream: what several runs share.
        parent: id of the MLflow run that this one is to be a child of.
        on_validation: as for `trainer.train`; where it raises `Stopped`, the MLflow run ends as KILLED.

    Where the config says `stream.hold` and no `held` blocks are given, the features are encoded first.

    The same plan again returns the summary of the finished run, or goes on where an unfinished one stopped, in its own
    MLflow run. A plan that differs in its testing views alone is evaluated from the last checkpoint.
    """
    config, folder = plan.config, plan.folder
    if found := stored_summary(plan):
        log.info("%s is finished already; delete the folder to train it again", folder)
        return found
    if (folder / SUMMARY).exists():
        return _evaluate(plan, show, held)
    if not checkpoint.newest(folder / LAST).exists() and (before := earlier(plan, finished=False)):
        log.warning("%s since %s: trained anew", before.why, before.folder)
    for caution in cautions(plan):
        log.warning(caution)
    started = time.time()
    uri = store_uri(config.tracking.uri, output_of(folder))
    prepare_store(uri)
    write_run(plan)
    plan = _without_password(plan)
    tracker = Tracker(uri, config.tracking.experiment, folder / RECORDS)
    mark = folder / MLFLOW_RUN  # lets a resumed training go on in its own run
    previous = json.loads(mark.read_text()) if mark.exists() else {}
    tags = {
        "identity": plan.identity,
        "config_hash": config.content_hash(),
        "manifest_hash": plan.manifest.content_hash(),
        "backbone_hash": plan.backbone_hash,
        "method_version": version_of(plan.method_sources),
        "code_version": code_version,
        "coverage": coverage_text(plan),
        "views": views_text(plan),
        "seed": str(config.seed),
    } | ({"mlflow.parentRunId": parent} if parent else {})
    params = flat(config.model_dump(mode="json")) | {"tracking.uri": redact(uri)}
    # an MLflow run's parameters never change: under other views it goes on in a new one
    views = config.evaluation.label
    own = previous.get("run_id") if (previous.get("uri"), previous.get("evaluation")) == (redact(uri), views) else None
    steps = config.training.epochs * plan.schedule.train_steps()
    run_id = tracker.start(run_name(config), tags, params, own, steps)
    seconds = previous.get("seconds", 0.0)

    def note() -> None:
        known = {"run_id": run_id or own, "uri": redact(uri), "seconds": seconds, "evaluation": views}
        write_whole(mark, json.dumps(known, indent=2) + "\n")

    note()  # before the training, which may be killed
    try:
        if config.stream.hold and not config.stream.cache and held is None:
            held = hold_features(plan, show)
        result = train(plan, tracker, show, held, on_validation)
    except (Stopped, KeyboardInterrupt):
        tracker.finish("KILLED")
        raise
    except BaseException:  # the run must not stay RUNNING in MLflow; nothing is swallowed
        tracker.finish("FAILED")
        raise
    finally:
        seconds += held.seconds if isinstance(held, Turns) else time.time() - started
        note()
    stage(show, "writing the results, and checkpoints to MLflow")
    tracker.give(result.pop("unsent"))
    summary = summarise(plan, result) | {
        **of_training(plan.manifest, folder),
        "seconds": round(seconds, 1),
        **device_hours(plan, seconds),
        "mlflow_run_id": run_id,
        "mlflow_experiment_id": tracker.experiment_id,
        "mlflow_uri": redact(uri),
        "code_version": code_version,
    }
    _log_results(plan, result, summary, tracker, keep_training(plan, result, folder, views_text(plan)))
    summary["tracked"] = tracker.finish()
    write_whole(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    return summary


def results_folder(plan: Plan) -> Path:
    """Where results under the plan's testing views lie, or will: the run's folder for those it was finished with."""
    folder, views = plan.folder, plan.config.evaluation.label
    first = folder / SUMMARY
    mine = not first.exists() or json.loads(first.read_text()).get("evaluation", views) == views
    return folder if mine else folder / EVALUATIONS / views


def stored_summary(plan: Plan) -> dict | None:
    """Summary of a finished run under the plan's testing views; None: it is not finished, or not evaluated in them.

    Raises:
        InputError: a newer version wrote the run's folder.
    """
    read_run(plan.folder)
    path = results_folder(plan) / SUMMARY
    return json.loads(path.read_text()) if path.exists() else None


def _evaluate(
    plan: Plan, show: Callable[[str, int, int, str], None] | None, held: list[ray.ObjectRef] | Turns | None
) -> dict:
    """Summary of a finished run under other testing views than it was finished with, from its last checkpoint.

    What the training was (loss, seconds, best checkpoint, MLflow run) is as in its own summary.
    """
    folder, last = results_folder(plan), checkpoint.newest(plan.folder / LAST)
    if not last.exists() or not ended((at := checkpoint.read_state(last)).best, at.epoch, plan.config.training):
        remedy = "delete the run's folder to train it again"
        raise InputError(
            f"{last}: no checkpoint of the whole training to evaluate in {views_text(plan)} views; {remedy}"
        )
    trained = json.loads((plan.folder / SUMMARY).read_text())
    log.info(
        "%s is trained already; evaluating it in %s views, in place of %s",
        plan.folder,
        views_text(plan),
        trained["views"],
    )
    uri = store_uri(plan.config.tracking.uri, output_of(plan.folder))
    plan = _without_password(plan)
    if plan.config.stream.hold and held is None:  # the training's views are not encoded again
        plan = streaming(plan)
    result = train(plan, None, show, held, results=folder)
    unchanged = "best seconds device_hours devices mlflow_run_id mlflow_experiment_id mlflow_uri code_version tracked"
    kept = {name: trained.get(name) for name in unchanged.split()}
    summary = summarise(plan, result) | of_training(plan.manifest, folder) | kept
    quarantine_table(plan, result).to_csv(folder / QUARANTINE, index=False)
    keep_training(plan, result, folder, views_text(plan))
    tracker = Tracker(uri, plan.config.tracking.experiment, plan.folder / RECORDS)
    tracker.run_id = trained["mlflow_run_id"] if redact(uri) == trained["mlflow_uri"] else None
    scores = {
        name.removeprefix("val/"): value
        for name, value in result["state"]["metrics"].items()
        if name.startswith("val/")
    }
    prefix = "final/" + re.sub(r"[()]", "", views_text(plan))  # MLflow takes no parentheses
    tracker.metrics({f"{prefix}/{name}": value for name, value in scores.items()}, step=summary["epochs"])
    write_whole(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    return summary


def _without_password(plan: Plan) -> Plan:
    """The plan as it may be written into folders and checkpoints."""
    tracking = plan.config.tracking
    shown = tracking.model_copy(update={"uri": tracking.uri and redact(tracking.uri)})
    return dataclasses.replace(plan, config=plan.config.model_copy(update={"tracking": shown}))


def _log_results(plan: Plan, result: dict, summary: dict, tracker: Tracker, figures: dict[str, Figure]) -> None:
    folder = plan.folder
    quarantine = quarantine_table(plan, result)
    quarantine.to_csv(folder / QUARANTINE, index=False)
    tracker.table(quarantine, "quarantine.json")
    numbers = {k: v for k, v in summary.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    tracker.metrics({f"final/{name}": value for name, value in numbers.items()}, step=summary["epochs"])
    for name, figure in figures.items():
        tracker.figure(figure, name)
    for head, names in plan.manifest.classes.items():
        if names and head in result.get("per_class", {}):
            accuracy = pd.DataFrame({"class": names, "accuracy": result["per_class"][head]})
            tracker.table(accuracy, f"per_class_accuracy_{head}.json")
    tracker.artifact(folder / CONFIG)
    for name in (LAST, BEST):
        if (folder / name).exists():
            tracker.artifact(folder / name, f"checkpoints/{name}")
    for name in (CLIPS, PREDICTIONS, WORST):
        if (folder / name).exists():
            tracker.artifact(folder / name)
