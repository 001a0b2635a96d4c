"""Any CSV or TSV with a path and a label (or a verb and a noun) in each row; the config names the columns."""

import os

import numpy as np
import pandas as pd

from ..config import Data
from .annotation_file import numbers, read_table, refuse, require_columns
from .annotations import (
    Listing,
    class_ids,
    sorted_classes,
    split_names,
)
from .places import data_files, data_root, join, leads_out, refuse_password, videos_folder
from .video_files import is_hidden


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
    table = read_table(source, labels=[data.split_column, *labels.values()])
    wanted = [data.path_column, *labels.values(), "" if data.val else data.split_column]
    require_columns(table, [column for column in wanted if column], source)
    rows = pd.DataFrame({"path": _locate(table[data.path_column], videos, source)}, index=table.index, dtype=object)
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
    for column, never in (("start_s", np.inf), ("end_s", -np.inf)):
        rows[column] = _seconds(table[column], source, never) if column in table else np.nan
    if "clip_id" in table:
        refuse(table["clip_id"], table["clip_id"] == "", source, "is empty; every row needs one")
    else:
        again = "is listed more than once; list it once, or tell its rows apart by a column clip_id"
        refuse(table[data.path_column], table[data.path_column].duplicated(), source, again)
    rows["clip_id"] = table["clip_id"] if "clip_id" in table else table[data.path_column].str.removeprefix(f"{videos}/")
    return rows


def _seconds(column: pd.Series, source: str, never: float) -> np.ndarray:
    """float64 seconds.

    An empty cell is an open end (NaN). The word NaN, or a start at infinity, is `never`, without frames.
    """
    nan = (column.str.lower() == "nan").to_numpy()
    values = numbers(column.mask(nan, ""), source)
    return np.where(nan | (np.isinf(values) & (never > 0)), never, values)


def _locate(names: pd.Series, videos: str, source: str) -> list[str | None]:
    """Path or URL of each listed video; None where a local file does not exist. Remote files are not checked.

    Names are relative to the videos' folder, or begin with that folder's own name. Each folder is listed once.
    """
    refuse(names, names.str.strip() == "", source, "is empty: a row without a path; fill in or remove it")
    refuse(names, names.map(leads_out), source, "leads out of the data folder; list paths below data.root")
    refuse(names, names.str.contains("\0", regex=False), source, "holds a NUL byte; correct that row")
    relative = ~names.map(lambda name: "://" in name or os.path.isabs(name)).astype(bool)
    refuse(
        names,
        relative & names.map(is_hidden),
        source,
        "is what a system or an editor leaves behind, no video; remove the row",
    )
    folders, own = _Folders(), f"{os.path.basename(videos)}/"
    paths = []
    for name in names:
        refuse_password(name, source)
        candidates = []
        for spelling in dict.fromkeys((name, name.strip())):  # spaces beside a separator are hardly ever a file's
            candidates.append(join(videos, spelling))
            if spelling.startswith(own):
                candidates.append(join(os.path.dirname(videos), spelling))
        paths.append(next((path for path in candidates if "://" in path or folders.hold(path)), None))
    return paths


class _Folders:
    """Which files exist, listed folder by folder: a question for every row is slow on a network's disk."""

    def __init__(self):
        self._names: dict[str, tuple[set[str], set[str]]] = {}

    def hold(self, path: str) -> bool:
        """Whether `path` is a file. Where only the case of letters differs, the file system decides."""
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            try:
                with os.scandir(folder or "/") as entries:
                    files = {entry.name for entry in entries if entry.is_file()}
            except (OSError, ValueError):  # no such folder, a NUL in its name
                files = set()
            self._names[folder] = files, {file.casefold() for file in files}
        exact, folded = self._names[folder]
        return name in exact or (name.casefold() in folded and os.path.isfile(path))
