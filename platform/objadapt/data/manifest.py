"""The one table that all data sets become: one validated row a clip, with class names and coverage beside it."""

import hashlib
import io
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotations import Listing
from .class_folders import read_class_folders
from .class_lists import read_hmdb51, read_jhmdb, read_ucf101
from .csv_table import read_csv_table
from .diving48 import read_diving48
from .epic_kitchens import read_epic_kitchens
from .fingerprint import fingerprint
from .hold_out import draw, hold_out
from .kinetics import read_kinetics
from .places import CLASSES, SPLITS, TABLE, data_root, join, refuse_unread
from .remote import RemoteError, is_url, read_bytes
from .repeats import Repeat, and_others, repeated
from .seen_twice import files_of, shared_moments, warn_of_clips_seen_twice
from .something_something import read_something_something
from .strict_json import read_json
from .tar_shards import read_shards
from .video_files import refuse_bytes
from .video_list import read_video_list

# key of the table's attrs, which Parquet keeps: `fingerprint` of the whole data set; absent in older manifests
FILES = "files"

SORTED_BY_HAND = "class_folders", "csv"  # the publishers of other data sets answer for their splits

log = logging.getLogger(__name__)

READERS: dict[str, Callable[[Data], Listing]] = {
    "something_something": read_something_something,
    "kinetics": read_kinetics,
    "epic_kitchens": read_epic_kitchens,
    "class_folders": read_class_folders,
    "csv": read_csv_table,
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
    "jhmdb": read_jhmdb,
    "diving48": read_diving48,
    "video_list": read_video_list,
    "shards": read_shards,
}


@dataclass(frozen=True, eq=False)
class Manifest:
    """Clips, class names and coverage of a data set, checked when made. A span may turn out to hold no frame."""

    # clip_id, path (str); start_s, end_s (float64, NaN: open); int64 columns of `classes`; split; attrs: `fingerprint`
    table: pd.DataFrame
    classes: dict[str, list[str]]  # head column -> class names; -1 in the column: no label
    coverage: dict[str, dict[str, int]]  # split -> {"found": videos on disk, "listed": by the annotations}
    flip: bool  # a mirrored clip keeps its class
    whole: "Manifest | None" = None  # the whole data set, where clips were held out or left out
    # what the publisher scores apart, beside all clips (evaluation/unseen_and_tail.py), where it says:
    # {"unseen": split -> participants that no training clip is of, "tail": head -> class ids}
    subsets: dict[str, dict[str, list]] = field(default_factory=dict)

    def __post_init__(self):
        columns = ["clip_id", "path", "start_s", "end_s", *self.classes, "split"]
        missing = [column for column in columns if column not in self.table]
        if missing:
            raise InputError(f"manifest: no column {', '.join(missing)}; build it again")
        table = self.table[columns].reset_index(drop=True)
        _check_cells(table, self.classes)
        table = table.astype({"start_s": "float64", "end_s": "float64"} | {head: "int64" for head in self.classes})
        object.__setattr__(self, "table", table.astype({column: str for column in ("clip_id", "path", "split")}))
        refuse_repeated(table)
        unknown = table.loc[~table["split"].isin(SPLITS), "split"]
        if len(unknown):
            raise InputError(f"manifest: split {unknown.iloc[0]!r} is not one of {', '.join(SPLITS)}")

    @property
    def heads(self) -> dict[str, int]:
        """Label columns and their numbers of classes."""
        return {head: len(names) for head, names in self.classes.items()}

    def content_hash(self) -> str:
        """12 hex digits of clips, spans, labels, splits, class names and files; not of where the files are."""
        return self._content_hash

    @cached_property  # it takes seconds for some hundred thousand clips
    def _content_hash(self) -> str:
        beside = json.dumps([self.classes, self.flip, self.table.attrs.get(FILES)], sort_keys=True)
        return _digest(self.table.drop(columns="path"), beside)

    @cached_property
    def features_hash(self) -> str:
        """12 hex digits of all that the features depend on: ids, spans and splits in this order, and the files."""
        return _digest(self.table[["clip_id", "start_s", "end_s", "split"]], str(self.table.attrs.get(FILES)))

    def write(self, folder: str | os.PathLike) -> None:
        """Write manifest.parquet and classes.json into a folder (or URL); `read` gives an equal manifest back."""
        folder = str(folder)
        beside = {"classes": self.classes, "coverage": self.coverage, "flip": self.flip}
        beside |= {"subsets": self.subsets} if self.subsets else {}
        with fsspec.open(join(folder, TABLE), "wb", auto_mkdir=True) as file:
            self.table.to_parquet(file, index=False)
        with fsspec.open(join(folder, CLASSES), "w", auto_mkdir=True) as file:
            json.dump(beside, file, indent=1)

    @staticmethod
    def read(folder: str | os.PathLike) -> "Manifest":
        """Read a folder that `write` made; InputError where it is not one."""
        folder = str(folder)
        beside = read_json(join(folder, CLASSES))
        _check_beside(beside, join(folder, CLASSES))
        try:
            with io.BytesIO(_content(join(folder, TABLE))) as file:
                begins = file.read(4)
                file.seek(-len(begins), os.SEEK_END)
                if begins == b"PAR1" != file.read():  # what a Parquet file begins and ends with
                    raise InputError(f"{join(folder, TABLE)}: cut off; write or copy it again")
                file.seek(0)
                shown = beside["classes"], beside["coverage"], beside["flip"]
                return Manifest(pd.read_parquet(file), *shown, subsets=beside.get("subsets", {}))
        except InputError:
            raise
        except (OSError, RemoteError, ValueError, KeyError, TypeError) as error:  # pyarrow's errors are ValueErrors
            raise InputError(
                f"{join(folder, TABLE)}: not a manifest ({str(error).splitlines()[0]}); write it again"
            ) from None


def _content(path: str) -> bytes:
    return read_bytes(path) if is_url(path) else Path(path).read_bytes()


def _digest(rows: pd.DataFrame, beside: str) -> str:
    """12 hex digits of a table's values and of a text."""
    content = rows.to_csv(index=False, float_format="%.6f") + beside
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _check_beside(beside: object, source: str) -> None:
    """InputError where the JSON beside the table is not as `Manifest.write` writes it."""
    try:
        classes, coverage, flip = beside["classes"], beside["coverage"], beside["flip"]
        right = all(isinstance(name, str) for names in classes.values() for name in names) and isinstance(flip, bool)
        right = right and not classes.keys() & {"clip_id", "path", "start_s", "end_s", "split"}
        right = right and all({"found", "listed"} <= counts.keys() for counts in coverage.values())
        right = right and all(type(number) is int for counts in coverage.values() for number in counts.values())
        right = right and bool(classes) and all(isinstance(names, list) for names in classes.values())
        subsets = beside.get("subsets", {}).values()
        right = right and all(isinstance(one, list) for lists in subsets for one in lists.values())
    except (TypeError, KeyError, AttributeError):
        right = False
    if not right:
        raise InputError(f"{source}: must hold classes, coverage and flip as a manifest's does; write it again")


def build_manifest(data: Data, seed: int) -> Manifest:
    """Read the annotations that the config names. Listed clips without a video are left out and counted.

    Args:
        seed: draws the share `data.fraction` of the training clips, the same share of every class. Which clips
            `data.holdout` takes away before that does not depend on the seed.

    Raises:
        InputError: missing or unreadable files, wrong columns, unknown classes, repeated clips, no video at all.
    """
    if data.format == "manifest":
        refuse_unread(data)
        manifest = Manifest.read(data_root(data))
        table, classes, coverage, flip = manifest.table, manifest.classes, manifest.coverage, manifest.flip
        subsets = manifest.subsets
    else:
        listing = READERS[data.format](data)
        refuse_bytes(listing.rows["path"].dropna())
        table, classes, flip, subsets = listing.rows, listing.classes, listing.flip, listing.subsets
        for column in {"start_s", "end_s"} - set(table):
            table[column] = np.nan
        refuse_repeated(table)  # also among clips without a video
        coverage = _coverage(table)
        listed, table = table, table[table["path"].notna()]
        if table.empty:
            example = f", such as {listed['clip_id'].iloc[0]!r}," if len(listed) else ""
            missing = f"none of the {len(listed)} listed videos{example} is there"
            raise InputError(f"data.root: {missing} ({data_root(data)}); set data.videos to their folder")
    _look_at_spans(table)
    files = files_of(table["path"], copies=data.format in SORTED_BY_HAND)
    warn_of_clips_seen_twice(table, files)
    table.attrs[FILES] = fingerprint(table["path"])  # all parts of a data set share it, and so share a cache
    whole = Manifest(table, classes, coverage, flip, subsets=subsets)
    if data.holdout == 0 and data.fraction == 1:
        return whole
    if data.holdout > 0:
        table = hold_out(table, next(iter(classes)), data.holdout, shared_moments(table, files))
    if data.fraction < 1:
        table = draw(table, next(iter(classes)), data.fraction, seed)
    return Manifest(table, classes, coverage, flip, whole, subsets)


def _check_cells(table: pd.DataFrame, classes: dict[str, list[str]]) -> None:
    """InputError for a row without id, path or split, or a label that is no whole number or beyond the classes."""
    for column in ("clip_id", "path", "split"):
        empty = table[column].isna() | (table[column].astype(str) == "")
        if empty.any():
            raise InputError(f"manifest: row {int(empty.to_numpy().argmax()) + 1} has no {column}; build it again")
    for head, names in classes.items():
        if len(table) and (kind := pd.api.types.infer_dtype(table[head], skipna=False)) != "integer":
            raise InputError(f"manifest: column {head} holds {kind}, no whole numbers; build it again")
        wrong = table[(table[head] < -1) | (table[head] >= len(names))] if len(table) else table
        if len(wrong):
            row = wrong.iloc[0]
            raise InputError(
                f"manifest: clip {row['clip_id']!r} has {head} {row[head]}, beyond the {len(names)} classes"
            )


def _look_at_spans(table: pd.DataFrame) -> None:
    """Warn of clips without length, which will be quarantined. InputError where no training clip has a length."""
    empty = table[table["end_s"] <= table["start_s"]]
    if empty.empty:
        return
    row = empty.iloc[0]
    example = f"clip {row['clip_id']!r} ends at {row['end_s']} s, its start is {row['start_s']} s"
    if (empty["split"] == "train").sum() == (table["split"] == "train").sum():
        raise InputError(f"manifest: {example}, and so with every training clip; correct the times")
    log.warning("%d of %d clips have no length and will be quarantined: %s", len(empty), len(table), example)


def refuse_repeated(table: pd.DataFrame) -> None:
    """`repeated` of the clips that several rows have."""
    clips = table.loc[table["clip_id"].duplicated(), "clip_id"]
    if len(clips):
        splits = ", ".join(table.loc[table["clip_id"] == clips.iloc[0], "split"])
        wrong = f"clip {clips.iloc[0]!r} is listed more than once ({splits}){and_others(clips)}"
        repeated(Repeat(f"manifest: {wrong}; list each clip once", list(dict.fromkeys(clips))))


def _coverage(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    return {
        split: {"found": int(rows["path"].notna().sum()), "listed": len(rows)}
        for split in SPLITS
        if len(rows := table[table["split"] == split])
    }
