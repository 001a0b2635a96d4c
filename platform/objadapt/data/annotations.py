"""What all annotation readers share: allowed names, class names and ids (places.py: their files)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .annotation_file import refuse
from .places import is_path

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Listing:
    """What an annotation format lists, with the videos that are there."""

    # clip_id, path (None: the video is missing), split, one int column a head; start_s and end_s are optional
    rows: pd.DataFrame
    classes: dict[str, list[str]]  # head column -> class names; a label is a position in it
    flip: bool  # a mirrored clip keeps its class


def refuse_paths(ids: pd.Series, source: str) -> None:
    """InputError for an id of a table that is empty or a path."""
    refuse(ids, ids == "", source, "is empty; every row needs one")
    refuse(ids, ids.map(is_path), source, "is a path; ids name a video and no folder: use the publisher's own file")


def sorted_classes(labels: pd.Series) -> list[str]:
    """Class names in the order of their ids: sorted, as numbers where all of them are numbers."""
    names = sorted(set(labels) - {""})
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else names


def class_ids(labels: pd.Series, classes: list[str], source: str) -> np.ndarray:
    """int64 positions of labels among the classes, '' -> -1 (no label).

    The index of `labels` is the line in `source`.
    """
    position = {name: i for i, name in enumerate(classes)} | {"": -1}
    unknown = f"is not among the {len(classes)} training classes; correct or remove it"
    refuse(labels.rename("class"), ~labels.isin(list(position)), source, unknown)
    return labels.map(position).to_numpy(dtype=np.int64)


def split_names(column: pd.Series, source: str) -> pd.Series:
    """A file's own names of the splits -> "train", "val" or "test"; '' stays."""
    lower = column.str.strip().str.lower()
    refuse(column, ~lower.isin([*SPLITS, ""]), source, "is not train, val or test; correct that row")
    return lower.map(SPLITS | {"": ""})
