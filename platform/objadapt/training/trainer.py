"""A training from plan to finished run: what is held or cached, Ray Train workers (or none: in this process)."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch

from ..errors import naming
from ..pipeline.cache import Cache, open_cache
from ..pipeline.gpu_check import check_gpus, check_own_gpu
from ..pipeline.placement import check_placement
from ..pipeline.source import Source, Stored, Streamed, clip_bytes, hold
from ..plan import Plan
from ..run_folder import CONFIG, MANIFEST, RESULT, SAVE_REQUEST
from .display import stage
from .ending import checkpoint_on_sigterm
from .evaluating import Evaluated, EvaluationTask, evaluate_clips
from .ray_train import Work, batches_of, train_on_workers
from .task import Task
from .worker import run


def hold_features(plan: Plan, show: Callable[[str, int, int, str], None] | None = None) -> list[ray.ObjectRef]:
    """Encode every (clip, view) of a plan once.

    Several trainings of the same clips and backbone can share the blocks.
    """
    check_placement(plan.placed, workers=0, encoders=plan.placed.number_of_encoders)
    check_gpus(plan.placed.gpus_of_encoder, plan.config.backbone.precision)
    stage(show, "encode: waiting for the first clips")
    schedule = plan.schedule.for_holding(plan.config.stream.views)
    size = clip_bytes(plan.config.sampling.frames, plan.patch_tokens, plan.joint_width)
    return hold(plan.stream(schedule), len(schedule), size, show)


def train(
    plan: Plan,
    tracker: Any = None,
    show: Callable[[str, int, int, str], None] | None = None,
    held: list[ray.ObjectRef] | Source | None = None,
    on_validation: Callable[[int, dict[str, float]], None] | None = None,
    results: Path | None = None,
) -> dict:
    """Train (or go on from the run's last checkpoint) and return the contents of its `result.json`.

    Args:
        tracker: `tracking.Tracker` with a started run, or None.
        show: progress callback; must survive pickling where there are Ray workers.
        held: blocks of `hold_features` of a plan with the same clips, views and backbone, or the batches of a stream
            that several trainings share (shared_stream.py), in this process; else a stream of its own is used.
        on_validation: called with (epochs done, metrics) after each validation; may end the training by `task.Stopped`.
            For trainings in this process (`stream.num_workers: 0`).
        results: folder for what comes out where a training that is through is only to be evaluated under other testing
            views.
    """
    config, stream = plan.config, plan.placed
    cache = open_cache(stream.cache, plan.cache_key, plan.contents) if stream.cache and held is None else None
    folder = results or plan.folder
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(config.to_yaml())
        if not results:
            plan.manifest.write(folder / MANIFEST)
    others = {"tracker": tracker, "show": show, "on_validation": on_validation, "results": results}
    task = Task.of(plan, plan.folder, **others)
    task.remaining()  # a damaged checkpoint is refused here, not in a worker
    stored = None
    if held is not None and not isinstance(held, list):
        run(task, held, _device(plan))
        return json.loads((folder / RESULT).read_text())
    if held is not None or cache:
        stored = Stored(held, cache, plan.manifest.table["clip_id"].tolist(), plan.labels, config)
    with checkpoint_on_sigterm(plan.folder / SAVE_REQUEST):
        if stream.num_workers == 0:
            _work_here(plan, task, stored, run)
        else:
            train_on_workers(task, plan.stream, stored, stream)
    return json.loads((folder / RESULT).read_text())


def evaluate(
    plan: Plan,
    checkpoint: Path,
    scratch: Path,
    show: Callable[[str, int, int, str], None] | None = None,
    held: list[ray.ObjectRef] | None = None,
    cache: Cache | None = None,
) -> Evaluated:
    """Scores of a trained adapter on the clips of a plan's test views, placed as a training is.

    Args:
        scratch: a folder that all nodes share, for what Ray Train writes.
        show, held: as for `train`.
        cache: that holds the test views; with neither, they are streamed.
    """
    task = EvaluationTask.of(plan, scratch, show=show, checkpoint=checkpoint)
    stored = None
    if held is not None or cache:
        stored = Stored(held, cache, plan.manifest.table["clip_id"].tolist(), plan.labels, plan.config)
    if plan.placed.num_workers == 0:
        return _work_here(plan, task, stored, evaluate_clips)
    return train_on_workers(task, plan.stream, stored, plan.placed, evaluate_clips)


def _work_here(plan: Plan, task: Task, stored: Stored | None, work: Work) -> Any:
    with source_here(plan, task, stored) as (source, device):
        return work(task, source, device, lambda: None)


@contextmanager
def source_here(plan: Plan, task: Task, stored: Stored | None = None) -> Iterator[tuple[Source, torch.device]]:
    """Batches of what is left of a task, and where they are trained on, for a training in this process."""
    stream, schedule = plan.placed, task.remaining()
    device = _device(plan)
    if device.type == "cuda":
        check_own_gpu()
    if not stored:
        check_placement(stream, workers=0, encoders=stream.number_of_encoders)
        check_gpus(stream.gpus_of_encoder, plan.config.backbone.precision)
    streams = (plan.stream(window).iterator() for window in schedule.windows())
    with batches_of(task, schedule, 0, device, stored, streams) as source:
        try:
            yield source, device
        finally:
            if isinstance(source, Streamed):
                source.close()


def _device(plan: Plan) -> torch.device:
    return torch.device("cuda" if plan.placed.gpus_of_trainer > 0 else "cpu")
