"""One training worker: the loop of loop.py between a source of batches and checkpoints, records and progress."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import Experiment
from ..errors import InputError, naming
from ..evaluation.recognition import Scores
from ..model.adapter import ObjectCentricAdapter
from ..model.method import Method
from ..objective.gather import sum_over_workers, workers
from ..pipeline.metrics import show_training
from ..pipeline.quarantine import Notices
from ..pipeline.schedule import Schedule
from ..pipeline.source import Batch, Source
from . import checkpoint
from .loop import Progress, build_optimiser, distribute, merge_objects, train_epoch, validate

SEND_EVERY = 30.0  # seconds between deliveries of step metrics to the tracking store
ASK_EVERY = 2.0  # seconds between questions for a node that is about to be taken away; all workers wait for the answer
SAVE_REQUEST = "save_now"  # a file of this name in the run's folder asks for a checkpoint within the epoch


class Stopped(Exception):
    """Raised by `on_validation`: the training ends here, before its last epoch; its checkpoint stays."""


@dataclass(frozen=True, eq=False)
class Task:
    """All that a worker needs to know of a run."""

    word, again = (
        "training",
        "it goes on from the last checkpoint",
    )  # what it is called, and what it does behind a failure
    config: Experiment
    classes: dict[str, list[str]]  # head -> class names
    labels: np.ndarray  # int64 [manifest rows, heads]
    schedule: Schedule  # without segments: for_training fills them in
    joint_width: int
    backbone_hash: str
    folder: Path  # of the run; shared by all nodes
    tracker: Any  # tracking.Tracker or None
    show: Callable[[str, int, int, str], None] | None  # progress: (what, done, total, note)
    on_validation: Callable[[int, dict[str, float]], None] | None = None  # (epochs done, metrics); may raise `Stopped`
    results: Path | None = (
        None  # where a finished training that is only evaluated leaves its results; None: it is trained
    )

    @property
    def heads(self) -> dict[str, int]:
        """Head -> number of classes."""
        return {name: len(names) for name, names in self.classes.items()}

    def adapter(self) -> ObjectCentricAdapter:
        """A new adapter, initialised under the run's seed."""
        return build_adapter(self.config, self.heads, self.joint_width)

    def last(self) -> Path:
        """Folder of the newest checkpoint, whether or not it exists yet."""
        return checkpoint.newest(self.folder / "last")

    def remaining(self, workers: int | None = None) -> Schedule:
        """The schedule from the last checkpoint on, for as many workers as the config says, or as there are."""
        schedule = replace(self.schedule, workers=workers or self.schedule.workers)
        state = checkpoint.read_state(self.last()) if self.last().exists() else None
        training = self.config.training
        return schedule.for_training(
            training.epochs, training.validate_every, state.epoch if state else 0, state.step if state else 0
        )


def method_class(config: Experiment) -> type[Method]:
    """The class of the config's method, which says what it needs before anything is built."""
    return ObjectCentricAdapter


def build_adapter(config: Experiment, heads: dict[str, int], joint_width: int) -> ObjectCentricAdapter:
    """A new adapter whose initial weights, and what its losses draw, depend on the config and its seed alone."""
    torch.manual_seed(config.seed)
    shape = heads, joint_width, config.sampling.frames, config.interval
    return ObjectCentricAdapter(config.model, config.objective, *shape, config.seed)


def run(
    task: Task, source: Source, device: torch.device, preemption: Callable[[], object | None] = lambda: None
) -> None:
    """Train to the end of the schedule, from the last checkpoint if there is one.

    Rank 0 writes into `task.folder`: `last/` and `best/` checkpoints, and at the end `result.json` and `clips.parquet`
    (validation clip by clip). `best/` is the best of the validations that were made, under the views of the config; a
    training that goes on under other views begins anew with it. With `task.results`, nothing but the last validation is made,
    its results go there, and the checkpoints stay as they are.

    Args:
        preemption: what is known of a node that is about to be taken away, or None; asked now and then, by all workers at once.
    """
    rank, _ = workers()
    chief = rank == 0
    adapter = task.adapter().to(device)
    optimiser = build_optimiser(adapter, task.config.training)
    state = checkpoint.State(task.config.model_dump(mode="json"), task.classes, task.joint_width, task.backbone_hash)
    if task.last().exists():
        state = checkpoint.load(task.last(), adapter, optimiser)
        if state.config.get("evaluation") != task.config.evaluation.model_dump(mode="json") and not task.results:
            state.best = {}  # shares that were found in other views are no measure for these
        state.config = task.config.model_dump(mode="json")
    if len(set(merge_objects((state.epoch, state.step)))) > 1:
        raise InputError(
            f"output: the workers see different checkpoints in {task.folder}; give a folder that all nodes share"
        )
    progress = Progress(state.epoch, state.step, state.global_step, state.sums)
    module, notices, pending = distribute(adapter, device), Notices.from_json(state.notices, chief), []
    steps_per_epoch, leaving = task.schedule.train_steps(), None
    sent = saved = asked = time.monotonic()

    def send() -> None:
        nonlocal sent
        if task.tracker and pending:
            task.tracker.series(pending)
        pending.clear()
        sent = time.monotonic()

    def save(name: str = "last") -> None:
        nonlocal saved
        saved = time.monotonic()
        send()  # what a checkpoint has behind it is on record, so a resumed run has no gap
        state.epoch, state.step, state.global_step, state.sums = (
            progress.epoch,
            progress.step,
            progress.global_step,
            progress.sums,
        )
        state.notices = everything.to_json()
        checkpoint.save(task.folder / name, adapter, optimiser if name == "last" else None, state)

    def checkpoint_is_due() -> bool:
        """The same on every worker, since each has notices that belong into the checkpoint."""
        nonlocal asked, leaving
        now = time.monotonic()
        due = now - saved > 60 * task.config.stream.checkpoint_minutes or (task.folder / SAVE_REQUEST).exists()
        flags = torch.tensor([due and chief, now - asked > ASK_EVERY and chief], dtype=torch.float32, device=device)
        due, ask = (sum_over_workers(flags) > 0).tolist()
        if ask:
            asked, known, leaving = now, leaving, preemption()
            due = due or (leaving is not None and leaving != known)
        return due

    def on_batch(batch, metrics, kind="train", epoch=0, total=0):
        nonlocal everything
        notices.update(batch, _counted(batch, kind, epoch, notices))
        if chief:
            shown.append(1)
            if task.show:
                note = f"loss {metrics['total']:.3f}" if metrics else ""
                task.show(f"epoch {epoch + 1}/{task.config.training.epochs} {kind}", len(shown), total, note)
            if metrics:
                show_training(task.config.name, progress.sums, progress.step)
                if task.tracker:
                    pending.append((progress.global_step, {f"step/{name}": value for name, value in metrics.items()}))
                    if time.monotonic() - sent > SEND_EVERY:
                        send()
        if metrics and checkpoint_is_due():
            everything = merged(notices)
            if chief:
                save()
                (task.folder / SAVE_REQUEST).unlink(missing_ok=True)

    scores, everything = None, notices
    for segment in task.remaining().segments:
        shown = [1] * segment.skip
        batches = source.batches(segment) if segment.skip < segment.steps else ()

        def seen(batch, metrics, kind=segment.kind, number=segment.number, total=segment.steps):
            on_batch(batch, metrics, kind, number, total)

        if segment.kind == "train":
            means = train_epoch(
                module,
                batches,
                optimiser,
                task.config.training,
                progress,
                steps_per_epoch,
                device,
                seen,
                task.config.seed,
            )
            state.metrics = {f"train/{name}": value for name, value in means.items()}
            everything = merged(notices)
            _refuse_unusable(task, everything)
        else:
            scores = validate(adapter, batches, task.heads, device, seen)
            notices.validated = True
            everything = merged(notices)
            state.metrics |= {f"val/{name}": value for name, value in scores.metrics.items()}
            top1 = scores.metrics.get("action_top1", scores.metrics.get("top1", float("nan")))
            if chief and not task.results and not top1 < state.best.get("top1", -1.0):
                state.best = {"epoch": segment.number + 1, "top1": top1}
                save("best")
        last_of_epoch = segment.kind == "val" or not _validated(task, segment.number)
        if chief and last_of_epoch and not task.results:
            pending.append((progress.epoch, {f"epoch/{name}": value for name, value in state.metrics.items()}))
            save()
        if chief and segment.kind == "val" and task.on_validation:
            task.on_validation(segment.number + 1, scores.metrics)
    if chief:
        with naming(task.results or task.folder):
            _finish(task, state, scores, everything, device)


def _validated(task: Task, epoch: int) -> bool:
    training = task.config.training
    last = epoch + 1 == training.epochs
    return bool(task.schedule.val_steps()) and ((epoch + 1) % training.validate_every == 0 or last)


def _counted(batch: Batch, kind: str, epoch: int, notices: Notices) -> Tensor | None:
    """Which clips of a batch are counted now: training clips in the first epoch, the others in the first validation."""
    if kind == "train":
        return batch["row"] >= 0 if epoch == 0 else None
    return None if notices.validated else batch["view"] == 0


def merged(notices: Notices) -> Notices:
    """Notices of all workers; each of them must call it."""
    everything = Notices()
    for other in merge_objects(notices):
        everything.merge(other)
    return everything


def _refuse_unusable(task: Task, notices: Notices) -> None:
    """An epoch without a single usable clip is no training."""
    clips = task.schedule.train_rows
    if len(notices.quarantined) >= len(clips) and notices.quarantined.keys() >= set(clips.tolist()):
        stage, reason = next(iter(notices.quarantined.values()))
        raise InputError(
            f"data.root: none of the {len(clips)} training clips can be used (the first: {stage}: {reason})"
        )


def _finish(
    task: Task, state: checkpoint.State, scores: Scores | None, everything: Notices, device: torch.device
) -> None:
    result = {
        "state": asdict(state) | {"config": None, "notices": None},
        "counts": everything.counts(),
        "device": device.type,
    }
    result["unsent"] = task.tracker.take_unsent() if task.tracker else []
    result["quarantine"] = [[row, *reason] for row, reason in sorted(everything.quarantined.items())]
    folder = task.results or task.folder
    if scores is not None:
        scores.table.to_parquet(folder / "clips.parquet")
        result["confusion"] = {head: matrix.tolist() for head, matrix in scores.confusion.items()}
        result["per_class"] = {head: values.tolist() for head, values in scores.per_class.items()}
        result["val_clips"], result["val_views"] = scores.clips, scores.views
    (folder / "result.json").write_text(json.dumps(result) + "\n")
