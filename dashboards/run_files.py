"""The files of one run: its records, predictions clip by clip, scores of objects, and quarantined clips."""

import json
import math
from pathlib import Path

import pandas as pd
import pyarrow as pa

from dashboards.store import QUARANTINED, Records, read_json
from objadapt.data.manifest import Manifest
from objadapt.errors import InputError
from objadapt.run_folder import CLIPS, EVALUATION, EVALUATIONS, MANIFEST, QUARANTINE, object_scores
from objadapt.training.state import changed_text

CLIP = ["clip_id", "path", "start_s", "end_s"]
AGAIN = "train the run again in another folder, or take it from its MLflow run's artifacts"
UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError, pa.ArrowException)


def read_records(path: Path) -> Records:
    """`records.jsonl`, also while a run appends to it.

    Left out are an unfinished last line, and steps before a cut that the training has not yet done again.

    Raises:
        InputError: the file cannot be read.
    """
    rows, damaged, seconds, status = {"epoch": {}, "step": {}}, 0, None, None
    begun = False  # a training whose first step is still to come
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; the run has no records to show") from None
    lines = text.split("\n")
    for line in filter(None, lines[:-1]):
        try:
            record = json.loads(line)
            kind, seconds = record["kind"], float(record["time"])
            if kind == "start":
                begun = True
            if kind == "metrics":
                if begun and any(key.startswith("step/") for key in record["values"]):
                    begun = False
                    rows["step"] = {step: row for step, row in rows["step"].items() if step < int(record["step"])}
                for key, value in record["values"].items():
                    level, _, name = key.partition("/")
                    if level in rows:
                        rows[level].setdefault(int(record["step"]), {})[name] = float(value)
        except (ValueError, KeyError, TypeError, AttributeError):
            damaged += 1
            continue
        status = record.get("status") if kind == "finish" else None if kind == "start" else status
    epochs, steps = (pd.DataFrame.from_dict(rows[level], orient="index").sort_index() for level in ("epoch", "step"))
    return Records(epochs, steps, seconds, status, damaged)


def read_clips(run: Path) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The clips that a run was judged on, and head -> class names.

    Returns:
        A row a clip and head: clip_id, path, start_s, end_s, head, true, predicted (names), probability, rank. Without
        predictions, as in an unfinished run, the last five are missing values.

    Raises:
        InputError: no manifest, a damaged file, or predictions of other clips.
    """
    manifest = Manifest.read(run / MANIFEST)
    table, classes = manifest.table, manifest.classes
    if not (run / CLIPS).exists():
        clips = table.loc[table["split"] == "val", CLIP].reset_index(drop=True)
        return clips.assign(head=None, true=None, predicted=None, probability=math.nan, rank=None), classes
    predictions = _parquet(run / CLIPS, {"row", "head", "true", "predicted", "probability", "rank"})
    try:
        clips = table[CLIP].iloc[predictions["row"]].reset_index(drop=True)
        judged = pd.concat([clips, predictions[["head", "probability", "rank"]]], axis=1)
        for column in ("true", "predicted"):
            judged[column] = [
                classes[h][n] if n >= 0 else None
                for h, n in zip(predictions["head"], predictions[column], strict=False)
            ]
    except UNREADABLE as error:
        raise InputError(f"{run / CLIPS}: does not belong to the run's manifest ({error}); {AGAIN}") from None
    return judged, classes


def surest_first(clips: pd.DataFrame) -> pd.DataFrame:
    """Right clips before wrong ones and those without a label, of each kind the one that the run is most sure of first.

    `wrong` says which: True, False, or a missing value without a label.
    """
    wrong = (clips["true"] != clips["predicted"]).astype("boolean").mask(clips["true"].isna())
    return clips.assign(wrong=wrong).sort_values(
        ["wrong", "probability", "clip_id"], ascending=[True, False, True], ignore_index=True
    )


def scores_of_sequences(score: dict) -> pd.Series:
    """Name of a sequence -> mean J&F (share) of its objects, of one that `read_scores` found."""
    return score["objects"].groupby("sequence")["J&F"].mean()


def scores_of_clips(scores: list[dict], clips: pd.Series) -> pd.Series:
    """J&F of the sequence that bears a clip's name, nan where there is none.

    Of the folder alone that has most of the clips: another's sequence of that name may be another video.
    """
    found = [clips.map(scores_of_sequences(score)) for score in scores]
    return max(found, key=lambda one: one.notna().sum(), default=pd.Series(math.nan, clips.index))


def read_scores(run: Path) -> list[dict]:
    """The content of each `objects-*.json`: `davis` (the folder of the sequences), `mean` J&F, and `objects` (rows).

    Raises:
        InputError: a damaged file.
    """
    scored = []
    for path in sorted(run.glob(object_scores("*"))):
        scores = read_json(path, "delete it, and python jobs/reproduce.py scores the run anew")
        try:
            rows = [(str(row["sequence"]), float(row["J&F-Mean"])) for row in scores["objects"]]
            facts = {"davis": str(scores["davis"]), "mean": float(scores["scores"]["J&F-Mean"])}
        except UNREADABLE:
            raise InputError(
                f"{path}: not the scores of objects; delete it, and python jobs/reproduce.py scores the run anew"
            ) from None
        scored.append(facts | {"objects": pd.DataFrame(rows, columns=["sequence", "J&F"])})
    return scored


def read_quarantine(run: Path) -> pd.DataFrame:
    """clip_id, path, split, stage, reason of the clips that could not be used; empty where the run has not ended.

    Raises:
        InputError: a damaged file.
    """
    path = run / QUARANTINE
    if not path.exists():
        return pd.DataFrame(columns=QUARANTINED)
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)[QUARANTINED]
    except UNREADABLE as error:
        raise InputError(f"{path}: damaged ({error}); {AGAIN}") from None


def read_evaluations(run: Path) -> pd.DataFrame:
    """What jobs/evaluate.py kept in a run's folder, the newest first: evaluation, split, views, changed settings,
    clips, top-1, top-5.

    Raises:
        InputError: a damaged file.
    """
    rows = []
    for path in sorted((run / EVALUATIONS).glob(f"*/{EVALUATION}"), key=lambda one: -one.stat().st_mtime):
        try:
            found = json.loads(path.read_text())
            clips = found[f"num_{found['split']}_clips"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged ({error}); delete it, and evaluate again") from None
        top = [found.get(f"action_{name}", found.get(name)) for name in ("top1", "top5")]
        changed = changed_text(found.get("changed") or {})  # of older ones that is not known
        rows.append((path.parent.name, found["split"], found["views"], changed, clips, *top))
    return pd.DataFrame(rows, columns=["evaluation", "split", "views", "changed", "clips", "top-1", "top-5"])


def _parquet(path: Path, columns: set[str]) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read ({reason}); {AGAIN}") from None
    if missing := columns - set(table.columns):
        raise InputError(f"{path}: lacks {', '.join(sorted(missing))}; {AGAIN}")
    return table
