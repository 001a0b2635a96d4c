"""EPIC-KITCHENS-100: spans of long videos, each with a verb and a noun.

Frame rates are mixed, so time stamps cut them.
"""

import os
import re

import numpy as np
import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotation_file import read_table, refuse, require_columns, whole_numbers
from .annotations import Listing, refuse_class_names, refuse_paths
from .epic_lists import read_lists
from .places import EPIC_FOLDERS, data_files, data_root, exists, join, videos_folder
from .video_files import find_by_name, list_folder

NUM_CLASSES = {"verb": 97, "noun": 300}
FRAMES = ["start_frame", "stop_frame"]  # numbered from 1, as the pictures are
COLUMNS = ["narration_id", "video_id", "start_timestamp", "stop_timestamp"]


def read_epic_kitchens(data: Data) -> Listing:
    """Columns verb_label and noun_label; names come from `EPIC_100_{verb,noun}_classes.csv`, else the commonest word.

    A clip is the whole of the file named by its `narration_id`, which was cut beforehand. Without such a file it is
    the span of the file named by its `video_id`. Where that is a folder of frames, the frame numbers are the span.
    The test set (`data.test`) has no labels.
    """
    root, tables = data_root(data), []
    for split, source in data_files(data).items():
        table = read_table(source)
        labels = [f"{head}{part}" for head in NUM_CLASSES for part in ("", "_class")]
        require_columns(table, COLUMNS if split == "test" else [*COLUMNS, *labels], source)
        table = table.assign(**{column: "" for column in labels if column not in table})
        for column in ("narration_id", "video_id"):
            refuse_paths(table[column], source)
        rows = pd.DataFrame({"clip_id": table["narration_id"], "video_id": table["video_id"], "split": split})
        rows["start_s"] = _seconds(table["start_timestamp"], source)
        rows["end_s"] = _seconds(table["stop_timestamp"], source)
        for head in NUM_CLASSES:
            rows[f"{head}_label"] = whole_numbers(table[f"{head}_class"], source)
            rows[head] = table[head]
        for column in FRAMES:
            rows[column] = whole_numbers(table[column], source) if column in table else -1
        tables.append(rows)
    rows = pd.concat(tables, ignore_index=True)
    classes = {f"{head}_label": _class_names(root, head, tables[0]) for head in NUM_CLASSES}
    listed = list_folder(videos_folder(data, root, "videos"))
    cut, whole = (np.array(find_by_name(rows[column], listed), dtype=object) for column in ("clip_id", "video_id"))
    is_cut = pd.notna(cut)
    rows["path"] = np.where(is_cut, cut, whole)
    rows.loc[is_cut, ["start_s", "end_s"]] = np.nan
    _span_of_frames(rows)
    return Listing(
        rows.drop(columns=["video_id", *NUM_CLASSES, *FRAMES]), classes, flip=True, subsets=read_lists(root, classes)
    )


def _span_of_frames(rows: pd.DataFrame) -> None:
    """Put spans in frames in place of those in seconds where a clip is part of a folder of frames, which has no others.

    The publishers' frames are numbered from 1, and a span ends before `stop_frame`.
    """
    files = rows["path"].dropna().unique()
    folders = {path for path in files if os.path.isdir(path)}
    part = rows["path"].isin(list(folders)) & rows["start_s"].notna()
    if (part & (rows["start_frame"] < 0)).any():
        clip = rows.loc[part & (rows["start_frame"] < 0), "clip_id"].iloc[0]
        raise InputError(f"{clip}: its video is a folder of frames, and there is no start_frame; give the videos")
    rows.loc[part, "start_s"] = (rows.loc[part, "start_frame"] - 1).clip(lower=0).astype(float)
    rows.loc[part, "end_s"] = (rows.loc[part, "stop_frame"] - 1).astype(float)


def _seconds(column: pd.Series, source: str) -> np.ndarray:
    """`HH:MM:SS.ff` -> seconds, float64."""
    parts = column.str.extract(r"^([0-9]+):([0-5]?[0-9]):([0-5]?[0-9](?:\.[0-9]+)?)$")
    refuse(column.rename("time"), parts[0].isna(), source, "is not of the form HH:MM:SS.ff; correct that row")
    return (parts.astype(np.float64) @ [3600, 60, 1]).to_numpy()


def _refuse_shifted_ids(classes: pd.DataFrame, head: str, source: str, train: pd.DataFrame) -> None:
    """InputError where the words are the `instances` of the class before: ids that count from 1."""
    if "instances" not in classes:
        return
    words_of = dict(zip(whole_numbers(classes["id"], source).tolist(), classes["instances"], strict=True))
    labelled = train[train[f"{head}_label"] >= 0]
    words, numbers = labelled[head].tolist(), labelled[f"{head}_label"].tolist()
    fit, before = (
        sum(_holds(words_of.get(number - back, ""), word) for word, number in zip(words, numbers, strict=True))
        for back in (0, 1)
    )
    if before > len(words) / 2 > fit:
        wrong = f"{head}s such as {words[0]!r} with {head}_class {numbers[0]} are words of the class before"
        raise InputError(f"{source}: {wrong}; ids count from 0: correct the table, or give the data set's own files")


def _holds(instances: str, word: str) -> bool:
    """Whether a word is in a list of words such as `['take', 'pick-up']`."""
    return re.search(rf"(?<![\w:-]){re.escape(word.strip())}(?![\w:-])", instances) is not None


def _class_names(root: str, head: str, train: pd.DataFrame) -> list[str]:
    for folder in EPIC_FOLDERS:
        source = join(root, f"{folder}EPIC_100_{head}_classes.csv")
        if exists(source):
            table = read_table(source)
            require_columns(table, ["id", "key"], source)
            names = dict(zip(whole_numbers(table["id"], source).tolist(), table["key"], strict=True))
            if sorted(names) != list(range(len(table))):
                raise InputError(
                    f"{source}: ids are not 0 .. {len(table) - 1}, each once; give the data set's own file"
                )
            listed = [names[number] for number in range(len(table))]
            refuse_class_names(listed, source)
            if len(listed) > NUM_CLASSES[head]:
                remedy = f"the labels are those of EPIC_100_{head}_classes.csv with {NUM_CLASSES[head]}; give that file"
                raise InputError(f"{source}: has {len(listed)} classes, perhaps of another version; {remedy}")
            _refuse_shifted_ids(table, head, source, train)
            return listed
    words = train[train[f"{head}_label"] >= 0].groupby(f"{head}_label")[head]
    commonest = words.agg(lambda words: words.mode().iloc[0])
    return [commonest.get(i) or f"{head} {i}" for i in range(NUM_CLASSES[head])]
