"""What the results app reads, wherever it lies.

`FolderStore` reads an output folder (folder_store.py), `MlflowStore` an MLflow store (mlflow_store.py). Each
call reads anew. Callers keep results by `Store.stamp`. Knows nothing of Streamlit.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import pandas as pd

from objadapt.errors import InputError
from objadapt.stored_format import format_of
from objadapt.tables import formats

REMAKE = "the command that made the table writes it anew, and trains nothing twice"
QUARANTINED = ["clip_id", "path", "split", "stage", "reason"]


class Table(Protocol):
    """A table of a store; `title` tells it from the others."""

    @property
    def name(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def title(self) -> str: ...


class Run(Protocol):
    """A training.

    Attributes:
        summary: its results; may be empty while it has not ended.
        settings: dotted key of its config -> value as text; empty where the config is out of reach.
        problem: why it cannot be read.
        checkpoint: whether the training can go on from one; None where this store does not know.
        mlflow_run: id of its MLflow run; None where it has none.
        changed: seconds since 1970, when its end or its last record was written; 0 where nothing is written.
    """

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> dict: ...
    @property
    def settings(self) -> dict[str, str]: ...
    @property
    def problem(self) -> str | None: ...
    @property
    def finished(self) -> bool: ...
    @property
    def checkpoint(self) -> bool | None: ...
    @property
    def mlflow_run(self) -> str | None: ...
    @property
    def changed(self) -> float: ...


@dataclass(frozen=True)
class Records:
    """A run's numbers over time.

    Attributes:
        epochs, steps: a row a step, a column a metric; names without `epoch/` and `step/`.
        seconds: since 1970, of the last record; None where there is none.
        status: MLflow's, FINISHED, FAILED or KILLED; None where the run trains or was cut off.
        damaged: lines that could not be read.
    """

    epochs: pd.DataFrame
    steps: pd.DataFrame
    seconds: float | None
    status: str | None
    damaged: int


T = TypeVar("T", bound=Table)
R = TypeVar("R", bound=Run)


class Store(Protocol[T, R]):
    """Tables and runs of one place. What cannot be read is an InputError of one line."""

    @property
    def caption(self) -> str:
        """What and where it is, in short."""
        ...

    @property
    def place(self) -> str:
        """Where it is, in full."""
        ...

    @property
    def folder(self) -> Path | None:
        """The output folder, with checkpoints and studies; None: there is none to read them from."""
        ...

    @property
    def option(self) -> str:
        """The option of jobs/reproduce.py that writes here."""
        ...

    @property
    def without_runs(self) -> tuple[str, ...]:
        """What is said where no run is, and the commands that make the first."""
        ...

    def tables(self) -> list[T]:
        """The tables, the newest first."""
        ...

    def outcome(self, table: T) -> dict | None:
        """The outcome of a table; None where it is not written yet."""
        ...

    def tracking_uri(self, what: T | R) -> str:
        """URI of the MLflow store that has a run, or a table's runs."""
        ...

    def runs(self) -> list[R]:
        """The trainings, the newest first."""
        ...

    def records(self, run: R) -> Records:
        """The curves of a run."""
        ...

    def quarantine(self, run: R) -> pd.DataFrame:
        """`QUARANTINED` of a run's clips that could not be used; empty where it has not ended."""
        ...

    def stamp(self, what: T | R | None = None) -> tuple:
        """A key of this store that changes with a table's outcome, a run's records, or (None) the runs."""
        ...


def read_json(path: Path, remedy: str) -> dict:
    """A JSON object; else an InputError with the file and the remedy."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; {remedy}") from None
    return parsed(text, path, remedy)


def parsed(text: bytes, where: object, remedy: str) -> dict:
    """As `read_json`, of a text from `where`."""
    try:
        content = json.loads(text)
    except ValueError:  # of JSON, and of UTF-8
        raise InputError(f"{where}: damaged, not valid JSON; {remedy}") from None
    if not isinstance(content, dict):
        raise InputError(f"{where}: damaged, not a JSON object; {remedy}")
    return content


def checked_outcome(outcome: dict, where: object) -> dict:
    """The outcome, if it can be shown.

    Raises:
        InputError: damaged, of a newer version, or not what jobs/reproduce.py writes; names `where`.
    """
    format_of(outcome, where)
    try:
        for render in (formats.markdown, formats.latex, formats.csv_text):
            render(outcome)
        for row in outcome["rows"]:
            row["runs"].items(), row["failures"].items(), row["overrides"][:0]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{where}: not a table's outcome ({type(error).__name__}: {error}); {REMAKE}") from None
    return outcome
