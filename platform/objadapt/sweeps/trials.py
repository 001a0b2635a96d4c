"""The trials of a sweep: placed by Ray Tune, each in a process of its own,
each a run that reports after every validation.

Ray must have been started with its dashboard: without it Ray 2.60 keeps the CPUs of trials that a scheduler stops.
"""

import fcntl
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
from pyarrow.fs import LocalFileSystem
from ray import tune

from ..config import Experiment
from ..data.manifest import Manifest
from ..data.toy_scenes import toy_mark
from ..errors import InputError
from ..metric import METRICS
from ..passwords import redact
from ..pipeline.automatic import within_reach
from ..pipeline.placement import Nodes, autoscaled, limits, refuse_or_wait
from ..plan import Plan, plan
from ..run_folder import MLFLOW_RUN
from ..runs.run import run_experiment
from ..training.display import tell
from ..training.task import Stopped
from . import study as studies
from .space import SearchSpace

Show = Callable[[str, int, int, str], None]
TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study and MLflow have it all
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the job, as anywhere else
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # the config's relative paths must stay what they are
    "RAY_AIR_NEW_OUTPUT": "0",  # it prints tables even where none are asked for
}
REDUCTION = 3  # asha: of the trials that reach a rung, one in so many goes on


@dataclass(frozen=True)
class Placement:
    """How many trials at once, and what each occupies; by fractions, several share a GPU."""

    concurrent: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    decode: float = 0.0  # CPUs that each needs beside its own: those of a decode task, where its method takes frames

    @property
    def at_once(self) -> int:
        """How many trials run at once: those that were asked for, as far as there is room for them and to decode."""
        unknown = autoscaled() and limits() is None  # Kubernetes starts nodes for what waits
        room = math.inf if unknown else sum(node.room(self.cpus + self.decode, self.gpus) for node in within_reach())
        return int(min(self.concurrent, max(1, room)))

    def check(self) -> None:
        """InputError where a trial would wait for ever."""
        if self.concurrent < 1 or self.cpus <= 0 or self.gpus < 0:
            raise InputError("--concurrent: at least 1; --cpus-per-trial: above 0; --gpus-per-trial: 0 or more")

        def lacks(there: list[Nodes]) -> str | None:
            if any(node.room(self.cpus + self.decode, self.gpus) for node in there):
                return None
            found = ", ".join(f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in there)
            asked = f"--cpus-per-trial {self.cpus:g} --gpus-per-trial {self.gpus:g}"
            asked += f" beside stream.decode_cpus={self.decode:g}" if self.decode else ""
            return f"{asked}: no node has that (there are nodes of {found}); ask for less"

        refuse_or_wait(lacks)


@dataclass(frozen=True)
class SharedByTrials:
    """What the trials of a sweep share."""

    base: Experiment  # overridden by each trial's parameters
    space: SearchSpace
    manifest: Manifest
    cpus: float  # of each trial
    code_version: str
    parent: str | None  # id of the sweep's MLflow run


def run_trials(
    folder: Path, seed: int, placement: Placement, missing: int, work: SharedByTrials, show: Show | None
) -> None:
    """Run so many trials more of the study in `folder`; a trial that fails is noted there, and the others go on."""
    os.environ |= TUNE_SETTINGS
    # it misses the loggers that are off
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    space, study_name = work.space, work.base.name
    goals = studies.objectives(space)
    metric, mode = (list(goals), list(goals.values())) if len(goals) > 1 else next(iter(goals.items()))
    sampler = studies.build_sampler(studies.open_study(folder, study_name, space), space, seed)
    search = studies.StudySearch(
        space, metric, mode, sampler=sampler, study_name=study_name, storage=studies.storage(folder)
    )
    total = missing + studies.finished(studies.open_study(folder, study_name, space))
    tune.Tuner(
        tune.with_resources(
            tune.with_parameters(train_trial, work=work), {"CPU": placement.cpus, "GPU": placement.gpus}
        ),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=_scheduler(space, work.base.training.epochs),
            num_samples=missing,
            max_concurrent_trials=placement.at_once,
            trial_dirname_creator=_trial_folder,
        ),
        run_config=tune.RunConfig(
            name=time.strftime("%Y%m%d-%H%M%S"),
            storage_path=str(folder / "tune"),
            storage_filesystem=LocalFileSystem(),  # else the path is read as a URI
            verbose=0,
            callbacks=[_Watch(search, show, total - missing, total, space, toy_mark(work.manifest.classes))],
        ),
    ).fit()


def _scheduler(space: SearchSpace, epochs: int) -> tune.schedulers.TrialScheduler:
    judged = {"time_attr": "epoch", "metric": space.metric, "mode": space.mode}
    if space.pruner == "asha":
        return tune.schedulers.ASHAScheduler(**judged, max_t=epochs, grace_period=1, reduction_factor=REDUCTION)
    if space.pruner == "median":
        return tune.schedulers.MedianStoppingRule(**judged, grace_period=1, min_samples_required=3)
    return tune.schedulers.FIFOScheduler()


def _trial_folder(trial: tune.experiment.Trial) -> str:
    return trial.trial_id


class _Watch(tune.Callback):
    """Shows how many trials have ended, with a line of each that stays, and keeps why one failed."""

    def __init__(  # noqa: PLR0913 -- made in one place
        self, search: studies.StudySearch, show: Show | None, done: int, total: int, space: SearchSpace, mark: str = ""
    ):
        self.search, self.show, self.done, self.total, self.space = search, show, done, total, space
        self.mark = mark  # behind a value: whether it is a toy number
        self.best: float | None = None

    def __getstate__(self) -> dict:
        """Tune stores its callbacks; a display is of this process alone."""
        return self.__dict__ | {"show": None}

    def on_trial_complete(self, iteration, trials, trial, **info):
        value, epochs = (trial.last_result.get(key) for key in (self.space.metric, "epoch"))
        if value is not None:
            pick = max if self.space.mode == "max" else min
            self.best = value if self.best is None else pick(self.best, value)
            shown = {name: f"{one:.4g}" if isinstance(one, float) else one for name, one in trial.config.items()}
            chosen = ", ".join(f"{name}={one}" for name, one in shown.items())
            told = f"{self._text(value)}{self.mark} after {epochs} epochs with {chosen}"
            best = f"best of these {self._text(self.best)}"
            tell(self.show, f"trial {self.done + 1} of {self.total}: {told}; {best}")
        self._count()

    def on_trial_error(self, iteration, trials, trial, **info):
        lines = Path(trial.error_file).read_text().strip().splitlines()  # the last one is the exception itself
        self.search.note_failure(trial.trial_id, redact(lines[-1]))
        self._count()

    def _text(self, value: float) -> str:
        """A value of the sweep's metric: `top-1 36.1 %`."""
        metric = METRICS.get(self.space.metric.removeprefix("action_"))
        if metric is None:
            return f"{self.space.metric} {value:.4g}"
        return f"{metric.label} {metric.text(metric.scale * value)}"

    def _count(self):
        self.done += 1
        if self.show:
            self.show("trials", self.done, self.total, "")


def train_trial(params: dict, work: SharedByTrials) -> None:
    """Train one configuration to its end, or until the scheduler stops it; a finished one only reports again.

    Args:
        params: name in the study -> value.
    """
    torch.set_num_threads(math.ceil(work.cpus))
    experiment = plan(work.space.config(work.base, params), work.manifest)
    config, metric = experiment.config, work.space.metric
    gflops = experiment.cost.gflops

    def report(epoch: int, value: float, finished: bool) -> None:
        run = json.loads((experiment.folder / MLFLOW_RUN).read_text())
        where = {"run": experiment.folder.name, "mlflow_run_id": run["run_id"], studies.COST: gflops}
        tune.report({metric: value, "epoch": epoch, "finished": finished, **where})

    def on_validation(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == config.training.epochs:  # reported when the run is complete: the scheduler must not cut its end off
            return
        try:
            report(epoch, metrics[metric], finished=False)
        except SystemExit:  # Tune's word to a trial that the scheduler stopped
            raise Stopped from None

    with _locked(experiment.folder):  # the sampler may give two trials the same configuration
        try:
            summary = run_experiment(experiment, work.code_version, parent=work.parent, on_validation=on_validation)
        except Stopped:
            return
    report(summary["epochs"], summary[metric], finished=True)


@ray.remote(max_retries=0)
def final_run(experiment: Plan, cpus: float, code_version: str, parent: str | None) -> dict:
    """Train a plan in a process of its own; -> its summary."""
    torch.set_num_threads(math.ceil(cpus))
    return run_experiment(experiment, code_version, parent=parent)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # ends with the process, however that ends
        yield
