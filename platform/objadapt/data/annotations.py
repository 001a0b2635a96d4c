"""What all annotation readers share: paths, allowed names, class names and ids."""

import os
from dataclasses import dataclass
from pathlib import PurePosixPath

import fsspec
import numpy as np
import pandas as pd

from ..config import Data
from ..errors import InputError
from ..passwords import has_password, redact
from .annotation_file import refuse

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


def data_root(data: Data) -> str:
    """`data.root` as an absolute path or URL; InputError where it is not set or no folder."""
    if not data.root:
        raise InputError("data.root: not set; give the folder (or URL) that holds annotations and videos")
    if "://" in data.root:
        refuse_password(data.root, "data.root")
        return data.root.rstrip("/")
    root = os.path.abspath(data.root)
    if not os.path.isdir(root):
        raise InputError(f"data.root: no folder {root}; give the folder that holds annotations and videos")
    return root


def join(root: str, name: str) -> str:
    """A path or URL below `root`; absolute ones and URLs stay as they are."""
    return name if "://" in name or os.path.isabs(name) else f"{root}/{name}"


def exists(path: str) -> bool:
    """Whether a file or folder exists, local or remote."""
    if "://" not in path:
        return os.path.exists(path)
    try:
        filesystem, remote = fsspec.core.url_to_fs(path)
        return filesystem.exists(remote)
    except (OSError, ImportError, ValueError) as error:  # no such protocol, its package is not installed, no such host
        raise InputError(
            f"{path}: {' '.join(str(error).split())}; give a path or URL that fsspec can open here"
        ) from None


def find(root: str, given: str | None, defaults: tuple[str, ...], field: str) -> str:
    """The file or folder that `data.<field>` names, else the first of the format's own names that exists."""
    refuse_password(given or "", f"data.{field}")
    for name in (given.rstrip("/") or "/",) if given else defaults:
        if exists(join(root, name)):
            return join(root, name)
    tried = given or ", ".join(defaults)
    raise InputError(
        f"data.{field}: no {tried} in {root}; set data.{field} to the path of the file, relative to data.root"
    )


def videos_folder(data: Data, root: str, *defaults: str) -> str:
    """Folder of the videos: `data.videos`, else the first of the format's own names, else the root itself."""
    if data.videos:
        return find(root, data.videos, (), "videos")
    return next((join(root, name) for name in defaults if exists(join(root, name))), root)


def leads_out(name: str) -> bool:
    """Whether a listed name leads out of the folder that it is relative to."""
    return ".." in name and ".." in PurePosixPath(name.replace("\\", "/")).parts


def is_path(name: str) -> bool:
    """Whether an id would name another folder.

    A publisher's ids are names of files, so somebody else has changed it.
    """
    return name in (".", "..") or name.startswith("~") or not set(name).isdisjoint("/\\\0")


def refuse_paths(ids: pd.Series, source: str) -> None:
    """InputError for an id of a table that is empty or a path."""
    refuse(ids, ids == "", source, "is empty; every row needs one")
    refuse(ids, ids.map(is_path), source, "is a path; ids name a video and no folder: use the publisher's own file")


def refuse_password(url: str, source: str) -> None:
    """InputError for a URL with a password, since paths are written into manifests, configs and MLflow."""
    if has_password(url):
        raise InputError(f"{source}: {redact(url)} holds a password; leave it out and give it by the environment")


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
