"""MLflow, which no other part knows: one run a training, every record also in a JSONL file,
a store that is silent or refuses survived.

A `Tracker` is handed to the code below `jobs`, `runs`, `tables` and `sweeps`, which call it without knowing what is
behind it; it may be pickled to a worker. Each call is first appended to `records.jsonl`, then sent. While the store
does not answer, or refuses, calls queue up and are sent when it takes them; what could not be sent by the end stays in
the JSONL file, and is named.
"""

import json
import logging
import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..errors import naming
from ..passwords import redact
from .store import FAILURES, find_experiment, gone, make_experiment, open_store, page_of, prepare_store, refuse

# the store sets MLflow up before it is imported
# isort: split
from mlflow.entities import Metric, Param, RunStatus
from mlflow.tracking import MlflowClient

from .refusals import first_line, never, refusal

__all__ = ["FAILURES", "Tracker", "page_of", "prepare_store"]

log = logging.getLogger(__name__)
RETRY_SECONDS = 10.0
POINTS = 4000  # of a step metric that MLflow gets, at the most
STEP = "step/"  # how the names of those begin


class Tracker:
    """Writes one run to `records` (JSONL) and to the MLflow store at `uri`."""

    def __init__(self, uri: str, experiment: str, records: Path):
        self.uri, self.experiment, self.records = uri, experiment, records
        self.run_id: str | None = None
        self.experiment_id: str | None = None
        self.stride = 1  # of the steps whose metrics MLflow gets
        self.unsent: list[tuple[str, tuple]] = []
        self.there: dict[str, set[int]] = {}  # name of a metric -> steps that the store had before this process
        self.refused: list[tuple[str, tuple]] = []  # calls that the store will never take
        self.said: set[str] = set()  # what keeps calls from being sent, each told once
        self.say: Callable[[str], None] = log.warning  # a worker's reach the terminal by another
        self.retry_at = 0.0
        records.parent.mkdir(parents=True, exist_ok=True)

    def start(
        self, name: str, tags: dict[str, str], params: dict[str, object], run_id: str | None = None, steps: int = 0
    ) -> str | None:
        """Open a run, or go on in `run_id`, unless that was deleted; -> its id, None where the store does not answer.

        Args:
            steps: of the whole training; where they are more than `POINTS`, MLflow gets the step metrics of every 2nd,
                4th, ...

        Raises:
            InputError: the URI is none that MLflow understands, or the store refuses: then nothing could be logged.
        """
        self._record("start", name=name, tags=tags, params=params)
        self.stride = 1 << (max(0, steps - 1) // POINTS).bit_length()
        try:
            client = open_store(self.uri)
            if run_id is not None:
                if not (why := gone(client, run_id)):
                    client.set_terminated(run_id, RunStatus.to_string(RunStatus.RUNNING))
                    self.run_id, self.experiment_id = run_id, client.get_run(run_id).info.experiment_id
                    return run_id
                self.say(
                    f"MLflow run {run_id} {why}; {self.records.parent.name} goes on in a new one,"
                    f" and {self.records} has all of it"
                )
            experiment_id = find_experiment(client, self.uri, self.experiment) or make_experiment(
                client, self.uri, self.experiment
            )
            self.experiment_id = experiment_id
            self.run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
        except FAILURES as error:
            refuse(error, self.uri)
            log.warning(
                "MLflow at %s does not answer; records go to %s alone (%s)",
                redact(self.uri),
                self.records,
                first_line(error),
            )
            return None
        items = [Param(key, str(value)[:500]) for key, value in params.items()]
        for at in range(0, len(items), 100):
            self._send("log_batch", [], items[at : at + 100], [])
        return self.run_id

    def metrics(self, values: dict[str, float], step: int) -> None:
        """One set of numbers at a step; of several for one step the last is shown."""
        self._send_metrics("log_batch", [(step, values)])

    def series(self, steps: list[tuple[int, dict[str, float]]]) -> None:
        """Many steps (from 1 on) at once: a store takes one batch far faster than its numbers one by one.

        A step that the store has already, because a training was cut off after it and does it again, is not sent twice.
        """
        self._send_metrics("series", steps)

    def _send_metrics(self, call: str, steps: list[tuple[int, dict[str, float]]]) -> None:
        now = int(time.time() * 1000)
        for step, values in steps:
            self._record("metrics", step=step, values=values)
        finite = [
            Metric(name, float(value), now, step)
            for step, values in steps
            for name, value in values.items()
            if math.isfinite(value) and ((step - 1) % self.stride == 0 or not name.startswith(STEP))
        ]
        for at in range(0, len(finite), 900):
            self._send(call, finite[at : at + 900], [], [])

    def take_unsent(self) -> list[list]:
        """Try once more, and hand over the numbers that are still unsent as [key, value, timestamp, step],
        for `give`.
        """
        self.retry_at = 0.0
        self._flush()
        numbers = [
            metric
            for call, arguments in self.refused + self.unsent
            if call in ("log_batch", "series")
            for metric in arguments[0]
        ]
        self.unsent.clear()
        self.refused.clear()
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
        """Close the run; -> as `delivered`."""
        self._record("finish", status=status)
        self._send("set_terminated", status)
        return self.delivered()

    def delivered(self) -> bool:
        """Try once more; -> True where MLflow has everything, else what it lacks is said."""
        self.retry_at = 0.0
        self._flush()
        if self.run_id is None or self.unsent or self.refused:
            lacks = (
                "all of this run"
                if self.run_id is None
                else f"of run {self.run_id} {_counted(self.refused + self.unsent)}"
            )
            self.say(f"MLflow at {redact(self.uri)} lacks {lacks}; the complete record is {self.records}")
            return False
        return True

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
        with whole_calls():
            self._send_all()

    def _send_all(self) -> None:
        client = open_store(self.uri)
        while self.unsent:
            call, arguments = self.unsent[0]
            try:
                if call == "series":
                    call, arguments = "log_batch", (self._not_there(client, arguments[0]), *arguments[1:])
                getattr(client, call)(self.run_id, *arguments)
            except Exception as error:  # artifacts' stores raise all kinds, and none may end a training
                if obstacle := self._obstacle(client, call, error):
                    self._say_once(f"MLflow at {redact(self.uri)} {obstacle}; {self.records} keeps the record")
                    self.retry_at = time.monotonic() + RETRY_SECONDS
                    return
                self.refused.append(self.unsent[0])  # it must not hold up what comes after
                self._say_once(f"MLflow did not take {_counted(self.unsent[:1])}: {first_line(error)}")
            self.unsent.pop(0)

    def _obstacle(self, client: MlflowClient, call: str, error: Exception) -> str | None:
        """What keeps all of this run from being sent, for now; None where it is this call alone that is refused."""
        try:
            if why := gone(client, self.run_id):
                return f"takes nothing of this run: it {why}; restored, it gets the rest"
        except FAILURES as other:
            error = other
        else:
            if never(error) or call not in ("log_batch", "set_terminated"):
                return None
        found = refusal(error, self.uri)
        return f"refuses: {found}" if found else f"does not answer ({first_line(error)})"

    def _say_once(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            self.say(text)

    def _not_there(self, client: MlflowClient, metrics: list[Metric]) -> list[Metric]:
        """Those of steps that the store did not have when this process first sent numbers of their name."""
        for key in {metric.key for metric in metrics} - self.there.keys():
            self.there[key] = {one.step for one in client.get_metric_history(self.run_id, key)}
        return [metric for metric in metrics if metric.step not in self.there[metric.key]]


@contextmanager
def whole_calls() -> Iterator[None]:
    """Let Ctrl-C wait for the end of a call, for a transaction cut off inside locks the database for the run's own end.

    A second Ctrl-C does not wait. Only the main thread is ever interrupted.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    waiting = []

    def hold_back(number: int, frame: object) -> None:
        waiting.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, hold_back)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if waiting:
            signal.raise_signal(signal.SIGINT)


def _counted(calls: list[tuple[str, tuple]]) -> str:
    """Calls in words: `1,200 numbers, its parameters, best, figures/curve.png, its end`."""
    words = Counter()
    for call, arguments in calls:
        match call:
            case "log_batch" | "series":
                words["numbers"] += len(arguments[0])
                words["parameters"] += len(arguments[1])
            case "set_terminated":
                words["its end"] = 1
            case "log_artifact" | "log_artifacts":
                words[Path(arguments[0]).name] += 1
            case _:  # figures and tables
                words[arguments[1]] += 1
    named = [
        f"{number:,} {what}" if what in ("numbers", "parameters") else what for what, number in words.items() if number
    ]
    return ", ".join(named[:8]) + (f" and {len(named) - 8} more" if len(named) > 8 else "")
