"""What all annotation readers share: allowed names, class names and ids (places.py: their files)."""

import json
import logging
import re
import unicodedata
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pandas as pd

from ..errors import InputError
from .annotation_file import refuse
from .places import is_path
from .strict_json import read_json

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


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """What an annotation format lists, with the videos that are there."""

    # clip_id, path (None: the video is missing), split, one int column a head; start_s and end_s are optional
    rows: pd.DataFrame
    classes: dict[str, list[str]]  # head column -> class names; a label is a position in it
    flip: bool  # a mirrored clip keeps its class
    subsets: dict[str, dict[str, list]] = field(default_factory=dict)  # as of `Manifest`


def refuse_paths(ids: pd.Series, source: str) -> None:
    """InputError for an id of a table that is empty or a path."""
    refuse(ids, ids.str.strip() == "", source, "is empty; every row needs one")
    refuse(ids, ids.map(is_path), source, "is a path; ids name a video and no folder: use the publisher's own file")


def sorted_classes(labels: pd.Series) -> list[str]:
    """Class names in the order of their ids: sorted, as numbers where all of them are numbers."""
    names = sorted(set(labels) - {""})
    warn_of_lookalikes(names)
    if not all(re.fullmatch("-?[0-9]+", name) for name in names):
        return names
    if below := [name for name in names if name.startswith("-")]:
        log.warning(
            "the label %s is a class like the other numbers; a clip without a class has an empty label", below[0]
        )
    return sorted(names, key=int)


def refuse_class_names(names: list[str], source: str) -> None:
    """InputError for a list of class names, in the order of their ids, with an empty one or one twice."""
    for number, name in enumerate(names):
        first = names.index(name)
        if not name.strip() or first < number:
            wrong = f"has the name {name!r} of class {first}" if name.strip() else "has no name"
            raise InputError(f"{source}: class {number} {wrong}; give the data set's own file")


def warn_of_lookalikes(names: list[str]) -> None:
    """Warn of classes whose names differ in case, spaces, signs that nobody sees or the writing of an accent alone,
    or are one number: 1, 01, 1.0.
    """
    seen: dict[str, str] = {}
    for name in names:
        plain = "".join(one for one in unicodedata.normalize("NFKC", name).casefold() if one.isprintable())
        plain = " ".join(plain.replace("_", " ").split())
        plain = str(Decimal(plain).normalize()) if re.fullmatch(r"[+-]?[0-9]{1,20}(\.[0-9]*)?", plain) else plain
        if plain in seen:
            log.warning("classes %r and %r look alike: are they one, written in two ways?", seen[plain], name)
        seen.setdefault(plain, name)


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


def json_clips(source: str, keys: dict[str, tuple[type, ...]]) -> list[dict]:
    """A JSON list of clips.

    Args:
        keys: what each clip holds, the clip's own id first, and the types that it may have.

    Raises:
        InputError: no such list; names the clip that lacks a key, or has a wrong one.
    """
    content = read_json(source)
    if not isinstance(content, list):
        raise InputError(f"{source}: must be a list of clips; give the data set's own file")
    own_id = next(iter(keys))
    for number, entry in enumerate(content):
        if not isinstance(entry, dict) or any(key not in entry for key in keys):
            raise InputError(f"{source}: clip {number} lacks {' or '.join(keys)}; give the data set's own file")
        wrong = [key for key, types in keys.items() if type(entry[key]) not in types or entry[key] == ""]
        if wrong:
            kind = "text" if str in keys[wrong[0]] else "a whole number"
            shown = json.dumps(entry[wrong[0]])[:40]
            raise InputError(
                f"{source}: clip {number} has {wrong[0]} {shown}, which is not {kind}; give the data set's own file"
            )
        if is_path(str(entry[own_id])):
            named = f"clip {number}: {own_id} {entry[own_id]!r} is a path"
            raise InputError(f"{source}: {named}; ids name a video and no folder: use the publisher's own file")
    return content
