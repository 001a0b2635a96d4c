"""Any CSV or TSV with a path and a label a row; the columns are named in the config."""

import os

import numpy as np
import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotations import (
    Listing,
    class_ids,
    data_root,
    find,
    join,
    numbers,
    read_table,
    refuse_password,
    refuse_traversal,
    require_columns,
    sorted_classes,
    videos_folder,
)

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_csv_table(data: Data) -> Listing:
    """One file with a split column (`data.train`), or one for training and one for validation (`data.val`).

    Optional columns: clip_id (default: the path), start_s and end_s (seconds). An empty label, or
    `data.label_column: ""`, means no label. Whether a mirrored clip keeps its class is unknown: flipping is off
    unless `transform.flip` says otherwise.
    """
    root = data_root(data)
    videos = videos_folder(data, root)
    sources = {"train": find(root, data.train, ("labels.csv", "labels.tsv"), "train")}
    if data.val:
        sources["val"] = find(root, data.val, (), "val")
    tables = {role: _rows(data, videos, source, role) for role, source in sources.items()}
    rows = pd.concat(list(tables.values()), ignore_index=True)
    classes = sorted_classes(rows.loc[rows["split"] == "train", "label"])
    rows["label"] = class_ids(rows["label"], classes, ", ".join(sources.values()))
    return Listing(rows, {"label": classes}, flip=False)


def _rows(data: Data, videos: str, source: str, role: str) -> pd.DataFrame:
    table = read_table(source)
    wanted = [data.path_column, data.label_column, "" if data.val else data.split_column]
    require_columns(table, [column for column in wanted if column], source)
    rows = pd.DataFrame({"path": [_locate(name, videos, source) for name in table[data.path_column]]}, dtype=object)
    rows["label"] = table[data.label_column].str.strip() if data.label_column else ""
    rows["split"] = _splits(table[data.split_column], source) if data.split_column in table else role
    for column in ("start_s", "end_s"):
        rows[column] = numbers(table[column], source) if column in table else np.nan
    rows["clip_id"] = table["clip_id"] if "clip_id" in table else table[data.path_column].str.removeprefix(f"{videos}/")
    return rows


def _locate(name: str, videos: str, source: str) -> str | None:
    """Path or URL of a listed video; None where a local one does not exist (remote ones are believed).

    Names are relative to the videos' folder, or begin with that folder's own name.
    """
    refuse_traversal(name, source)
    refuse_password(name, source)
    if not name:
        raise InputError(f"{source}: a row without a path; fill in or remove it")
    path = join(videos, name)
    if "://" not in path and not os.path.isfile(path) and name.startswith(f"{os.path.basename(videos)}/"):
        path = join(os.path.dirname(videos), name)
    return path if "://" in path or os.path.isfile(path) else None


def _splits(column: pd.Series, source: str) -> pd.Series:
    unknown = column[~column.str.lower().isin(list(SPLITS))]
    if len(unknown):
        raise InputError(f"{source}: {column.name} {unknown.iloc[0]!r} is not train, val or test; correct that row")
    return column.str.lower().map(SPLITS)
