"""What lies where in an output folder, and in a run's folder within it. Every other part takes the names from here.

OUTPUT/mlflow.db              MLflow's store, where `tracking.uri` names no other
OUTPUT/features/<key>/        caches of features, where the config names no other place
OUTPUT/tables/<data set>/     tables: their outcomes, records and marks
OUTPUT/sweeps/<name>/         sweeps: records, the mark of the MLflow run, a study
OUTPUT/benchmark/             records of what jobs/benchmark.py has measured
OUTPUT/runs/<name>            a link to the newest finished run of that name (runs/names.py)
OUTPUT/runs/<name>-seed<seed>-<identity>/
    config.yaml, manifest/    what is trained, on which clips
    last/, best/              checkpoints (training/checkpoint.py)
    records.jsonl             every record that MLflow gets
    mlflow_run.json           the mark: which MLflow run a training that is resumed goes on in
    failures.txt              tracebacks of workers that failed
    result.json               what the training workers hand back
    clips.parquet             predictions, clip by clip
    probabilities.parquet     all probabilities of the same clips
    predictions.csv, worst.csv, per_class_*.csv, confusion_*.csv, figures/      the same for people (runs/kept.py)
    quarantine.csv            clips that could not be used
    summary.json              written last: the run is finished
    evaluations/<views>/      results under other testing views than those of the training
    evaluations/<checkpoint>-<split>-<views>/      what jobs/evaluate.py found
    objects-<key>.json        scores of the slots on annotated sequences; pictures of some in objects/
    discovery-<key>.json      the same masks by the per-frame protocol, and beside k-means (table `discovery`)
"""

from pathlib import Path

from .store_uri import sqlite_uri

RUNS, SWEEPS, TABLES, FEATURES, BENCHMARK = "runs", "sweeps", "tables", "features", "benchmark"
STORE = "mlflow.db"

CONFIG = "config.yaml"
MANIFEST = "manifest"
LAST, BEST = "last", "best"
WEIGHTS = "adapter.safetensors"  # of a checkpoint, as inference takes them
RECORDS = "records.jsonl"
MLFLOW_RUN = "mlflow_run.json"
FAILURES = "failures.txt"
RESULT = "result.json"
CLIPS = "clips.parquet"
PROBABILITIES = "probabilities.parquet"
PREDICTIONS = "predictions.csv"
WORST = "worst.csv"
FIGURES = "figures"
QUARANTINE = "quarantine.csv"
SUMMARY = "summary.json"
EVALUATION = "evaluation.json"  # the summary of what jobs/evaluate.py found
EVALUATIONS = "evaluations"
OBJECTS = "objects"
SAVE_REQUEST = "save_now"  # made by whoever wants a checkpoint within the epoch; the training removes it


def output_of(folder: Path) -> Path:
    """The output folder that a run's, sweep's or table's folder lies in."""
    return folder.parents[1]


def last_checkpoint(run: Path) -> Path:
    """A run's newest checkpoint, whether or not it is there; as `training/checkpoint.newest`, without torch."""
    last, old = run / LAST, run / f"{LAST}.old"
    return old if old.exists() and not last.exists() else last


def object_scores(key: str) -> str:
    """Name of the file with a run's scores on annotated sequences; key "*": the pattern of all."""
    return f"{OBJECTS}-{key}.json"


def discovery_scores(key: str) -> str:
    """Name of the file with what else is said of a run's objects on annotated sequences."""
    return f"discovery-{key}.json"


def store_uri(given: str | None, output: Path) -> str:
    """Of the MLflow store: `tracking.uri` where it is given, else a file in the output folder."""
    return given or sqlite_uri(output / STORE)
