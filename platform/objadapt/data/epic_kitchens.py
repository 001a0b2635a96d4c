"""EPIC-KITCHENS-100: spans of long videos, a verb and a noun each. Frame rates are mixed: cut by time stamps."""

import numpy as np
import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotations import (
    Listing,
    data_root,
    exists,
    find,
    join,
    list_videos,
    numbers,
    read_table,
    refuse_paths,
    require_columns,
    stem,
    videos_folder,
)

NUM_CLASSES = {"verb": 97, "noun": 300}
COLUMNS = ["narration_id", "video_id", "start_timestamp", "stop_timestamp"]


def read_epic_kitchens(data: Data) -> Listing:
    """Columns verb_label and noun_label; names from `EPIC_100_{verb,noun}_classes.csv`, else the commonest training word."""
    root = data_root(data)
    tables = []
    for split, given, name in (("train", data.train, "EPIC_100_train.csv"), ("val", data.val, "EPIC_100_validation.csv")):
        source = find(root, given, (name, f"annotations/{name}", f"epic-kitchens-100-annotations/{name}"), split)
        table = read_table(source)
        require_columns(table, [*COLUMNS, *(f"{head}{part}" for head in NUM_CLASSES for part in ("", "_class"))], source)
        for column in ("narration_id", "video_id"):
            refuse_paths(table[column], source)
        rows = pd.DataFrame({"clip_id": table["narration_id"], "video_id": table["video_id"], "split": split})
        rows["start_s"] = [_seconds(text, source) for text in table["start_timestamp"]]
        rows["end_s"] = [_seconds(text, source) for text in table["stop_timestamp"]]
        for head in NUM_CLASSES:
            rows[f"{head}_label"] = np.nan_to_num(numbers(table[f"{head}_class"], source), nan=-1).astype(np.int64)
            rows[head] = table[head]
        tables.append(rows)
    rows = pd.concat(tables, ignore_index=True)
    classes = {f"{head}_label": _class_names(root, head, tables[0]) for head in NUM_CLASSES}
    there = {stem(path): path for path in list_videos(videos_folder(data, root, "videos"))}
    rows["path"] = [there.get(video) for video in rows["video_id"]]
    return Listing(rows.drop(columns=["video_id", *NUM_CLASSES]), classes, flip=True)


def _seconds(text: str, source: str) -> float:
    """`HH:MM:SS.ff` -> seconds."""
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        raise InputError(f"{source}: time {text!r} is not of the form HH:MM:SS.ff; correct that row") from None


def _class_names(root: str, head: str, train: pd.DataFrame) -> list[str]:
    for folder in ("", "annotations/", "epic-kitchens-100-annotations/"):
        source = join(root, f"{folder}EPIC_100_{head}_classes.csv")
        if exists(source):
            table = read_table(source)
            require_columns(table, ["id", "key"], source)
            return [name for _, name in sorted(zip(numbers(table["id"], source), table["key"], strict=True))]
    commonest = train.groupby(f"{head}_label")[head].agg(lambda words: words.mode().iloc[0])
    return [commonest.get(i, f"{head} {i}") for i in range(NUM_CLASSES[head])]
