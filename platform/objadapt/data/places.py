"""Where the files of a data set lie: its root, each format's own names, and what may not be a path.

Nothing here reads a table, so a wrong place is told before anything heavy is loaded.
"""

import os
from pathlib import PurePosixPath

import fsspec

from ..config import Data
from ..errors import InputError
from ..passwords import has_password, redact

SPLITS = ("train", "val", "test")
TABLE, CLASSES = "manifest.parquet", "classes.json"  # of a manifest's folder
OFFICIAL = "something-something-v2-"
EPIC_FOLDERS = ("", "annotations/", "epic-kitchens-100-annotations/")


def something_names(name: str) -> tuple[str, ...]:
    """Where copies of Something-Something keep a file."""
    return name, f"labels/{name}", f"{OFFICIAL}{name}", f"labels/{OFFICIAL}{name}", f"annotations/{name}"


# format -> field of `data` -> the format's own names, of which the first that exists is taken
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "something_something": {
        "labels": something_names("labels.json"),
        "train": something_names("train.json"),
        "val": something_names("validation.json"),
    },
    "kinetics": {
        "train": ("train.csv", "kinetics_train.csv", "annotations/train.csv", "annotations/kinetics_train.csv"),
        "val": ("val.csv", "validate.csv", "kinetics_val.csv", "annotations/val.csv", "annotations/kinetics_val.csv"),
    },
    "epic_kitchens": {
        "train": tuple(f"{folder}EPIC_100_train.csv" for folder in EPIC_FOLDERS),
        "val": tuple(f"{folder}EPIC_100_validation.csv" for folder in EPIC_FOLDERS),
    },
    "class_folders": {"train": ("train",), "val": ("val", "validation")},
    "csv": {"train": ("labels.csv", "labels.tsv"), "val": ()},
    "manifest": {},
}


def data_files(data: Data) -> dict[str, str]:
    """Field of `data` -> path or URL of the file or folder that is read for it, where there is one.

    Raises:
        InputError: no root, or one of them is not there; names the field.
    """
    root = data_root(data)
    if data.videos:
        find(root, data.videos, (), "videos")
    wanted = dict(NAMES[data.format])
    if data.format == "csv" and not data.val:
        del wanted["val"]
    if data.format == "class_folders":
        _check_folders(data, root, wanted)
    files = {field: find(root, getattr(data, field), names, field) for field, names in wanted.items()}
    if "val" in files and os.path.realpath(files["val"]) == os.path.realpath(files["train"]):
        remedy = "give other clips, or leave data.val out and hold some out by data.holdout=0.2"
        raise InputError(
            f"data.val: {files['val']} is data.train, too: a model is not judged on what it learned; {remedy}"
        )
    if data.format == "class_folders" and exists(test := join(root, "test")) and test not in files.values():
        files["test"] = test
    return files


def _check_folders(data: Data, root: str, wanted: dict[str, tuple[str, ...]]) -> None:
    """Say what to do where class folders have no split; the folder of validation clips is not wanted where there is
    none and training clips are held out in their place.
    """
    if not data.train and not exists(join(root, "train")):
        remedy = "sort the classes into train/<class> and val/<class>, or use format csv"
        if not exists(join(root, "val")):
            remedy += "; where the class folders lie right in it: data.train=. data.holdout=0.2"
        raise InputError(f"data.root: no train folder in {root}; {remedy}")
    if data.val or any(exists(join(root, name)) for name in wanted["val"]):
        return
    if data.holdout:
        del wanted["val"]
        return
    instead = "data.holdout=0.2 to validate on a fifth of the training clips"
    if exists(join(root, "test")):
        instead = f"data.val=test to validate on the test folder that is there, or {instead}"
    raise InputError(f"data.val: no {' or '.join(wanted['val'])} folder in {root}; give one, or {instead}")


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


def refuse_password(url: str, source: str) -> None:
    """InputError for a URL with a password, since paths are written into manifests, configs and MLflow."""
    if has_password(url):
        raise InputError(f"{source}: {redact(url)} holds a password; leave it out and give it by the environment")
