"""Training on workers of Ray Train: their streams, their places, and what becomes of one that fails."""

import itertools
import logging
import math
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.exceptions
import ray.train
import ray.train.torch
import torch
from pyarrow.fs import LocalFileSystem
from ray.train.torch import TorchTrainer

from .. import config
from ..errors import InputError
from ..pipeline.gpu_check import check_gpus
from ..pipeline.placement import check_placement, nodes, starves
from ..pipeline.read_ahead import read_ahead
from ..pipeline.schedule import Schedule
from ..pipeline.source import Source, Stored, Streamed
from ..pipeline.stream import configure_data_context
from ..ray_private import own_ray
from ..run_folder import FAILURES
from .display import stage
from .task import Task
from .worker import run

log = logging.getLogger(__name__)
RESTARTS = 3  # of the worker group, after which a training gives up
NUMBER = re.compile(r"0x[0-9a-f]+|\d+")

Stream = Callable[[Schedule], ray.data.Dataset]
# as `worker.run`, of a task of its own kind
Work = Callable[[Any, Source, torch.device, Callable[[], object | None]], Any]


def train_on_workers(task: Task, stream: Stream, stored: Stored | None, placed: config.Stream, work: Work = run) -> Any:
    """Train to the end, from the last checkpoint on each time that a worker has failed;
    -> what the first worker returns.

    Every failure is told at once, in a line, and kept whole in `failures.txt`. It is tried again up to `RESTARTS`
    times, but what has failed in the same way before is not: it would fail again.

    Args:
        stream: features, or frames, of a schedule of the run's clips.
        stored: features that are encoded already; else they are streamed.
        placed: where the workers, and the encoders of the stream, are.
        work: what each worker does, if it is not to train.

    Raises:
        InputError: bad input that a worker met.
        FloatingPointError: the training has diverged.
        ray.train.TrainingFailedError: the last failure, with its traceback.
    """
    streamed = (0, 0) if stored else (placed.number_of_encoders, 1)  # encoders, decode tasks
    check_placement(placed, placed.worker_range[0], *streamed)
    if not stored and (problem := starves(placed, nodes())):
        raise InputError(problem)
    check_gpus(
        placed.gpus_of_trainer or (0 if stored else placed.gpus_of_encoder),
        None if stored else task.config.backbone.precision,
    )
    before: set[str] = set()
    for attempt in itertools.count():
        stage(
            task.show, f"starting {placed.num_workers} worker{'s' * (placed.worker_range[1] > 1)} for the {task.word}"
        )
        try:
            with same_interrupt(), own_ray():
                return _trainer(task, stream, stored, placed, work).fit().return_value
        except SystemExit:  # Ray Train's answer to Ctrl-C
            raise KeyboardInterrupt from None
        except ray.train.WorkerGroupError as error:
            for cause in error.worker_failures.values():
                if isinstance(cause, (InputError, FloatingPointError)):  # these come again, and are one line
                    raise cause from None
            kinds = failure_kinds(error.worker_failures)
            again = attempt < RESTARTS and not kinds & before
            _tell(error, task, again)
            if not again:
                raise
            before |= kinds


def failure_kinds(failures: dict[int, Exception]) -> set[str]:
    """What went wrong, in words that are the same when the same goes wrong again: numbers are left out.

    Empty where a process or a node was lost: that is nothing that the code repeats, and what the other workers then
    raise follows from it. A connection between two that is lost follows from whatever ended one of them, and is no kind
    either.

    Args:
        failures: rank -> what that worker raised.
    """
    if any(_is_loss(error) for error in failures.values()):
        return set()
    return {NUMBER.sub("#", _line(error)) for error in failures.values() if not _is_disconnection(error)}


def _is_loss(error: Exception) -> bool:
    """Of a process or a node; what a task of the stream raised is none."""
    return type(error).__module__.partition(".")[0] == "ray" and not isinstance(error, ray.exceptions.RayTaskError)


def _is_disconnection(error: Exception) -> bool:
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def _line(error: Exception) -> str:
    """`ValueError: what it says`, in one line: the last one of an error that brings a traceback along."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, ray.exceptions.RayTaskError):
        return lines[-1] if lines else type(error).__name__
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _tell(error: ray.train.WorkerGroupError, task: Task, again: bool) -> None:
    """The failure on the terminal, in one line a rank, and whole in the task's folder."""
    with open(task.folder / FAILURES, "a") as file:
        file.write(f"{error}\n\n")
    for rank, cause in sorted(error.worker_failures.items()):
        log.warning("training worker %d failed: %s", rank, _line(cause)[:300])
    what = task.again if again else "it is not tried again"
    log.warning("the %s was cut off, %s; tracebacks are in %s", task.word, what, task.folder / FAILURES)


@contextmanager
def same_interrupt() -> Iterator[None]:
    """Put SIGINT's handler back: Ray Train leaves its own behind, by which Ctrl-C would end with exit code 0."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def batches_of(
    task: Task,
    schedule: Schedule,
    rank: int,
    device: torch.device,
    stored: Stored | None,
    streams: Iterator[ray.data.DataIterator],
) -> Iterator[Source]:
    """Where a worker's batches come from: what is stored is read ahead; streams are, by Ray Data.

    Args:
        streams: this worker's shares of the schedule's windows, made one by one where nothing is stored.
    """
    if stored:
        with read_ahead(stored.source(schedule, rank, device), schedule) as source:
            yield source
    else:
        pin = device.type == "cuda"
        yield Streamed(streams, task.labels, schedule, rank, task.config.stream.prefetch_batches, pin)


def _trainer(task: Task, stream: Stream, stored: Stored | None, placed: config.Stream, work: Work) -> TorchTrainer:
    least, most = placed.worker_range
    windows = [_window_name(number) for number, _ in enumerate(task.remaining().windows())]
    return TorchTrainer(
        _worker,
        train_loop_config={"task": task, "stored": stored, "work": work},
        scaling_config=ray.train.ScalingConfig(
            num_workers=most if least == most else (least, most),
            use_gpu=placed.gpus_of_trainer > 0,
            resources_per_worker={"CPU": placed.trainer_cpus}
            | ({"GPU": placed.trainer_gpus} if placed.trainer_gpus else {}),
        ),
        datasets={} if stored else {name: _nothing for name in windows},  # pyright: ignore[reportArgumentType]  # for `WindowStreams`
        dataset_config=WindowStreams(stream, task),
        run_config=ray.train.RunConfig(
            name=task.folder.name,  # by which Ray's dashboard tells trainings apart
            storage_path=str(task.folder / "ray"),
            storage_filesystem=LocalFileSystem(),  # else the path is read as a URI
            # failures of workers come here, to be told before they are tried again
            failure_config=ray.train.FailureConfig(max_failures=0, controller_failure_limit=RESTARTS),
        ),
    )


def _nothing() -> None:
    """Stands for a window's stream until `WindowStreams` makes it."""


def _window_name(number: int) -> str:
    return f"window-{number}"


class WindowStreams(ray.train.DataConfig):
    """Deals the windows of the schedule to the workers there are.

    Ray asks each time that a group of workers has started, so after a restart the streams begin at the last checkpoint,
    for the number of workers that the cluster then had room for.
    """

    def __init__(self, stream: Stream, task: Task):
        super().__init__(execution_options=configure_data_context())
        self.stream, self.task = stream, task

    def configure(self, datasets: dict, world_size: int, *arguments, **options) -> list[dict]:
        """Names of windows -> their streams, one share for each worker."""
        return super().configure(self.streams(datasets, world_size), world_size, *arguments, **options)

    def streams(self, names: Iterable[str], world_size: int) -> dict[str, ray.data.Dataset]:
        """Those of the named windows that are left: after a restart they may be fewer than at the start."""
        windows = {
            _window_name(number): window for number, window in enumerate(self.task.remaining(world_size).windows())
        }
        return {name: self.stream(windows[name]) for name in names if name in windows}


def _worker(settings: dict) -> Any:
    """Runs in each Ray Train worker; -> what the work returns.

    What one raises ends the others, which may be waiting for it.
    """
    task, stored, work = settings["task"], settings["stored"], settings["work"]
    if task.tracker and hasattr(task.show, "say"):
        task.tracker.say = task.show.say  # this process's own log does not come to the terminal
    context = ray.train.get_context()
    schedule, rank = task.remaining(context.get_world_size()), context.get_world_rank()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(math.ceil(task.config.stream.trainer_cpus))
    streams = (ray.train.get_dataset_shard(_window_name(number)) for number, _ in enumerate(schedule.windows()))
    with batches_of(
        task,
        schedule,
        rank,
        device,
        stored,
        streams,  # pyright: ignore[reportArgumentType]  # Ray's stub: None of a name that it does not know
    ) as source:
        return work(task, source, device, ray.train.get_preemption_info)
