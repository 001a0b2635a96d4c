"""Tables, sweeps and runs of an output folder, from its plain files. Knows nothing of Streamlit.

STORE/tables/<data set>/NAME.json        an outcome; NAME.mlflow.json alone: its rows are still being trained
STORE/sweeps/<sweep>/study.db            an Optuna study (study_file.py)
STORE/runs/<run>/summary.json            of a finished run; without it the run trains or was cut off (run_files.py)
"""

from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

import pandas as pd
import yaml

from dashboards.run_files import read_quarantine, read_records
from dashboards.store import REMAKE, Records, checked_outcome, read_json
from objadapt.config_file import flat
from objadapt.errors import InputError
from objadapt.run_folder import CONFIG, MLFLOW_RUN, RECORDS, RUNS, SUMMARY, SWEEPS, TABLES, last_checkpoint, store_uri
from objadapt.stored_format import read_run as check_format

MARK = ".mlflow.json"
AGAIN = "the links to MLflow come back with the next run of the command"


@dataclass(frozen=True)
class FolderTable:
    """A table of a store."""

    dataset: str
    name: str
    written: Path | None  # its outcome; None: started, not written yet
    mark: Path  # of its MLflow run; need not exist

    @property
    def title(self) -> str:
        return f"{self.name} ({self.dataset})"

    @property
    def file(self) -> Path:
        """What changes with it."""
        return self.written or self.mark


@dataclass(frozen=True)
class FolderRun:
    """The `Run` of a folder."""

    folder: Path
    summary: dict
    problem: str | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def finished(self) -> bool:
        return bool(self.summary)

    @property
    def checkpoint(self) -> bool:
        return last_checkpoint(self.folder).is_dir()

    @property
    def mlflow_run(self) -> str | None:
        return self.summary.get("mlflow_run_id") or _mark(self.folder).get("run_id")

    @property
    def changed(self) -> float:
        return max(stamp(self.folder / name)[1] for name in (SUMMARY, RECORDS)) / 1e9

    @property
    def file(self) -> Path:
        """What changes with it."""
        return self.folder / RECORDS


@dataclass(frozen=True)
class FolderStore:
    """The `Store` of an output folder."""

    folder: Path

    @property
    def caption(self) -> str:
        return "store: " + "/".join(self.folder.parts[-2:])

    @property
    def place(self) -> str:
        return str(self.folder)

    @property
    def option(self) -> str:
        return f"--output {quote(str(self.folder))}"

    @property
    def without_runs(self) -> tuple[str, ...]:
        said = "No run is in this store yet. Toy data, a training and a table of two rows, in some minutes:"
        return said, "make demo"

    def tables(self) -> list[FolderTable]:
        """The tables, the one written last first."""
        files = {}
        for path in self.folder.glob(f"{TABLES}/*/*.json"):
            name = path.name.removesuffix(MARK) if path.name.endswith(MARK) else path.stem
            outcome = path.with_name(f"{name}.json")
            files[path.parent.name, name] = FolderTable(
                path.parent.name, name, outcome if outcome.exists() else None, path.with_name(name + MARK)
            )
        written = {key: stamp(table.file)[1] for key, table in files.items()}
        return [files[key] for key in sorted(files, key=lambda key: (-written[key], key))]

    def outcome(self, table: FolderTable) -> dict | None:
        return read_outcome(table.written) if table.written else None

    def tracking_uri(self, what: FolderTable | FolderRun) -> str:
        default = store_uri(None, self.folder)
        if isinstance(what, FolderRun):
            return _mark(what.folder).get("uri") or default
        return read_json(what.mark, AGAIN).get("uri", default) if what.mark.exists() else default

    def runs(self) -> list[FolderRun]:
        """All runs, the newest first. A damaged summary is a `problem` of its run and no error."""
        return [read_run(folder) for folder in sorted(self._run_folders(), key=lambda path: (-_age(path), path.name))]

    def records(self, run: FolderRun) -> Records:
        return read_records(run.file)

    def quarantine(self, run: FolderRun) -> pd.DataFrame:
        return read_quarantine(run.folder)

    def stamp(self, what: FolderTable | FolderRun | None = None) -> tuple:
        """Of the runs: changes when one begins, ends or goes."""
        if what is not None:
            return stamp(what.file)
        return str(self.folder), *sorted(stamp(path / SUMMARY) for path in self._run_folders())

    def _run_folders(self) -> list[Path]:
        """Folders of runs; a link by a run's name leads to one of them, and is no run of its own."""
        return [path for path in self.folder.glob(f"{RUNS}/*") if path.is_dir() and not path.is_symlink()]


def stamp(path: Path) -> tuple[str, int, int]:
    """A key that changes when the file changes; (path, 0, 0) where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), stat.st_mtime_ns, stat.st_size


def read_outcome(path: Path) -> dict:
    """The outcome of a table.

    Raises:
        InputError: damaged, or not what jobs/reproduce.py writes.
    """
    return checked_outcome(read_json(path, REMAKE), path)


def sweeps(folder: Path) -> list[Path]:
    """Folders of an output folder's sweeps, the one that changed last first."""
    return sorted(
        (path for path in folder.glob(f"{SWEEPS}/*") if path.is_dir()), key=lambda path: -stamp(path / "study.db")[1]
    )


def read_run(folder: Path) -> FolderRun:
    """One run; one that a newer version wrote has that as its problem."""
    path, settings = folder / SUMMARY, _settings(folder / CONFIG)
    try:
        check_format(folder)
        if not path.exists():
            return FolderRun(folder, {}, settings=settings)
        summary = read_json(path, "delete it, and the command that trained the run writes it anew")
        return FolderRun(folder, summary, settings=settings)
    except InputError as error:
        return FolderRun(folder, {}, str(error), settings)


def _settings(path: Path) -> dict[str, str]:
    """The settings of a run's config, as MLflow has them; none where the file is absent or damaged."""
    try:
        tree = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return {key: str(value) for key, value in flat(tree).items()} if isinstance(tree, dict) else {}


def _mark(run: Path) -> dict:
    """Which MLflow run a run's folder belongs to; empty where it belongs to none."""
    path = run / MLFLOW_RUN
    return read_json(path, AGAIN) if path.exists() else {}


def _age(folder: Path) -> int:
    return stamp(folder / SUMMARY)[1] or stamp(folder / RECORDS)[1] or stamp(folder)[1]
