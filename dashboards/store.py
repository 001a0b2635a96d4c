"""Tables, sweeps and runs of an output folder, from its plain files. Knows nothing of Streamlit.

    STORE/tables/<data set>/NAME.json        an outcome; NAME.mlflow.json alone: its rows are still being trained
    STORE/sweeps/<sweep>/study.db            an Optuna study (study_file.py)
    STORE/runs/<run>/summary.json            of a finished run; without it the run trains or was cut off (run_files.py)

Each call reads the files again. Callers keep results by `stamp`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from objadapt.errors import InputError
from objadapt.run_folder import RECORDS, RUNS, SUMMARY, SWEEPS, TABLES
from objadapt.stored_format import format_of
from objadapt.stored_format import read_run as check_format
from objadapt.tables import formats

MARK = ".mlflow.json"
REMAKE = "the command that made the table writes it anew, and trains nothing twice"


@dataclass(frozen=True)
class TableFile:
    """A table of a store."""

    dataset: str
    name: str
    outcome: Path | None  # None: started, not written yet
    mark: Path  # of its MLflow run; need not exist

    @property
    def title(self) -> str:
        return f"{self.name} ({self.dataset})"


@dataclass(frozen=True)
class Run:
    """A run's folder and its summary, which is empty while the run has not ended; `problem`: why it cannot be read."""

    folder: Path
    summary: dict
    problem: str | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def finished(self) -> bool:
        return bool(self.summary)


def stamp(path: Path) -> tuple[str, int, int]:
    """A key that changes when the file changes; (path, 0, 0) where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), stat.st_mtime_ns, stat.st_size


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


def tables(store: Path) -> list[TableFile]:
    """The tables of a store, the one written last first."""
    files = {}
    for path in store.glob(f"{TABLES}/*/*.json"):
        name = path.name.removesuffix(MARK) if path.name.endswith(MARK) else path.stem
        outcome = path.with_name(f"{name}.json")
        files[path.parent.name, name] = TableFile(
            path.parent.name, name, outcome if outcome.exists() else None, path.with_name(name + MARK)
        )
    written = {key: stamp(table.outcome or table.mark)[1] for key, table in files.items()}
    return [files[key] for key in sorted(files, key=lambda key: (-written[key], key))]


def read_outcome(path: Path) -> dict:
    """The outcome of a table.

    Raises:
        InputError: damaged, of a newer version, or not what jobs/reproduce.py writes.
    """
    return checked_outcome(read_json(path, REMAKE), path)


def checked_outcome(outcome: dict, where: object) -> dict:
    """The outcome, if it can be shown. Errors are those of `read_outcome`; they name `where`."""
    format_of(outcome, where)
    try:
        for render in (formats.markdown, formats.latex, formats.csv_text):
            render(outcome)
        for row in outcome["rows"]:
            row["runs"].items(), row["failures"].items(), row["overrides"][:0]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{where}: not a table's outcome ({type(error).__name__}: {error}); {REMAKE}") from None
    return outcome


def sweeps(store: Path) -> list[Path]:
    """Folders of sweeps, the one that changed last first."""
    return sorted(
        (path for path in store.glob(f"{SWEEPS}/*") if path.is_dir()), key=lambda path: -stamp(path / "study.db")[1]
    )


def runs(store: Path) -> list[Run]:
    """All runs, the newest first. A damaged summary is a `problem` of its run and no error."""
    folders = [path for path in store.glob(f"{RUNS}/*") if path.is_dir()]
    return [read_run(folder) for folder in sorted(folders, key=lambda path: (-_age(path), path.name))]


def read_run(folder: Path) -> Run:
    """One run; one that a newer version wrote has that as its problem."""
    path = folder / SUMMARY
    try:
        check_format(folder)
        if not path.exists():
            return Run(folder, {})
        return Run(folder, read_json(path, "delete it, and the command that trained the run writes it anew"))
    except InputError as error:
        return Run(folder, {}, str(error))


def _age(folder: Path) -> int:
    return stamp(folder / SUMMARY)[1] or stamp(folder / RECORDS)[1] or stamp(folder)[1]
