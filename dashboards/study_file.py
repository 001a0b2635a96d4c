"""The Optuna study of a sweep's folder, opened read-only, also while the sweep runs."""

import json
from dataclasses import dataclass
from pathlib import Path

import optuna
import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from objadapt.errors import InputError
from objadapt.run_folder import RECORDS
from objadapt.store_uri import sqlite_uri
from objadapt.sweeps.study import COST

optuna.logging.set_verbosity(optuna.logging.WARNING)

RUN = "run"  # noted with each trial, as its cost is


@dataclass(frozen=True)
class SweepFile:
    """A sweep as far as it has come.

    Attributes:
        study: a copy in memory.
        metric: name of the first objective.
        reasons: number of a failed trial -> why.
    """

    study: Study
    metric: str
    reasons: dict[str, str]

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials in these states (none given: all), in their order."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def best(self) -> list[FrozenTrial]:
        """The complete trials with the best objective: more than one where they tie."""
        done = self.trials(TrialState.COMPLETE)
        pick = max if self.study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else min
        top = pick((trial.values[0] for trial in done), default=None)
        return [trial for trial in done if trial.values[0] == top]

    def table(self) -> pd.DataFrame:
        """A row a trial: number, state, objective, cost, parameters, seconds, run, reason; of one type a column."""
        trials = self.trials()
        worded = {name for trial in trials for name, value in trial.params.items() if isinstance(value, str | bool)}
        rows = [
            {"trial": trial.number, "state": trial.state.name.lower()}
            | {self.metric: trial.values[0] if trial.values else None, COST: trial.user_attrs.get(COST)}
            | {name: str(value) if name in worded else value for name, value in trial.params.items()}
            | {"seconds": trial.duration.total_seconds() if trial.duration else None, RUN: trial.user_attrs.get(RUN)}
            | {"reason": self.reasons.get(str(trial.number), "")}
            for trial in trials
        ]
        return pd.DataFrame(rows)

    def front(self) -> pd.DataFrame:
        """Complete trials with a cost: trial, objective, cost, and `front`: whether no other trial beats it in both."""
        sign = 1 if self.study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else -1
        done = [trial for trial in self.trials(TrialState.COMPLETE) if COST in trial.user_attrs]
        best, at, rows = float("-inf"), None, []  # the best so far, and its cost
        for trial in sorted(done, key=lambda trial: (trial.user_attrs[COST], -sign * trial.values[0])):
            value, cost = trial.values[0], trial.user_attrs[COST]
            if sign * value > best:
                best, at = sign * value, cost
            front = (sign * value, cost) == (best, at)  # equals are beaten by none
            rows.append({"trial": trial.number, self.metric: value, COST: cost, "front": front})
        return pd.DataFrame(rows, columns=["trial", self.metric, COST, "front"])


def read_sweep(folder: Path) -> SweepFile:
    """The study in `folder/study.db`.

    Raises:
        InputError: there is none yet, or it is damaged.
    """
    path = folder / "study.db"
    if not path.exists():
        raise InputError(
            f"{path}: not there yet; the sweep has not begun its trials, or was cut off before: give its command again"
        )
    try:
        url = sqlite_uri(path, read_only=True)
        storage = optuna.storages.RDBStorage(
            url, engine_kwargs={"connect_args": {"timeout": 5}}, skip_table_creation=True
        )
        try:
            (name,) = optuna.study.get_all_study_names(storage)
            stored = optuna.load_study(study_name=name, storage=storage)
            study = optuna.create_study(study_name=name, directions=stored.directions)
            study.add_trials(stored.get_trials(deepcopy=False))
            reasons = dict(stored.user_attrs.get("reasons", {}))
        finally:
            storage.engine.dispose()
    except Exception as error:  # SQLAlchemy's, alembic's, Optuna's own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: not a readable Optuna study ({reason}); move it away, and the sweep's command starts again"
        ) from None
    return SweepFile(study, _metric(folder), reasons)


def _metric(folder: Path) -> str:
    """Name of the objective, from the sweep's first record, since the study holds only its values."""
    try:
        with (folder / RECORDS).open() as file:
            return str(json.loads(file.readline())["tags"]["metric"])
    except (OSError, ValueError, KeyError, TypeError):
        return "objective"
