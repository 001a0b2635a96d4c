"""A training from manifest to finished run: schedule, stream, Ray Train workers (or none: in this process)."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray
import ray.train
import torch
from pyarrow.fs import LocalFileSystem
from ray.train.torch import TorchTrainer

from ..backbone import build_backbone
from ..config import Experiment
from ..data.manifest import Manifest, build_manifest
from ..errors import InputError, naming
from ..model.adapter import ObjectCentricAdapter
from ..pipeline.cache import Cache, Contents, cache_key, open_cache
from ..pipeline.placement import check_placement
from ..pipeline.schedule import Schedule
from ..pipeline.source import Cached, Held, Source, Streamed, clip_bytes, hold
from ..pipeline.stream import configure_data_context, feature_stream
from .ending import checkpoint_on_sigterm
from .worker import SAVE_REQUEST, Task, build_adapter, run

PACKAGE = Path(__file__).resolve().parents[1]
MAX_BLOCK_BYTES = 64 * 2**20  # Ray Data splits blocks above 128 MiB, and a block must stay one worker's turn
RESTARTS = 3  # of the worker group, after which a training gives up


@dataclass(frozen=True, eq=False)
class Plan:
    """A config brought together with its data and backbone; nothing has been decoded yet."""

    config: Experiment
    manifest: Manifest
    joint_width: int
    crop: int  # side of the frames the backbone sees, pixels
    patch_tokens: int  # N at that size
    backbone_hash: str
    schedule: Schedule

    @property
    def flip(self) -> bool:
        """Whether training flips clips: the config's word, else the data set's."""
        return self.manifest.flip if self.config.transform.flip is None else self.config.transform.flip

    @property
    def labels(self) -> np.ndarray:
        """int64 [manifest rows, heads]; -1 = no label."""
        return self.manifest.table[list(self.manifest.classes)].to_numpy(np.int64)

    @property
    def identity(self) -> str:
        """12 hex digits of everything that makes the result: config, clips, weights, and the method's source files."""
        parts = [self.config.content_hash(), self.manifest.content_hash(), self.backbone_hash, method_version(), str(self.flip)]
        return hashlib.sha256("-".join(parts).encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """The run's folder under `config.output`."""
        return Path(self.config.output).expanduser().absolute() / "runs" / f"{self.config.name}-seed{self.config.seed}-{self.identity}"

    def adapter(self) -> ObjectCentricAdapter:
        """A new adapter for this plan."""
        return build_adapter(self.config, self.manifest.heads, self.joint_width)

    @cached_property
    def all_clips(self) -> pd.DataFrame:
        """The manifest's table before clips were held out or left out: a cache is made for the whole data set."""
        data = self.config.data
        if data.fraction == 1 and data.holdout == 0:
            return self.manifest.table
        return build_manifest(data.model_copy(update={"fraction": 1.0, "holdout": 0.0}), self.config.seed).table

    @cached_property
    def cache_key(self) -> str:
        """Which cache below `config.stream.cache` has this plan's features."""
        return cache_key(self.config, self.backbone_hash, self.crop, self.flip, self.all_clips)

    @property
    def contents(self) -> Contents:
        """What this plan asks of its cache."""
        evaluation, stream = self.config.evaluation, self.config.stream
        return Contents(
            (self.config.sampling.frames,), stream.views, evaluation.temporal_clips, evaluation.spatial_crops,
            self.config.data.holdout > 0, stream.storage,
        )  # fmt: skip

    def stream(self, schedule: Schedule) -> ray.data.Dataset:
        """Features of a schedule of this plan's clips."""
        return feature_stream(schedule, self.manifest.table, self.config, self.crop, self.flip)


def method_version() -> str:
    """12 hex digits of the source files that decide what a training learns."""
    files = sorted([*PACKAGE.glob("model/*.py"), *PACKAGE.glob("objective/*.py"), PACKAGE / "training" / "loop.py"])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def plan(config: Experiment, manifest: Manifest, training: bool = True) -> Plan:
    """Check a config against its data and backbone.

    Raises:
        InputError: no training clips (or, without `training`, none to validate on), unusable backbone or crop size.
    """
    table = manifest.table
    rows = {split: np.flatnonzero(table["split"] == split) for split in ("train", "val")}
    if not len(rows["train" if training else "val"]):
        raise InputError(f"data.root: no {'training' if training else 'validation'} clips in {config.data.root}; check the annotations")
    encoder = build_backbone(config.backbone)
    crop = config.transform.size or encoder.image_size
    if crop % encoder.patch_size:
        raise InputError(f"transform.size: {crop} is not a multiple of the backbone's patch size {encoder.patch_size}")
    if training and config.objective.classification > 0 and not all(manifest.classes.values()):
        remedy = "check the annotations, or set it to 0 to learn from the other losses"
        raise InputError(f"objective.classification: no training clip has a label; {remedy}")
    first_head = next(iter(manifest.classes))
    least, most_workers = config.stream.worker_range
    # of a batch's clips, what every number of workers can be dealt whole: an elastic training keeps its blocks
    share = config.training.batch_size // math.lcm(*range(least, most_workers + 1))
    frames, tokens = config.sampling.frames, (crop // encoder.patch_size) ** 2
    heaviest = max(clip_bytes(frames, tokens, encoder.joint_width), 3 * frames * crop**2)  # features or pixels of a clip
    most = max(1, min(config.stream.clips_per_task, MAX_BLOCK_BYTES // heaviest))
    schedule = Schedule(
        train_rows=rows["train"] if training else rows["train"][:0],
        train_labels=table[first_head].to_numpy(np.int64)[rows["train"]] if training else np.empty(0, np.int64),
        val_rows=rows["val"],
        val_views=config.evaluation.temporal_clips * config.evaluation.spatial_crops,
        batch_size=config.training.batch_size,
        workers=most_workers,
        block=max(size for size in range(1, most + 1) if share % size == 0),
        seed=config.seed,
        clips_per_class=config.training.clips_per_class,
    )
    return Plan(config, manifest, encoder.joint_width, crop, tokens, encoder.weights_hash, schedule)


def hold_features(plan: Plan, show: Callable[[str, int, int, str], None] | None = None) -> list[ray.ObjectRef]:
    """Encode every (clip, view) of a plan once; several trainings of the same clips and backbone can share the blocks."""
    check_placement(plan.config.stream, workers=0, encoders=plan.config.stream.encoders)
    schedule = plan.schedule.for_holding(plan.config.stream.views)
    size = clip_bytes(plan.config.sampling.frames, plan.patch_tokens, plan.joint_width)
    return hold(plan.stream(schedule), len(schedule), size, show)


def train(
    plan: Plan,
    tracker: Any = None,
    show: Callable[[str, int, int, str], None] | None = None,
    held: list[ray.ObjectRef] | None = None,
    on_validation: Callable[[int, dict[str, float]], None] | None = None,
) -> dict:
    """Train (or go on from the run's last checkpoint) and return the contents of its `result.json`.

    Args:
        tracker: `tracking.Tracker` with a started run, or None.
        show: progress callback; must survive pickling where there are Ray workers.
        held: blocks of `hold_features` of a plan with the same clips, views and backbone; else the stream is used.
        on_validation: called with (epochs done, metrics) after each validation; may end the training by `worker.Stopped`.
            For trainings in this process (`stream.num_workers: 0`).
    """
    config, stream = plan.config, plan.config.stream
    cache = open_cache(stream.cache, plan.cache_key, plan.contents) if stream.cache and held is None else None
    with naming(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
        (plan.folder / "config.yaml").write_text(config.to_yaml())
        plan.manifest.write(plan.folder / "manifest")
    task = Task(
        config, plan.manifest.classes, plan.labels, plan.schedule, plan.joint_width, plan.backbone_hash, plan.folder,
        tracker, show, on_validation,
    )  # fmt: skip
    task.remaining()  # a damaged checkpoint is refused here, not in a worker
    stored = _Stored(held, cache, plan.manifest.table["clip_id"].tolist()) if held is not None or cache else None
    with checkpoint_on_sigterm(plan.folder / SAVE_REQUEST):
        if stream.num_workers == 0:
            _train_here(plan, task, stored)
        else:
            _train_on_workers(plan, task, stored)
    return json.loads((plan.folder / "result.json").read_text())


@dataclass(frozen=True, eq=False)
class _Stored:
    """Features that are encoded already: held blocks, or a cache."""

    held: list[ray.ObjectRef] | None
    cache: Cache | None
    clip_ids: list[str]

    def source(self, task: Task, schedule: Schedule, rank: int) -> Source:
        config = task.config
        if self.held is not None:
            return Held(self.held, task.labels, schedule, rank, config.stream.views)
        reverse = config.evaluation.reverse
        return Cached(self.cache, self.clip_ids, task.labels, schedule, rank, config.stream.views, config.sampling, reverse)


def _train_here(plan: Plan, task: Task, stored: _Stored | None) -> None:
    stream, schedule = plan.config.stream, task.remaining()
    if stored:
        source = stored.source(task, schedule, 0)
    else:
        check_placement(stream, workers=0, encoders=stream.encoders)
        streams = (plan.stream(window).iterator() for window in schedule.windows())
        source = Streamed(streams, task.labels, schedule, 0, stream.prefetch_batches)
    run(task, source, torch.device("cuda" if stream.trainer_gpus > 0 else "cpu"))


def _train_on_workers(plan: Plan, task: Task, stored: _Stored | None) -> None:
    stream, (least, most) = plan.config.stream, plan.config.stream.worker_range
    check_placement(stream, least, encoders=0 if stored else stream.encoders)
    windows = [_window_name(number) for number, _ in enumerate(task.remaining().windows())]
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"task": task, "stored": stored},
        scaling_config=ray.train.ScalingConfig(
            num_workers=most if least == most else (least, most),
            use_gpu=stream.trainer_gpus > 0,
            resources_per_worker={"CPU": stream.trainer_cpus, **({"GPU": stream.trainer_gpus} if stream.trainer_gpus else {})},
        ),
        datasets={} if stored else {name: _nothing for name in windows},
        dataset_config=WindowStreams(plan, task),
        run_config=ray.train.RunConfig(
            name="ray",
            storage_path=str(plan.folder),
            storage_filesystem=LocalFileSystem(),  # else the path is read as a URI
            failure_config=ray.train.FailureConfig(max_failures=RESTARTS, controller_failure_limit=RESTARTS),
        ),
    )
    try:
        refused = trainer.fit().return_value
    except SystemExit:  # Ray Train's answer to Ctrl-C
        raise KeyboardInterrupt from None
    except ray.train.TrainingFailedError as error:
        for cause in (getattr(error, "worker_failures", None) or {}).values():
            if isinstance(cause, InputError):
                raise cause from None
        raise
    if refused:
        raise refused


def _nothing() -> None:
    """Stands for a window's stream until `WindowStreams` makes it."""


def _window_name(number: int) -> str:
    return f"window-{number}"


class WindowStreams(ray.train.DataConfig):
    """Deals the windows of the schedule to the workers there are.

    Ray asks each time that a group of workers has started, so after a restart the streams begin at the last checkpoint, for
    the number of workers that the cluster then had room for.
    """

    def __init__(self, plan: Plan, task: Task):
        super().__init__(execution_options=configure_data_context())
        self.plan, self.task = plan, task

    def configure(self, datasets: dict, world_size: int, *arguments, **options) -> list[dict]:
        """Names of windows -> their streams, one share for each worker."""
        windows = {_window_name(number): window for number, window in enumerate(self.task.remaining(world_size).windows())}
        streams = {name: self.plan.stream(windows[name]) for name in datasets}
        return super().configure(streams, world_size, *arguments, **options)


def _worker(settings: dict) -> InputError | FloatingPointError | None:
    """Runs in each Ray Train worker; -> what all of them met and would meet again, since what is raised here is tried again."""
    task, stored = settings["task"], settings["stored"]
    if task.tracker and hasattr(task.show, "say"):
        task.tracker.say = task.show.say  # this process's own log does not come to the terminal
    context = ray.train.get_context()
    stream, schedule, rank = task.config.stream, task.remaining(context.get_world_size()), context.get_world_rank()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(math.ceil(stream.trainer_cpus))
    if stored:
        source = stored.source(task, schedule, rank)
    else:
        streams = (ray.train.get_dataset_shard(_window_name(number)) for number, _ in enumerate(schedule.windows()))
        source = Streamed(streams, task.labels, schedule, rank, stream.prefetch_batches)
    try:
        run(task, source, device, ray.train.get_preemption_info)
    except (InputError, FloatingPointError) as error:
        return error
