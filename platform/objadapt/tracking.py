"""The only file that knows MLflow: one run a training, every record also in a JSONL file, a silent server survived.

A `Tracker` is handed to the code below `jobs` and `experiment`, which call it without knowing what is behind it; it may
be pickled to a worker. Each call is first appended to `records.jsonl`, then sent. While the store does not answer,
calls queue up and are sent when it is back; what could not be sent by the end stays in the JSONL file, and is named.
"""

import json
import logging
import math
import os
import time
from pathlib import Path

import pandas as pd

from .errors import InputError, naming
from .passwords import redact

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the queue below retries; a training must not hang
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # it prints the whole URI, password included
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow
from matplotlib.figure import Figure
from mlflow.entities import Metric, Param, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

log = logging.getLogger(__name__)
RETRY_SECONDS = 10.0
FAILURES = (MlflowException, SQLAlchemyError, OSError)  # what a store that is silent, full or wrong raises
KIND = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow 3 opens its page for language model traces
NEVER = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")  # MLflow's codes for what it will not take later, either


class Tracker:
    """Writes one run to `records` (JSONL) and to the MLflow store at `uri`."""

    def __init__(self, uri: str, experiment: str, records: Path):
        self.uri, self.experiment, self.records = uri, experiment, records
        self.run_id: str | None = None
        self.unsent: list[tuple[str, tuple]] = []
        self.there: dict[str, int] = {}  # name of a metric -> last step that the store had before this process
        self.refused = 0  # calls that the store will never take
        self.retry_at = 0.0
        records.parent.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, tags: dict[str, str], params: dict[str, object], run_id: str | None = None) -> str | None:
        """Open a run (or go on in `run_id`); -> its id, None where the store does not answer.

        Raises:
            InputError: the URI is none that MLflow understands.
        """
        self._record("start", name=name, tags=tags, params=params)
        try:
            client = self._client()
            if run_id is not None:
                client.set_terminated(run_id, RunStatus.to_string(RunStatus.RUNNING))
                self.run_id = run_id
                return run_id
            found = client.get_experiment_by_name(self.experiment)
            experiment_id = found.experiment_id if found else client.create_experiment(self.experiment, self._artifacts(), KIND)
            self.run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
        except FAILURES:
            log.warning("MLflow at %s does not answer; records go to %s alone", redact(self.uri), self.records)
            return None
        items = [Param(key, str(value)[:500]) for key, value in params.items()]
        for at in range(0, len(items), 100):
            self._send("log_batch", [], items[at : at + 100], [])
        return self.run_id

    def metrics(self, values: dict[str, float], step: int) -> None:
        """One set of numbers at a step; of several for one step the last is shown."""
        self._send_metrics("log_batch", [(step, values)])

    def series(self, steps: list[tuple[int, dict[str, float]]]) -> None:
        """Many steps at once: a store takes one batch far faster than its numbers one by one.

        A step that the store has already, because a training was cut off after it and does it again, is not sent twice.
        """
        self._send_metrics("series", steps)

    def _send_metrics(self, call: str, steps: list[tuple[int, dict[str, float]]]) -> None:
        now = int(time.time() * 1000)
        for step, values in steps:
            self._record("metrics", step=step, values=values)
        finite = [Metric(k, float(v), now, step) for step, values in steps for k, v in values.items() if math.isfinite(v)]
        for at in range(0, len(finite), 900):
            self._send(call, finite[at : at + 900], [], [])

    def take_unsent(self) -> list[list]:
        """Try once more, and hand over the numbers that are still unsent as [key, value, timestamp, step], for `give`."""
        self.retry_at = 0.0
        self._flush()
        numbers = [metric for call, arguments in self.unsent if call in ("log_batch", "series") for metric in arguments[0]]
        self.unsent.clear()
        return [[metric.key, metric.value, metric.timestamp, metric.step] for metric in numbers]

    def give(self, unsent: list[list]) -> None:
        """Send numbers that another process's tracker of this run could not deliver."""
        metrics = [Metric(*one) for one in unsent]
        for at in range(0, len(metrics), 900):
            self._send("series", metrics[at : at + 900], [], [])

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a file or a folder with the run."""
        self._record("artifact", path=str(path), folder=folder)
        self._send("log_artifacts" if path.is_dir() else "log_artifact", str(path), folder)

    def figure(self, figure: Figure, name: str) -> None:
        """Keep a matplotlib figure as `figures/<name>` (PNG)."""
        self._send("log_figure", figure, f"figures/{name}")

    def table(self, table: pd.DataFrame, name: str) -> None:
        """Keep a table as a JSON artifact that MLflow's page shows."""
        self._record("table", name=name, rows=len(table))
        self._send("log_table", table, name)

    def finish(self, status: str = "FINISHED") -> bool:
        """Close the run; -> True where everything was delivered."""
        self._record("finish", status=status)
        self._send("set_terminated", status)
        self.retry_at = 0.0
        self._flush()
        if self.run_id is None or self.unsent or self.refused:
            log.warning("MLflow at %s took not everything; the complete record is %s", redact(self.uri), self.records)
            return False
        return True

    def _client(self) -> MlflowClient:
        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        try:
            return MlflowClient(tracking_uri=self.uri)
        except (ArgumentError, ImportError, MlflowException) as error:
            if isinstance(error, MlflowException) and error.error_code not in NEVER:
                raise
            raise InputError(
                f"tracking.uri: {redact(self.uri)!r} is no store that MLflow can open ({_first_line(error)});"
                " give http://HOST:PORT, sqlite:///FILE or another database"
            ) from None

    def _artifacts(self) -> str | None:
        """Artifacts of a SQLite store lie beside it (MLflow's own default is the working directory)."""
        if not self.uri.startswith("sqlite:///"):
            return None
        return str(Path(self.uri.removeprefix("sqlite:///")).absolute().parent / "mlartifacts")

    def _record(self, kind: str, **content) -> None:
        line = json.dumps({"time": round(time.time(), 3), "kind": kind, **content}, default=str)
        with naming(self.records), self.records.open("a") as file:
            file.write(line + "\n")

    def _send(self, call: str, *arguments) -> None:
        if self.run_id is not None:
            self.unsent.append((call, arguments))
            self._flush()

    def _flush(self) -> None:
        if not self.unsent or time.monotonic() < self.retry_at:
            return
        client = self._client()
        while self.unsent:
            call, arguments = self.unsent[0]
            try:
                if call == "series":
                    call, arguments = "log_batch", (self._not_there(client, arguments[0]), *arguments[1:])
                getattr(client, call)(self.run_id, *arguments)
            except FAILURES as error:
                if isinstance(error, FileNotFoundError) or getattr(error, "error_code", None) in NEVER:
                    self.refused += 1
                    log.warning("MLflow did not take a %s: %s", call, _first_line(error))
                    self.unsent.pop(0)  # it must not hold up what comes after
                    continue
                if self.retry_at == 0.0:
                    where, reason = redact(self.uri), _first_line(error)
                    log.warning("MLflow at %s does not answer (%s); %s keeps the record", where, reason, self.records)
                self.retry_at = time.monotonic() + RETRY_SECONDS
                return
            self.unsent.pop(0)

    def _not_there(self, client: MlflowClient, metrics: list[Metric]) -> list[Metric]:
        """Those behind what the store had when this process first sent numbers of their name."""
        for key in {metric.key for metric in metrics} - self.there.keys():
            self.there[key] = max((one.step for one in client.get_metric_history(self.run_id, key)), default=-1)
        return [metric for metric in metrics if metric.step > self.there[metric.key]]


def _first_line(error: Exception) -> str:
    return redact((str(error).strip().splitlines() or [type(error).__name__])[0])[:120]


def flat(tree: dict, prefix: str = "") -> dict[str, object]:
    """Nested dict -> {"a.b": value}, the way overrides and MLflow params are written."""
    result = {}
    for key, value in tree.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result


def prepare_store(uri: str) -> None:
    """Create a local SQLite store in the driver, since two processes creating one at once fail.

    Raises:
        InputError: the file cannot be made or is not an MLflow database.
    """
    if not uri.startswith("sqlite:///"):
        return
    try:
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        for chatty in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        mlflow.MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except FAILURES as error:
        raise InputError(f"tracking.uri: {redact(uri)} cannot be opened ({_first_line(error)}); give another file") from None
