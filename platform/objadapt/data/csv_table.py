"""Any CSV or TSV with a path and a label (or a verb and a noun) in each row; the config names the columns."""

import logging
import re
from collections.abc import Collection

import numpy as np
import pandas as pd

from ..config import Data
from ..errors import InputError
from ..passwords import redact
from .annotation_file import numbers, read_table, refuse, refuse_repeated_rows, require_columns
from .annotations import (
    SPLITS,
    Listing,
    class_ids,
    sorted_classes,
    split_names,
)
from .csv_header import NAMED, wanted_columns
from .listed_paths import locate
from .places import data_files, data_root, videos_folder
from .remote import is_http

STARTS = {"start", "starts", "begin", "begins", "beginning", "onset", "from", "tstart"}  # words in a column's name
ENDS = {"end", "ends", "stop", "stops", "finish", "offset", "until", "tend"}
TIMES = r"\s*-?[\d.,:]*\s*"  # cells that may be seconds, frames, or minutes and seconds
OPTIONAL = "clip_id", "start_s", "end_s"
SPLIT_WORDS = {"split", "splits", "subset", "partition", "set", "fold", "phase", "usage"}

log = logging.getLogger(__name__)


def read_csv_table(data: Data) -> Listing:
    """One file with a split column (`data.train`), or one for training and one for validation (`data.val`).

    Optional columns are clip_id (default: the path), start_s and end_s (seconds). A span without a frame is
    quarantined when it is read. An empty label, or `data.label_column: ""`, means no label. Of two label columns the
    first is the verb's, the second the noun's. Whether a mirrored clip keeps its class is unknown, so flipping is off
    unless `transform.flip` is set.
    """
    videos, sources = videos_folder(data, data_root(data)), data_files(data)
    tables = {role: _rows(data, videos, source, role) for role, source in sources.items()}
    classes = {}
    for head in data.label_columns:
        classes[head] = sorted_classes(
            pd.concat([rows.loc[rows["split"] == "train", head] for rows in tables.values()])
        )
        for role, rows in tables.items():
            rows[head] = class_ids(rows[head], classes[head], sources[role])
    return Listing(pd.concat(list(tables.values()), ignore_index=True), classes, flip=False)


def _rows(data: Data, videos: str, source: str, role: str) -> pd.DataFrame:
    labels = data.label_columns
    if not data.path_column:
        raise InputError("data.path_column: is empty; name the column of the video files")
    table = read_table(source, labels=[data.split_column, *labels.values()])
    wanted = wanted_columns(data)
    require_columns(table, wanted, source, NAMED)
    others = [name for name in table.columns if name not in {*wanted, data.split_column, *OPTIONAL}]
    if data.split_column not in table:
        _refuse_other_splits(table[others], role, source)
    _warn_of_misnamed(table[others], table.columns, source)
    rows = pd.DataFrame({"path": locate(table[data.path_column], videos, source)}, index=table.index, dtype=object)
    for head, column in labels.items():
        rows[head] = table[column].str.strip() if column else ""
    rows["split"] = role
    if data.split_column in table:
        refuse(
            table[data.split_column],
            table[data.split_column].str.strip() == "",
            source,
            "is not train, val or test; correct that row",
        )
        rows["split"] = split_names(table[data.split_column], source)
        learned = "is trained on, and data.val is judged on; correct that row, or leave the column out"
        refuse(table[data.split_column], (rows["split"] == "train") & (role == "val"), source, learned)
    for column, never in (("start_s", np.inf), ("end_s", -np.inf)):
        rows[column] = _seconds(table[column], source, never) if column in table else np.nan
    if "clip_id" in table:
        table["clip_id"] = table["clip_id"].str.strip()
        refuse(table["clip_id"], table["clip_id"] == "", source, "is empty; every row needs one")
        rows["clip_id"] = table["clip_id"]
    else:  # a signature in a URL is a secret, and no part of a name
        names = table[data.path_column].str.removeprefix(f"{videos}/")
        rows["clip_id"] = names.map(lambda name: redact(name) if is_http(name) else name)
        remedy = "list it once, or tell its rows apart by a column clip_id"
        refuse_repeated_rows(rows["clip_id"].rename(data.path_column), rows["clip_id"], source, remedy)
    return rows


def _refuse_other_splits(others: pd.DataFrame, role: str, source: str) -> None:
    """InputError for a column that is not read and says that clips are of another split than the file."""
    for name in others.columns:
        said = set(others[name].str.strip().str.lower()) - {""}
        if _words(name) & SPLIT_WORDS and said and said <= SPLITS.keys() and {SPLITS[one] for one in said} != {role}:
            wrong = f"column {name} says {', '.join(sorted(said))}, and is not read: all rows would be {role}"
            raise InputError(f"{source}: {wrong}; give data.split_column={name}, or remove that column")


def _warn_of_misnamed(others: pd.DataFrame, columns: Collection[str], source: str) -> None:
    """Warn of columns that are meant as an optional one, and not read since they have another name."""
    for name in others.columns:
        words, letters = _words(name), re.sub(r"[\W_]", "", name.lower())
        times = others[name].str.fullmatch(TIMES).all()
        if letters == "clipid":
            meant = "clip_id"
        elif times and (words & STARTS or letters.startswith("start")):
            meant = "start_s"
        elif times and (words & ENDS or letters.startswith("end")):
            meant = "end_s"
        else:
            continue
        if meant not in columns:
            unit = "" if meant == "clip_id" else ", in seconds"
            log.warning("%s: column %s is not read; is it %s%s?", source, name, meant, unit)


def _words(name: str) -> set[str]:
    """`startFrame`, `start_frame` -> start, frame."""
    return {word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)}


def _seconds(column: pd.Series, source: str, never: float) -> np.ndarray:
    """float64 seconds.

    An empty cell is an open end (NaN). The word NaN, or a start at infinity, is `never`, without frames.
    """
    nan = (column.str.lower() == "nan").to_numpy()
    values = numbers(column.mask(nan, ""), source)
    return np.where(nan | (np.isinf(values) & (never > 0)), never, values)
