"""One training worker: the loop of loop.py between a source of batches and checkpoints, records and progress."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, naming
from ..evaluation.recognition import Scores
from ..methods.distributed import sum_over_workers, workers
from ..pipeline.metrics import show_training
from ..pipeline.quarantine import Notices
from ..pipeline.schedule import Segment
from ..pipeline.source import Batch, Source
from ..run_folder import BEST, CLIPS, LAST, PROBABILITIES, RESULT, SAVE_REQUEST
from . import checkpoint
from .all_notices import merged, refuse_unusable
from .average import Average
from .beginning import begin
from .display import duration, stage, tell
from .epoch_text import epoch_text
from .loop import Progress, build_optimiser, distribute, merge_objects, train_epoch, validate
from .mixing import mixed
from .objective import objective
from .patience import early, ended, noted
from .task import Task
from .time_left import TimeLeft
from .validation_loss import WithLoss

SEND_EVERY = 30.0  # seconds between deliveries of step metrics to the tracking store
ASK_EVERY = 2.0  # seconds between questions for a node that is about to be taken away; all workers wait for the answer


def run(
    task: Task, source: Source, device: torch.device, preemption: Callable[[], object | None] = lambda: None
) -> None:
    """Train to the end of the schedule, from the last checkpoint if there is one.

    Rank 0 writes into `task.folder`: `last/` and `best/` checkpoints, and at the end `result.json` and `clips.parquet`
    (validation clip by clip). `best/` is the best of the validations that were made, under the views of the config; a
    training that goes on under other views begins anew with it. With `task.results`, nothing but the last validation is
    made, its results go there, and the checkpoints stay as they are.

    Args:
        preemption: what is known of a node that is about to be taken away, or None; asked now and then, by all workers
            at once.
    """
    worker = Worker(task, source, device, preemption)
    for segment in worker.segments:
        if segment.kind == "train":
            worker.train(segment)
        else:
            worker.validate(segment)
        worker.end(segment)
        if worker.has_ended(segment):
            break
    worker.finish()


class Worker:
    """A run on one worker: the model, where the run stands, and what is noted until it is written down.

    Attributes:
        notices: what this worker's batches reported; `all_notices`: what those of all workers had, when last merged.
        pending: series of metrics that are not sent yet, (step, values) each.
        scores: of the last validation.
        average: of the weights, where one is asked for: it is what is validated and kept.
    """

    def __init__(self, task: Task, source: Source, device: torch.device, preemption: Callable[[], object | None]):
        self.task, self.source, self.device, self.preemption = task, source, device, preemption
        self.chief = workers()[0] == 0
        self.method = task.method().to(device)
        self.optimiser = build_optimiser(self.method, task.config.training)
        ema = task.config.training.ema
        self.average = Average(self.method, ema) if ema else None
        self.state = self._state()
        self.progress = Progress(self.state.epoch, self.state.step, self.state.global_step, self.state.sums)
        labels, classes = task.labels[task.schedule.train_rows], list(task.heads.values())
        self.module = distribute(objective(self.method, task.config, labels, classes), device)
        self.notices = self.all_notices = Notices.from_json(self.state.notices, self.chief)
        self.pending: list[tuple[int, dict[str, float]]] = []
        self.scores: Scores | None = None
        self.segments = task.remaining().segments
        self.time_left = TimeLeft(self.segments)
        self.first_looks: Iterator[np.ndarray] = iter(())  # bool [B] of each batch of the first epoch that is left
        self.shown = 0  # batches of the segment that are done
        self.leaving: object | None = None  # the last answer of `preemption`
        self.sent = self.saved = self.asked = time.monotonic()

    def _state(self) -> checkpoint.State:
        """Where the run stands: at its last checkpoint, whose weights are loaded, or at its beginning."""
        task = self.task
        config = task.config.model_dump(mode="json")
        state = checkpoint.State(config, task.classes, task.joint_width, task.backbone_hash)
        if task.last().exists():
            state = checkpoint.load(task.last(), self.method, self.optimiser, self.average)
            if state.config.get("evaluation") != config["evaluation"] and not task.results:
                state.best = {}  # shares that were found in other views are no measure for these
            state.config = config
        if len(set(merge_objects((state.epoch, state.step)))) > 1:
            raise InputError(
                f"output: the workers see different checkpoints in {task.folder}; give a folder that all nodes share"
            )
        return state

    def train(self, segment: Segment) -> None:
        """The rest of an epoch."""
        training, steps = self.task.config.training, self.task.schedule.train_steps()
        seen, batches = partial(self._on_batch, segment), self._batches(segment)
        if segment.number == 0:
            schedule = replace(self.task.schedule, workers=workers()[1])
            self.first_looks = iter(schedule.first_looks(segment, workers()[0]))
        seed, progress = self.task.config.seed, self.progress
        if self.method.first_clips and not progress.global_step:
            batches = begin(self.method, batches, training.batch_size, seed)
            if self.average:
                self.average.begin(self.method)
        if training.mixes:
            batches = mixed(batches, training, seed, progress.global_step, self.device)
        means = train_epoch(self.module, batches, self.optimiser, training, progress, steps, self.device, seen, seed)
        self.state.metrics = {f"train/{name}": value for name, value in means.items()}
        self.all_notices = merged(self.notices)
        refuse_unusable(self.task, self.all_notices)

    def validate(self, segment: Segment) -> None:
        """Scores of the validation clips; the best so far are kept with their weights."""
        seen, batches = partial(self._on_batch, segment), self._batches(segment)
        judged = self.method if self.task.config.method.classifies else WithLoss(self.method)
        with self.average.inside(self.method) if self.average else nullcontext():
            self.scores = validate(judged, batches, self.task.heads, self.device, seen)
        if isinstance(judged, WithLoss):
            self.scores.metrics["loss"] = judged.mean()
        self.notices.validated = True
        self.all_notices = merged(self.notices)
        metrics, state = self.scores.metrics, self.state
        state.metrics |= {f"val/{name}": value for name, value in metrics.items()}
        top1 = metrics.get("action_top1", metrics.get("top1", float("nan")))
        if not self.task.results and not top1 < state.best.get("top1", -1.0):
            state.best = noted(state.best, segment.number + 1, top1, self.task.config.training)
            if self.chief:
                self.save(BEST)

    def end(self, segment: Segment) -> None:
        """Behind the last segment of an epoch a checkpoint and the epoch's metrics.

        Who asked for validations hears of one.
        """
        task, state = self.task, self.state
        if not self.chief:
            return
        if not task.results and (segment.kind == "val" or not _validated(task, segment.number)):
            epoch = {f"epoch/{name}": value for name, value in state.metrics.items()}
            self.pending.append((self.progress.epoch, epoch))
            stage(task.show, f"epoch {self.progress.epoch}/{task.config.training.epochs}: writing the checkpoint")
            self.save()
            self._tell_epoch()
        if segment.kind == "val" and task.on_validation:
            assert self.scores is not None, "the validation that ends here has found them"
            task.on_validation(segment.number + 1, self.scores.metrics)

    def has_ended(self, segment: Segment) -> bool:
        """Whether the training ends behind this segment, before its last epoch; every worker finds the same."""
        done, training = segment.number + 1, self.task.config.training
        why = early(done, training) if segment.kind == "val" and ended(self.state.best, done, training) else None
        if why and self.chief and not self.task.results:
            tell(self.task.show, f"the training has ended {why}")
        return why is not None

    def finish(self) -> None:
        """Write what came out."""
        if self.chief:
            stage(self.task.show, f"ending the {self.task.word}")
            with naming(self.task.results or self.task.folder):
                self._write_result()

    def send(self) -> None:
        """Deliver what is pending to the tracking store."""
        if self.task.tracker and self.pending:
            self.task.tracker.series(self.pending)
        self.pending.clear()
        self.sent = time.monotonic()

    def save(self, name: str = LAST) -> None:
        """Write a checkpoint."""
        state, progress, self.saved = self.state, self.progress, time.monotonic()
        self.send()  # what a checkpoint has behind it is on record, so a resumed run has no gap
        state.epoch, state.step = progress.epoch, progress.step
        state.global_step, state.sums = progress.global_step, progress.sums
        state.notices = self.all_notices.to_json()
        optimiser = self.optimiser if name == LAST else None
        checkpoint.save(self.task.folder / name, self.method, optimiser, state, self.average)

    def _tell_epoch(self) -> None:
        state, epochs = self.state, self.task.config.training.epochs
        if "train/total" in state.metrics:  # a training that was through when it went on has none
            tell(self.task.show, epoch_text(state.epoch, epochs, state.metrics, state.best, self._left()))

    def _left(self) -> str | None:
        """Time left of the run, in words."""
        return duration(seconds) if (seconds := self.time_left.seconds()) else None

    def _epoch_of(self, segment: Segment) -> str:
        return f"epoch {segment.number + 1}/{self.task.config.training.epochs} {segment.kind}"

    def _batches(self, segment: Segment):
        self.shown = segment.skip
        if self.chief:
            stage(self.task.show, f"{self._epoch_of(segment)}: waiting for the first clips")
        return self.source.batches(segment) if segment.skip < segment.steps else iter(())

    def _on_batch(self, segment: Segment, batch: Batch, metrics: dict[str, float]) -> None:
        """Note a batch that is done: `metrics` of a step, or none of a validation."""
        if metrics and self.average:
            self.average.update(self.method)
        self.notices.update(batch, self._counted(batch, segment))
        if self.chief:
            self._show(segment, metrics)
        if metrics and self._checkpoint_is_due():
            self.all_notices = merged(self.notices)
            if self.chief:
                self.save()
                (self.task.folder / SAVE_REQUEST).unlink(missing_ok=True)

    def _counted(self, batch: Batch, segment: Segment) -> Tensor | None:
        """Which clips of a batch are counted now: training clips when the first epoch first has them, the others in the
        first validation.
        """
        if segment.kind != "train":
            return None if self.notices.validated else batch["view"] == 0
        return torch.from_numpy(next(self.first_looks)) if segment.number == 0 else None

    def _show(self, segment: Segment, metrics: dict[str, float]) -> None:
        task, self.shown = self.task, self.shown + 1
        self.time_left.step(segment.kind)
        if task.show:
            loss, left = f"loss {metrics['total']:.3f}" if metrics else "", self._left()
            note = ", ".join(filter(None, [loss, left and f"whole training {left} left"]))
            task.show(self._epoch_of(segment), self.shown, segment.steps, note)
        if metrics:
            show_training(task.folder.name, self.progress.sums, self.progress.step)
            if task.tracker:
                step = {f"step/{name}": value for name, value in metrics.items()}
                self.pending.append((self.progress.global_step, step))
                if time.monotonic() - self.sent > SEND_EVERY:
                    self.send()

    def _checkpoint_is_due(self) -> bool:
        """The same on every worker, since each has notices that belong into the checkpoint."""
        now, minutes = time.monotonic(), self.task.config.stream.checkpoint_minutes
        due = now - self.saved > 60 * minutes or (self.task.folder / SAVE_REQUEST).exists()
        flags = [due and self.chief, now - self.asked > ASK_EVERY and self.chief]
        due, ask = (sum_over_workers(torch.tensor(flags, dtype=torch.float32, device=self.device)) > 0).tolist()
        if ask:
            self.asked, before, self.leaving = now, self.leaving, self.preemption()
            due = due or (self.leaving is not None and self.leaving != before)
        return due

    def _write_result(self) -> None:
        scores, notices, folder = self.scores, self.all_notices, self.task.results or self.task.folder
        result = {
            "state": asdict(self.state) | {"config": None, "notices": None},
            "counts": notices.counts(),
            "device": self.device.type,
        }
        result["unsent"] = self.task.tracker.take_unsent() if self.task.tracker else []
        result["quarantine"] = [[row, *reason] for row, reason in sorted(notices.quarantined.items())]
        if scores is not None and scores.probabilities:
            scores.table.to_parquet(folder / CLIPS)
            scores.clip_probabilities().to_parquet(folder / PROBABILITIES)
            result["confusion"] = {head: matrix.tolist() for head, matrix in scores.confusion.items()}
            result["per_class"] = {head: values.tolist() for head, values in scores.per_class.items()}
        if scores is not None:
            result["val_clips"], result["val_views"] = scores.clips, scores.views
        (folder / RESULT).write_text(json.dumps(result) + "\n")


def _validated(task: Task, epoch: int) -> bool:
    training = task.config.training
    last = epoch + 1 == training.epochs
    return bool(task.schedule.val_steps()) and ((epoch + 1) % training.validate_every == 0 or last)
