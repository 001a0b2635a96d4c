"""The Optuna study of a sweep's folder, read so that nothing is ever written into it, not even while the sweep runs."""

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

    def table(self) -> pd.DataFrame:
        """A row a trial: number, state, objective, cost, parameters, seconds, run, reason; of one type a column."""
        worded = {name for one in self.trials() for name, value in one.params.items() if isinstance(value, str | bool)}
        rows = [
            {"trial": one.number, "state": one.state.name.lower(), self.metric: one.values[0] if one.values else None}
            | {COST: one.user_attrs.get(COST)}
            | {name: str(value) if name in worded else value for name, value in one.params.items()}
            | {"seconds": one.duration.total_seconds() if one.duration else None, RUN: one.user_attrs.get(RUN)}
            | {"reason": self.reasons.get(str(one.number), "")}
            for one in self.trials()
        ]
        return pd.DataFrame(rows)

    def front(self) -> pd.DataFrame:
        """Complete trials that noted a cost: trial, the objective, cost, and `front`: whether no other beats them in both."""
        sign = 1 if self.study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else -1
        done = [one for one in self.trials(TrialState.COMPLETE) if COST in one.user_attrs]
        ranked = sorted(done, key=lambda one: (one.user_attrs[COST], -sign * one.values[0]))
        best, rows = float("-inf"), []
        for one in ranked:
            rows.append(
                {
                    "trial": one.number,
                    self.metric: one.values[0],
                    COST: one.user_attrs[COST],
                    "front": sign * one.values[0] > best,
                }
            )
            best = max(best, sign * one.values[0])
        return pd.DataFrame(rows, columns=["trial", self.metric, COST, "front"])


def read_sweep(folder: Path) -> SweepFile:
    """The study in `folder/study.db`.

    Raises:
        InputError: there is none yet, or it is damaged.
    """
    path = folder / "study.db"
    if not path.exists():
        raise InputError(
            f"{path}: not there yet; the sweep has not come to its trials, or was cut off before: give its command again"
        )
    try:
        url = sqlite_uri(path, read_only=True)
        storage = optuna.storages.RDBStorage(
            url, engine_kwargs={"connect_args": {"timeout": 5}}, skip_table_creation=True
        )
        try:
            (name,) = optuna.study.get_all_study_names(storage)
            found = optuna.load_study(study_name=name, storage=storage)
            study = optuna.create_study(study_name=name, directions=found.directions)
            study.add_trials(found.get_trials(deepcopy=False))
            reasons = dict(found.user_attrs.get("reasons", {}))
        finally:
            storage.engine.dispose()
    except Exception as error:  # SQLAlchemy's, alembic's, Optuna's own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: not a readable Optuna study ({reason}); move it away, and the sweep's command begins anew"
        ) from None
    return SweepFile(study, _metric(folder), reasons)


def _metric(folder: Path) -> str:
    """Name of the objective, from the sweep's first record; the study itself holds its values alone."""
    try:
        with (folder / RECORDS).open() as file:
            return str(json.loads(file.readline())["tags"]["metric"])
    except (OSError, ValueError, KeyError, TypeError):
        return "objective"
