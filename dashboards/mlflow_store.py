"""Tables and runs of objadapt in an MLflow store, as folder_store.py reads them from an output folder.

    http://HOST:PORT            a tracking server
    sqlite:///FILE              a store without a server; only read

A table is a run with the tag `table` and its outcome as an artifact. A training is a run with the tag `identity`.
Each call asks the store again, and nothing is written.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

import pandas as pd

from dashboards.store import QUARANTINED, REMAKE, Records, checked_outcome, parsed
from objadapt.errors import InputError
from objadapt.metric import TOP1
from objadapt.passwords import redact
from objadapt.store_uri import sqlite_file
from objadapt.tracking import FAILURES  # first: it sets how long MLflow waits for a server
from objadapt.tracking.refusals import check_sqlite, first_line, refusal

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
from mlflow.tracking import MlflowClient

CURVES = (
    "epoch/train/total",
    f"epoch/val/{TOP1.name}",
    f"epoch/val/action_{TOP1.name}",
    "epoch/train/data_wait_share",
    "epoch/train/clips_per_second",
    "step/total",
)
PAGE = 500  # runs that are asked for at a time
FRESH = 10  # seconds for which MLflow's answers are kept


@dataclass(frozen=True)
class MlflowTable:
    """A table: its parent run."""

    run_id: str
    name: str
    dataset: str
    ended: bool

    @property
    def title(self) -> str:
        return f"{self.name} ({self.dataset}), run {self.run_id[:8]}"


@dataclass(frozen=True)
class MlflowRun:
    """The `Run` of a training; `status` is MLflow's."""

    run_id: str
    name: str
    summary: dict
    settings: dict[str, str]
    status: str
    curves: tuple[str, ...]  # its metrics among `CURVES`
    changed: float
    problem: None = None
    checkpoint: None = None  # they lie in an output folder

    @property
    def finished(self) -> bool:
        return self.status == "FINISHED"

    @property
    def mlflow_run(self) -> str:
        return self.run_id


@dataclass(frozen=True)
class MlflowStore:
    """The `Store` of a URI."""

    uri: str
    folder = None  # checkpoints and studies are not read from it

    @property
    def caption(self) -> str:
        return "MLflow: " + self.place

    @property
    def place(self) -> str:
        return redact(self.uri)

    @property
    def option(self) -> str:
        return f"tracking.uri={quote(self.place)}"

    @property
    def without_runs(self) -> tuple[str, ...]:
        return (
            "No training of objadapt is in this MLflow store yet. One of some minutes on toy data:",
            ".venv/bin/python jobs/make_toy.py outputs/toy",
            f".venv/bin/python jobs/train.py --config jobs/configs/toy.yaml {self.option}",
        )

    def tracking_uri(self, what: MlflowTable | MlflowRun) -> str:
        return self.uri

    def stamp(self, what: MlflowTable | MlflowRun | None = None) -> tuple:
        """Changes every `FRESH` seconds, since only the store knows."""
        return self.uri, what and what.run_id, int(time.time() // FRESH)

    def tables(self) -> list[MlflowTable]:
        """The tables of a store, the newest first. Errors are those of `runs`."""
        started = []
        for run in _runs(self.uri, "tags.`table` LIKE '%'"):
            tags = run.data.tags
            started.append(
                MlflowTable(run.info.run_id, tags["table"], tags.get("dataset", "?"), run.info.status == "FINISHED")
            )
        return started

    def outcome(self, table: MlflowTable) -> dict | None:
        """The outcome of a table; None where it is not written yet.

        Raises:
            InputError: the store does not answer, or the artifact is out of reach, damaged or no outcome.
        """
        name, where = f"{table.name}.json", f"MLflow run {table.run_id}"
        text = _artifact(self.uri, table.run_id, name)
        if text is None and table.ended:
            raise InputError(
                f"{where}: no {name} among its artifacts; if they lie in a folder or bucket that this machine cannot"
                " reach, start the app on a machine that can, or have MLflow's server hand them out"
            )
        where = f"{where}, {name}"
        return None if text is None else checked_outcome(parsed(text, where, REMAKE), where)

    def runs(self) -> list[MlflowRun]:
        """All trainings, the newest first.

        Raises:
            InputError: no store of MLflow there, or it does not answer.
        """
        trainings = []
        for run in _runs(self.uri, "tags.identity LIKE '%'"):
            tags, metrics = run.data.tags, run.data.metrics
            if "same_as" in tags:
                continue  # a light child of a table, for a run that another table trained
            summary = {key.removeprefix("final/"): value for key, value in metrics.items() if key.startswith("final/")}
            curves = tuple(key for key in CURVES if key in metrics)
            name = f"{run.info.run_name}, {run.info.run_id[:8]}"
            summary |= {"views": tags.get("views")}
            changed = (run.info.end_time or run.info.start_time or 0) / 1000
            found = MlflowRun(run.info.run_id, name, summary, dict(run.data.params), run.info.status, curves, changed)
            trainings.append(found)
        return trainings

    def records(self, run: MlflowRun) -> Records:
        """The curves of a run. Errors are those of `runs`."""
        levels, last = {"epoch": {}, "step": {}}, None
        with _asking(self.uri) as client:
            for key in run.curves:
                level, _, name = key.partition("/")
                for metric in client.get_metric_history(run.run_id, key):
                    levels[level].setdefault(metric.step, {})[name] = metric.value
                    last = max(last or 0.0, metric.timestamp / 1000)
        epochs, steps = (pd.DataFrame.from_dict(rows, orient="index").sort_index() for rows in levels.values())
        return Records(epochs, steps, last, run.status if run.status in ("FINISHED", "FAILED", "KILLED") else None, 0)

    def quarantine(self, run: MlflowRun) -> pd.DataFrame:
        """The table that the run logged."""
        where = f"MLflow run {run.run_id}, quarantine.json"
        text = _artifact(self.uri, run.run_id, "quarantine.json")
        if text is None:
            return pd.DataFrame(columns=QUARANTINED)
        remedy = "see the run's artifacts on MLflow's page"
        table = parsed(text, where, remedy)
        try:
            return pd.DataFrame(table["data"], columns=table["columns"], dtype=str)[QUARANTINED]
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{where}: not a table of clips ({error}); {remedy}") from None


def _runs(uri: str, which: str) -> Iterator[mlflow.entities.Run]:
    with _asking(uri) as client:
        experiments, token = [experiment.experiment_id for experiment in client.search_experiments()], None
        while True:
            page = client.search_runs(experiments, which, max_results=PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def _artifact(uri: str, run_id: str, name: str) -> bytes | None:
    """Content of an artifact; None where the run has none of this name."""
    with _asking(uri) as client, TemporaryDirectory(prefix="objadapt-artifact-") as folder:
        try:
            if name not in {artifact.path for artifact in client.list_artifacts(run_id)}:
                return None
            return Path(client.download_artifacts(run_id, name, folder)).read_bytes()
        except Exception as error:  # each kind of artifact store raises its own
            raise InputError(
                f"MLflow run {run_id}: its artifact {name} is out of reach ({first_line(error)})"
            ) from None


@contextmanager
def _asking(uri: str) -> Iterator[MlflowClient]:
    """A client. An error of the store becomes an InputError of one line."""
    if path := sqlite_file(uri):
        if not path.is_file():  # MLflow would make it
            raise InputError(
                f"{path}: there is no such file; give sqlite:///FILE of an MLflow store, or a job's output folder"
            )
        check_sqlite(path, writing=False)
    try:
        yield MlflowClient(tracking_uri=uri)
    except (*FAILURES, ImportError) as error:  # ImportError: a database without its driver
        if refused := refusal(error, uri):
            raise InputError(f"MLflow at {redact(uri)} refuses ({refused.reason}); {refused.remedy}") from None
        remedy = "start it, or start the app with an output folder"
        raise InputError(f"MLflow at {redact(uri)} does not answer ({first_line(error)}); {remedy}") from None
