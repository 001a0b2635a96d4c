"""The Optuna study of a sweep, kept beside its outputs: a driver that was killed finds its finished trials there.

The storage is SQLite. Only the driver writes to it, its locks end with its process (the lock file of Optuna's journal
outlives a SIGKILL), and `optuna-dashboard sqlite:///...` opens it as it is.
"""

import json
import math
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import optuna
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search.optuna import OptunaSearch

from ..errors import InputError
from ..store_uri import sqlite_uri
from .space import SearchSpace, Value

COST = "adapter_gflops"  # what nsga2 sets against accuracy
NOTED = ("run", "mlflow_run_id", COST, "epoch")  # of a trial's reports, kept with the study's trial
REASONS = "reasons"  # attribute of the study: number of a failed trial -> why
DIVERGED = "FloatingPointError"  # an answer, which training again would not change
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}

optuna.logging.set_verbosity(optuna.logging.WARNING)


def objectives(space: SearchSpace) -> dict[str, str]:
    """Metric -> max or min; nsga2 looks for the best accuracy at every cost."""
    return {space.metric: space.mode} | ({COST: "min"} if space.sampler == "nsga2" else {})


def storage(folder: Path) -> optuna.storages.RDBStorage:
    """The study's file in the sweep's folder; `InputError` where it is damaged."""
    try:
        return optuna.storages.RDBStorage(
            sqlite_uri(folder / "study.db"), engine_kwargs={"connect_args": {"timeout": 60}}
        )
    except Exception as error:  # SQLAlchemy's, alembic's and Optuna's own
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder / 'study.db'}: not an Optuna study ({reason}); move it away to begin anew") from None


def open_study(folder: Path, name: str, space: SearchSpace) -> optuna.Study:
    """The study, made where there is none."""
    directions = ["maximize" if mode == "max" else "minimize" for mode in objectives(space).values()]
    return optuna.create_study(storage=storage(folder), study_name=name, directions=directions, load_if_exists=True)


def build_sampler(study: optuna.Study, space: SearchSpace, seed: int) -> BaseSampler:
    """The sampler; its seed depends on how far the study is, so that a sweep that goes on does not draw the same
    again.
    """
    state = int(np.random.SeedSequence([seed, len(study.trials)]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match space.sampler:
            case "tpe":  # group: parameters that exist under conditions are modelled where they exist
                return TPESampler(seed=state, multivariate=True, group=True)
            case "cmaes":
                return CmaEsSampler(seed=state, warn_independent_sampling=False)
            # at least four generations: Optuna's own population of 50 would be drawn at random for most sweeps
            case "nsga2":
                return NSGAIISampler(seed=state, population_size=max(4, space.trials // 4))
            case _:  # grid: its points wait in the study
                return RandomSampler(seed=state)


def prepare(study: optuna.Study, space: SearchSpace) -> int:
    """Make a study ready to go on; -> how many trials are still to be run.

    Trials that were running when the driver died, and failed ones, wait to be run again with the same values. A trial
    that diverged counts as done.
    """
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    known = [_params(trial) for trial in study.trials if _done(study, trial) or trial.state == TrialState.WAITING]

    def wait(params: dict[str, Value]) -> None:
        if params and params not in known:
            known.append(params)
            study.enqueue_trial(params)

    for trial in study.get_trials(states=(TrialState.FAIL,)):
        wait(_params(trial))
    total = space.trials
    if space.sampler == "grid":
        points = list(islice(space.grid(), space.trials))
        total = len(points)
        for point in points:
            wait(point)
    return max(0, total - finished(study))


def finished(study: optuna.Study) -> int:
    """Number of trials that need not be run again."""
    return sum(_done(study, trial) for trial in study.trials)


def _params(trial: FrozenTrial) -> dict[str, Value]:
    # a driver may be killed while the values that waited are handed over, one by one
    return trial.system_attrs.get("fixed_params", {}) | trial.params


def _done(study: optuna.Study, trial: FrozenTrial) -> bool:
    if trial.state == TrialState.FAIL:
        return _reason(study, trial).startswith(DIVERGED)
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def _reason(study: optuna.Study, trial: FrozenTrial) -> str:
    return study.user_attrs.get(REASONS, {}).get(str(trial.number), "")


def rows(study: optuna.Study, space: SearchSpace) -> list[dict]:
    """The trials as plain values; a failed one that was run again to an end is left out, and so is one that was cut
    off before it had values.
    """
    trials = study.get_trials(states=tuple(STATES))
    settled = [{}, *(_params(trial) for trial in trials if _done(study, trial))]
    return [
        {
            "number": trial.number,
            "state": STATES[trial.state],
            "params": space.by_key(_params(trial)),
            "values": dict(zip(objectives(space), trial.values, strict=True)) if trial.values else {},
            **{name: trial.user_attrs.get(name) for name in NOTED},
            "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
            "reason": _reason(study, trial) or ("cut off" if trial.state == TrialState.FAIL else ""),
        }
        for trial in trials
        if _done(study, trial) or _params(trial) not in settled
    ]


def best(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trials that no other beats (one objective: the best alone), by the first objective, best first."""
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        return []
    sign = -1 if study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else 1
    found = study.best_trials if len(study.directions) > 1 else [study.best_trial]
    return sorted(found, key=lambda trial: (sign * trial.values[0], trial.number))


class StudySearch(OptunaSearch):
    """OptunaSearch that tells a pruned trial from a complete one, and keeps with each trial where its run is."""

    def on_trial_result(self, trial_id: str, result: dict) -> None:
        trial = self._ot_trials[trial_id]
        if trial.user_attrs.get("epoch") == result["epoch"]:
            return
        for name in NOTED:
            trial.set_user_attr(name, result[name])
        if not isinstance(self.metric, list):
            # the epoch, also where a resumed trial reports late ones only
            trial.report(result[self.metric], result["epoch"])

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        if result:
            self.on_trial_result(trial_id, result)  # Tune brings the result that a trial is stopped for here alone
        if result and not result["finished"]:
            result = None  # pruned, at its last value
        elif result and not all(math.isfinite(result[name]) for name in np.atleast_1d(self.metric)):
            result, error = None, True
            self.note_failure(trial_id, f"its {self.metric} is no number; have the held-out clips labels?")
        super().on_trial_complete(trial_id, result, error)

    def note_failure(self, trial_id: str, reason: str) -> None:
        """Keep why a trial failed."""
        number = self._ot_trials[trial_id].number
        reasons = self._ot_study.user_attrs.get(REASONS, {})
        self._ot_study.set_user_attr(REASONS, reasons | {str(number): reason})

    def save(self, checkpoint_path: str) -> None:
        """Nothing but the file that Tune expects: all there is to keep is in the study."""
        Path(checkpoint_path).write_text(json.dumps({}))

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study that this was made with is in its storage as it was left."""
