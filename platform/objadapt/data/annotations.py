"""What all annotation readers share: finding files, reading tables, matching labels and videos."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import fsspec
import numpy as np
import pandas as pd

from ..config import Data
from ..errors import InputError
from ..passwords import has_password, redact
from .containers import is_video_name


@dataclass(frozen=True)
class Listing:
    """What an annotation format lists, with the videos that are there."""

    rows: pd.DataFrame  # clip_id, path (None: listed, but no such video), split, one int column a head; start_s, end_s optional
    classes: dict[str, list[str]]  # head column -> class names; a label is a position in it
    flip: bool  # a mirrored clip is still of its class


def data_root(data: Data) -> str:
    """`data.root` as an absolute path or URL; InputError where it is not set or no folder."""
    if not data.root:
        raise InputError("data.root: not set; give the folder (or URL) that holds annotations and videos")
    if "://" in data.root:
        refuse_password(data.root, "data.root")
        return data.root.rstrip("/")
    root = os.path.abspath(os.path.expanduser(data.root))
    if not os.path.isdir(root):
        raise InputError(f"data.root: no folder {root}; give the folder that holds annotations and videos")
    return root


def join(root: str, name: str) -> str:
    """A path or URL below `root`; absolute ones and URLs stay as they are."""
    return name if "://" in name or os.path.isabs(name) else f"{root}/{name}"


def exists(path: str) -> bool:
    """True where there is such a file or folder, local or remote."""
    if "://" not in path:
        return os.path.exists(path)
    try:
        filesystem, remote = fsspec.core.url_to_fs(path)
        return filesystem.exists(remote)
    except (OSError, ImportError, ValueError) as error:  # no such protocol, its package is not installed, no such host
        raise InputError(f"{path}: {' '.join(str(error).split())}; give a path or URL that fsspec can open here") from None


def find(root: str, given: str | None, defaults: tuple[str, ...], field: str) -> str:
    """The file or folder that config field `data.<field>` names, or the first of the format's own names that exists."""
    refuse_password(given or "", f"data.{field}")
    for name in (given,) if given else defaults:
        if exists(join(root, name)):
            return join(root, name)
    tried = given or ", ".join(defaults)
    raise InputError(f"data.{field}: no {tried} in {root}; set data.{field} to the path of the file, relative to data.root")


def videos_folder(data: Data, root: str, *defaults: str) -> str:
    """Folder of the videos: `data.videos`, else the first of the format's own names, else the root itself."""
    if data.videos:
        return find(root, data.videos, (), "videos")
    return next((join(root, name) for name in defaults if exists(join(root, name))), root)


def list_videos(folder: str) -> list[str]:
    """Paths or URLs of all video files below a folder, sorted; each begins with `folder/`."""
    if "://" in folder:
        filesystem, remote = fsspec.core.url_to_fs(folder)
        found = [f"{folder}/{name.removeprefix(remote).lstrip('/')}" for name in filesystem.find(remote)]
    else:
        found = [os.path.join(place, name) for place, names in _walk(folder) for name in names]
    return sorted(path for path in found if is_video_name(path))


def _walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """(folder, names of its files) of all folders below one; links are followed, save those that lead back up."""
    above = {folder: {os.path.realpath(folder)}}
    for place, folders, names in os.walk(folder, followlinks=True):
        passed = above.pop(place)
        real = {name: os.path.realpath(os.path.join(place, name)) for name in folders}
        folders[:] = [name for name in folders if real[name] not in passed]
        above |= {os.path.join(place, name): passed | {real[name]} for name in folders}
        yield place, names


def stem(path: str) -> str:
    """File name without folder and suffix."""
    return PurePosixPath(path).stem


def refuse_traversal(name: str, source: str) -> None:
    """A listed name must not lead out of the data folder."""
    if ".." in PurePosixPath(name.replace("\\", "/")).parts:
        raise InputError(f"{source}: {name!r} leads out of the data folder; list paths below data.root")


def refuse_paths(ids: Iterable[str], source: str) -> None:
    """A publisher's ids are names of files: what would name another folder was put there by somebody else."""
    for name in ids:
        if name in (".", "..") or name.startswith("~") or set(name) & set("/\\\0"):
            raise InputError(f"{source}: id {name!r} is a path; ids name a video and no folder: use the publisher's own file")


def refuse_password(url: str, source: str) -> None:
    """Paths are written into manifests, configs and MLflow: a URL with a password in it must not be among them."""
    if has_password(url):
        raise InputError(f"{source}: {redact(url)} holds a password; leave it out and give it by the environment")


def read_table(path: str, separator: str | None = None, header: int | None = 0) -> pd.DataFrame:
    """A CSV or TSV file, every cell a string, empty cells ''; tells the two apart by the header line."""
    try:
        with fsspec.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = separator or ("\t" if "\t" in first else ",")
            return pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False, header=header)
    except (OSError, ImportError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}; give an existing file") from None
    except ValueError as error:  # pandas' parser errors and UnicodeDecodeError among them
        raise InputError(f"{path}: not a readable CSV file ({' '.join(str(error).split())})") from None


def read_json(path: str) -> object:
    """A JSON file."""
    try:
        with fsspec.open(path, "rt", encoding="utf-8-sig") as file:
            return json.load(file)
    except (OSError, ImportError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}; give an existing file") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); download it again") from None


def require_columns(table: pd.DataFrame, columns: list[str], source: str) -> None:
    """InputError naming what is missing and what there is."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"{source}: no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")


def numbers(column: pd.Series, source: str) -> np.ndarray:
    """float64 of a column of strings, '' -> NaN."""
    values = pd.to_numeric(column.replace("", np.nan), errors="coerce")
    wrong = column[values.isna() & (column != "")]
    if len(wrong):
        raise InputError(f"{source}: {column.name} {wrong.iloc[0]!r} is not a number; correct that row")
    return values.to_numpy(dtype=np.float64)


def sorted_classes(labels: pd.Series) -> list[str]:
    """Class names in the order of their ids: sorted; as numbers where all of them are."""
    names = sorted(set(labels) - {""})
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else names


def class_ids(labels: pd.Series, classes: list[str], source: str) -> np.ndarray:
    """int64 positions of labels among the classes; '' -> -1 (no label)."""
    position = {name: i for i, name in enumerate(classes)} | {"": -1}
    unknown = labels[~labels.isin(list(position))]
    if len(unknown):
        name = unknown.iloc[0]
        raise InputError(f"{source}: class {name!r} is not among the {len(classes)} training classes; correct or remove it")
    return labels.map(position).to_numpy(dtype=np.int64)
