"""Scores and predictions of a trained checkpoint on a split of a data set,
by the workers and encoders that a training has.
"""

import dataclasses
import hashlib
import json
import logging
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ray

from ..config import Experiment
from ..config_file import override, validate
from ..data.manifest import Manifest, build_manifest
from ..data.places import SPLITS
from ..errors import InputError, naming
from ..evaluation.recognition import Scores
from ..files import write_whole
from ..passwords import redact
from ..pipeline.cache import Cache, open_cache
from ..pipeline.placement import connected
from ..pipeline.source import Cached
from ..plan import Plan, plan
from ..run_folder import EVALUATION, EVALUATIONS, FAILURES, MLFLOW_RUN, RECORDS, output_of, store_uri
from ..store_uri import sqlite_file
from ..stored_format import read_run
from ..tracking import Tracker
from ..training import checkpoint
from ..training.state import changed
from ..training.trainer import evaluate, hold_features
from .clip_predictions import predictions
from .kept import keep
from .subset_scores import subset_scores
from .summary import chance, views_text

log = logging.getLogger(__name__)
ABOUT = ("checkpoint", "split", "views", "changed")  # what predictions are of
Show = Callable[[str, int, int, str], None]


@dataclass(frozen=True, eq=False)
class Look:
    """A checkpoint brought together with the clips that it is to be evaluated on; made by `declare`."""

    folder: Path  # of the checkpoint
    split: str
    plan: Plan
    cache: Cache | None  # that holds the test views; else they are streamed
    changed: dict[str, object]  # settings that are not those of the training, by dotted key


def declare(folder: str, overrides: list[str], split: str = "val") -> Look:
    """Check a checkpoint against the data and backbone that its own config, with overrides, names.

    The features come from `stream.cache` where it holds the clips' test views; where it does not, that is said, and
    they are streamed. Data without any label are given the checkpoint's classes.

    Raises:
        InputError: not a checkpoint, another backbone or other classes than it was trained with, no clips of the split,
            bad overrides.
    """
    if split not in SPLITS:
        raise InputError(f"--split: {split!r} is not one of {', '.join(SPLITS)}")
    state = checkpoint.read_state(folder)
    config = validate(override(state.config, overrides), source="evaluate")
    manifest = build_manifest(config.data, config.seed)
    if not any(manifest.classes.values()):
        manifest = _unlabelled(manifest, state.classes)
    experiment = plan(config, manifest, training=False, tested=split)
    if experiment.backbone_hash != state.backbone_hash:
        raise InputError(
            f"backbone: its weights or normalisation are not those that {folder} was trained with; give the same"
        )
    if manifest.classes != state.classes:
        raise InputError(
            f"data.root: its classes are not those that {folder} was trained on; give the same class names"
        )
    cache = _cache(experiment, split) if config.stream.cache else None
    if config.stream.cache and cache is None:
        experiment = plan(_without_cache(config), manifest, training=False, tested=split)
    return Look(Path(folder), split, experiment, cache, changed(state, experiment.config))


def _unlabelled(manifest: Manifest, classes: dict[str, list[str]]) -> Manifest:
    table = manifest.table.drop(columns=list(manifest.classes)).assign(**dict.fromkeys(classes, -1))
    table.attrs = manifest.table.attrs
    return dataclasses.replace(manifest, table=table, classes=classes)


def _without_cache(config: Experiment) -> Experiment:
    return config.model_copy(update={"stream": config.stream.model_copy(update={"cache": None, "hold": False})})


def _cache(plan: Plan, split: str) -> Cache | None:
    """The cache that holds what is to be looked at; None, said in a line, where there is none."""
    config = plan.config
    needed = dataclasses.replace(plan.contents, views=0, train_tested=split == "train" or config.data.holdout > 0)
    try:
        cache = open_cache(config.stream.cache, plan.cache_key, needed)
        # are all there?
        Cached(cache, plan.manifest.table["clip_id"].tolist(), plan.labels, plan.schedule, 0, 1, config.sampling)
        return cache
    except InputError as error:
        log.warning("the features are streamed, since the cache cannot serve this: %s", error)
        return None


def evaluate_checkpoint(
    look: Look, show: Show | None = None, on_scores: Callable[[Scores], object] | None = None
) -> tuple[dict, list[dict]]:
    """Evaluate the adapter of a checkpoint.

    Args:
        show: progress; must survive pickling where there are Ray workers.
        on_scores: called with what was found, in this process; its probabilities are not rounded.

    Returns:
        Summary (metrics where clips have labels, chance, coverage, views, settings that are not those of the training,
        quarantine counts) and the predictions of
        every clip (`clip_predictions.predictions`).

    Raises:
        InputError: what `trainer.evaluate` refuses.
    """
    experiment, split = look.plan, look.split
    config, held = experiment.config, None
    if config.stream.hold and not look.cache:
        held, experiment = _held(experiment, split, show)
    scratch = _scratch(Path(config.output).absolute())
    try:
        found = evaluate(experiment, look.folder.absolute(), scratch, show, held, look.cache)
    finally:
        if not (scratch / FAILURES).exists():  # else the user was told of it
            shutil.rmtree(scratch, ignore_errors=True)
    scores, notices, manifest = found.scores, found.notices, experiment.manifest
    if on_scores:
        on_scores(scores)
    labelled = int((scores.seen[list(manifest.classes)] >= 0).any(axis=1).sum())
    summary = {
        "checkpoint": str(look.folder),
        "split": split,
        **{name: value for name, value in scores.metrics.items() if not math.isnan(value)},
        **subset_scores(manifest, scores.table, split),
        **({"chance": chance(experiment)} if labelled else {}),
        f"num_{split}_clips": scores.clips,
        "num_labelled_clips": labelled,
        "coverage": {split: manifest.coverage.get(split)},
        "views": views_text(experiment),
        "changed": look.changed,
        "features": "cache" if look.cache else "held" if held else "streamed",
        "device": found.device,
        **notices.counts(),
    }
    return summary, predictions(scores, manifest, split, notices.quarantined)


def keep_evaluation(look: Look, summary: dict, clips: list[dict]) -> Path | None:
    """Keep what was found in the folder of the checkpoint's run, and in its MLflow run; -> the folder.

    None where the checkpoint lies in no run's folder, or nothing may be written there, which is said.
    """
    run, split = look.folder.absolute().parent, look.split
    if not (run / MLFLOW_RUN).exists():
        return None
    data = look.plan.manifest.content_hash()
    other = "" if read_run(run).get("manifest_hash", data) == data else f"-{data[:6]}"
    name = f"{look.folder.name}-{split}{other}-{look.plan.config.evaluation.label}"
    if look.changed:  # another evaluation, which overwrites none
        name += f"-{hashlib.sha256(json.dumps(look.changed, sort_keys=True).encode()).hexdigest()[:6]}"
    folder, about = run / EVALUATIONS / name, {key: summary[key] for key in ABOUT}
    try:
        keep(folder, clips, look.plan.manifest.classes, about)
        write_whole(folder / EVALUATION, json.dumps(summary, indent=2) + "\n")
    except PermissionError as error:
        log.warning("%s: nothing of this evaluation is kept there (%s)", folder, error.strerror)
        return None
    mark = json.loads((run / MLFLOW_RUN).read_text())
    uri = store_uri(look.plan.config.tracking.uri, output_of(run))
    if mark.get("run_id") and mark.get("uri") == redact(uri) and _there(uri):
        tracker = Tracker(uri, look.plan.config.tracking.experiment, run / RECORDS)
        tracker.run_id = mark["run_id"]
        tracker.artifact(folder, f"{EVALUATIONS}/{name}")
        tracker.delivered()
    return folder


def _there(uri: str) -> bool:
    """A store in a file that is gone is not made anew for this."""
    file = sqlite_file(uri)
    return file is None or file.exists()


def _scratch(output: Path) -> Path:
    """A new folder for what Ray Train writes; in the output folder where several nodes must see it.

    Raises:
        InputError: it cannot be made there.
    """
    if not connected():
        return Path(tempfile.mkdtemp(prefix="evaluation-"))
    try:
        with naming(output):
            output.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix="evaluation-", dir=output))
    except OSError as error:
        raise InputError(
            f"output: {output} cannot be written ({error.strerror}); give output=FOLDER that all nodes share"
        ) from None


def _held(experiment: Plan, split: str, show: Show | None) -> tuple[list[ray.ObjectRef] | None, Plan]:
    """Features encoded before, as in the training; where they are too many for that, a plan that streams them."""
    try:
        return hold_features(experiment, show), experiment
    except InputError as error:
        log.warning("the features are streamed: %s", error)
        return None, plan(_without_cache(experiment.config), experiment.manifest, training=False, tested=split)
