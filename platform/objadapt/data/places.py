"""Where the files of a data set lie: its root, each format's own names, and what may not be a path.

Nothing here reads a table, so a wrong place is told before anything heavy is loaded.
"""

import os
import re
from pathlib import PurePosixPath

from ..config import Data
from ..errors import InputError
from ..passwords import has_password, redact
from . import remote
from .remote import RemoteError, is_url, url_below
from .shard_names import SUFFIX, expand

SPLITS = ("train", "val", "test")
TABLE, CLASSES = "manifest.parquet", "classes.json"  # of a manifest's folder
OFFICIAL = "something-something-v2-"
FEW = 6  # names, at the most, in a message
FAMILIES = ("diving48", "kinetics", "video_list")  # formats whose lists are called in many ways
SORTED = ("class_folders", "shards")  # formats with a folder a split
EPIC_FOLDERS = ("", "annotations/", "epic-kitchens-100-annotations/")
UCF_FOLDERS = ("", "ucfTrainTestlist/", "ucf101_splits/", "annotations/", "splits/")
DIVING_FOLDERS = ("", "annotations/", "Diving48/")
SPLIT_FOLDERS = ("testTrainMulti_7030_splits", "test_train_splits/testTrainMulti_7030_splits", "test_train_splits")


def kinetics_names(*splits: str) -> tuple[str, ...]:
    """What Kinetics' publishers and their tools call the file of a split."""
    names = [name for split in splits for name in (f"{split}.csv", f"kinetics_{split}.csv")]
    names += [f"kinetics{dash}{size}_{split}.csv" for split in splits for dash in ("", "-") for size in (400, 600, 700)]
    names += [f"kinetics700_2020_{split}.csv" for split in splits]
    return tuple(folder + name for folder in ("", "annotations/") for name in names)


def list_names(split: str) -> tuple[str, ...]:
    """What PySlowFast, mmaction2 and TSM call a list of videos or of folders of frames."""
    names = [f"{split}.csv", f"{split}.txt", f"{split}_list.txt", f"{split}_videofolder.txt"]
    of = ("", "kinetics400_", "kinetics600_", "kinetics700_", "sthv2_", "diving48_")
    names += [f"{name}{split}_list_{kind}.txt" for name in of for kind in ("videos", "rawframes")]
    names += [
        f"{name}_{split}_split_{{split}}_{kind}.txt"
        for name in ("ucf101", "hmdb51")
        for kind in ("videos", "rawframes")
    ]
    return tuple(folder + name for folder in ("", "annotations/") for name in names)


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
        "train": kinetics_names("train"),
        "val": kinetics_names("val", "validate"),
        "test": (),
    },
    "epic_kitchens": {
        "train": tuple(f"{folder}EPIC_100_train.csv" for folder in EPIC_FOLDERS),
        "val": tuple(f"{folder}EPIC_100_validation.csv" for folder in EPIC_FOLDERS),
        "test": (),
    },
    "ucf101": {
        "labels": tuple(f"{folder}classInd.txt" for folder in UCF_FOLDERS),
        "train": tuple(f"{folder}trainlist0{{split}}.txt" for folder in UCF_FOLDERS),
        "val": tuple(f"{folder}testlist0{{split}}.txt" for folder in UCF_FOLDERS),
    },
    "hmdb51": {"train": (*SPLIT_FOLDERS, "hmdb51_splits", "splits", ".")},
    "jhmdb": {"train": ("splits", *SPLIT_FOLDERS, ".")},
    "diving48": {
        "labels": tuple(f"{folder}Diving48_vocab.json" for folder in DIVING_FOLDERS),
        "train": tuple(f"{folder}Diving48_{version}train.json" for version in ("V2_", "") for folder in DIVING_FOLDERS),
        "val": tuple(f"{folder}Diving48_{version}test.json" for version in ("V2_", "") for folder in DIVING_FOLDERS),
    },
    "video_list": {
        "labels": ("label_map.txt", "annotations/label_map.txt"),
        "train": list_names("train"),
        "val": list_names("val"),
        "test": (),
    },
    "class_folders": {"train": ("train",), "val": ("val", "validation")},
    "csv": {"train": ("labels.csv", "labels.tsv"), "val": ()},
    "shards": {"train": ("train",), "val": ("val", "validation")},
    "manifest": {},
}

OF_SPLITS = "ucf101", "hmdb51", "jhmdb", "video_list"  # what `data.split` chooses of

# fields without which the format can be read: what they name is read where it is given, or is there by its own name;
# so it is with `val` where training clips are held out in its place
OPTIONAL = {"diving48": {"labels"}, "video_list": {"labels", "test"}, "kinetics": {"test"}, "epic_kitchens": {"test"}}


def refuse_unread(data: Data) -> None:
    """InputError for a field that names a file, or one of several splits, which the format does not read."""
    read = NAMES[data.format]
    for field in ("train", "val", "test", "labels"):
        if getattr(data, field) and field not in read:
            formats = ", ".join(name for name, fields in NAMES.items() if field in fields)
            raise InputError(f"data.{field}: format {data.format} reads no such file, {formats} do; leave it out")
    if data.split != 1 and data.format not in OF_SPLITS:
        raise InputError(
            f"data.split: format {data.format} has one split, {', '.join(OF_SPLITS)} have three; leave it out"
        )


def data_files(data: Data) -> dict[str, str]:
    """Field of `data` -> path or URL of the file or folder that is read for it, where there is one.

    Raises:
        InputError: no root, or one of them is not there; names the field.
    """
    root = data_root(data)
    if data.videos:
        find(root, data.videos, (), "videos")
    wanted = dict(NAMES[data.format])
    refuse_unread(data)
    if data.format == "csv" and not data.val:
        del wanted["val"]
    if data.format in SORTED:
        _check_folders(data, root, wanted)
    labels = wanted.get("labels", ()) if data.format == "something_something" and not data.labels else ()
    if labels and exists(join(root, "train")) and not any(exists(join(root, name)) for name in labels):
        remedy = "give data.format=class_folders, or --config own_videos"
        raise InputError(
            f"data.format: {root} holds no {labels[0]}, and a folder train: are these class folders? {remedy}"
        )
    files, optional = {}, OPTIONAL.get(data.format, set()) | ({"val"} if data.holdout else set())
    for field, names in wanted.items():
        if field == "val" and data.val == "" and data.holdout:
            continue
        given, names = getattr(data, field), tuple(name.format(split=data.split) for name in names)
        if given or field not in optional or any(exists(join(root, name)) for name in names):
            files[field] = find(root, given, names, field)
    _refuse_other_family(data, files)
    if "val" in files and os.path.realpath(files["val"]) == os.path.realpath(files["train"]):
        remedy = "give other clips, or leave data.val out and hold some out by data.holdout=0.2"
        raise InputError(
            f"data.val: {files['val']} is data.train, too: a model is not judged on what it learned; {remedy}"
        )
    if data.format in SORTED and exists(test := join(root, "test")) and test not in files.values():
        files["test"] = test
    return files


def _refuse_other_family(data: Data, files: dict[str, str]) -> None:
    """InputError for lists found by their own names that are of two data sets: `kinetics400_train.csv` beside
    `kinetics600_val.csv`, or Diving48's first labels beside its second."""
    if data.format not in FAMILIES or data.val or "val" not in files:
        return
    train, val = (_family(files[split]) for split in ("train", "val"))
    if train and val and train != val:
        raise InputError(
            f"data.val: {files['val']} lies beside {files['train']}, which is of another data set or version; set"
            " data.val to the list that belongs to it"
        )


def _family(path: str) -> str:
    """What a list's name says of its data set: the name without split, separators and suffix."""
    name = os.path.splitext(os.path.basename(path))[0].lower()
    return re.sub(r"train|validation|validate|val|test|list|videos|rawframes|folder|[\W_]", "", name)


def _check_folders(data: Data, root: str, wanted: dict[str, tuple[str, ...]]) -> None:
    """Say what to do where class folders have no split; the folder of validation clips is not wanted where there is
    none and training clips are held out in their place.
    """
    if not data.train and not exists(join(root, "train")):
        remedy = "sort the classes into train/<class> and val/<class>, or use format csv"
        if data.format == "shards":
            remedy = "give data.train=shard-{000000..000009}.tar, or the folder of the shards"
        elif not exists(join(root, "val")):
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
    if is_url(data.root):
        refuse_password(data.root, "data.root")
        return data.root.rstrip("/")
    root = os.path.abspath(data.root)
    if not os.path.isdir(root):
        raise InputError(f"data.root: no folder {root}; give the folder that holds annotations and videos")
    return root


def join(root: str, name: str) -> str:
    """A path or URL below `root`; absolute ones and URLs stay as they are. Names are encoded where they must be."""
    if is_url(name) or os.path.isabs(name):
        return name
    return url_below(root, name) if is_url(root) else f"{root}/{name}"


def exists(path: str) -> bool:
    """Whether a file or folder exists, local or remote."""
    if not is_url(path):
        return os.path.exists(path)
    try:
        return remote.exists(path)
    except RemoteError as error:  # no such protocol, its package is not installed, no such host, no permission
        remedy = "give a path or URL that can be opened here"
        if any(name in error.reason for name in remote.NO_CREDENTIALS):
            remedy = "give credentials, such as AWS_ACCESS_KEY_ID, or FSSPEC_S3_ANON=true (docs/remote-data.md)"
        raise InputError(f"{redact(path)}: {error.reason}; {remedy}") from None


def find(root: str, given: str | None, defaults: tuple[str, ...], field: str) -> str:
    """The file or folder that `data.<field>` names, else the first of the format's own names that exists."""
    refuse_password(given or "", f"data.{field}")
    for name in (given.rstrip("/") or "/",) if given else defaults:
        if not _is_pattern(name) and exists(join(root, name)):
            return join(root, name)
        if _is_pattern(name) and exists(join(root, expand(name, f"data.{field}")[0])):
            path = join(root, name)
            return path.replace("%7B", "{").replace("%7D", "}").replace("%2C", ",") if is_url(root) else path
    tried = given or ", ".join(defaults[:FEW]) + (f" (or {len(defaults) - FEW} other names)" if defaults[FEW:] else "")
    raise InputError(
        f"data.{field}: no {tried} in {root}; set data.{field} to the path of the file, relative to data.root"
    )


def _is_pattern(name: str) -> bool:
    """Whether it stands for several tar shards."""
    return "{" in name and name.endswith(SUFFIX)


def videos_folder(data: Data, root: str, *defaults: str) -> str:
    """Folder of the videos: `data.videos`, else the first of the format's own names, else the root itself."""
    if data.videos:
        return find(root, data.videos, (), "videos")
    return next((join(root, name) for name in defaults if exists(join(root, name))), root)


def files_in(folder: str) -> list[str]:
    """Names of the files right in a folder, local or URL, sorted; InputError where it cannot be listed."""
    try:
        if is_url(folder):
            return sorted(name for name in remote.list_names(folder) if "/" not in name)
        return sorted(os.listdir(folder.removeprefix("file://")))
    except (OSError, RemoteError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{folder}: cannot be listed ({why}); give a folder that may be read") from None


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
