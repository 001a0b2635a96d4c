"""Videos sorted into folders: `root/train/<class>/*`, `root/val/<class>/*` and, optionally, `root/test/<class>/*`.

With `data.holdout` above 0 there need be no `val`.
"""

import logging

import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotations import SPLITS, Listing, warn_of_lookalikes
from .places import data_files
from .remote import name_below
from .video_files import list_folder, refuse_bytes, shown

log = logging.getLogger(__name__)


def read_class_folders(data: Data) -> Listing:
    """Class id = position among the sorted training folders. Every file that is a video by its suffix is a clip.

    Whether a mirrored clip keeps its class is unknown, so flipping is off unless `transform.flip` says otherwise.
    """
    folders = data_files(data)
    tables = {split: _rows(folder, split) for split, folder in folders.items()}
    classes = sorted(set(tables["train"]["label"]))
    warn_of_lookalikes(classes)
    if len(classes) == 1 and classes[0] in SPLITS:
        log.warning("%s: all clips are of class %r: is the folder one too high?", folders["train"], classes[0])
    for split, table in tables.items():
        if unknown := sorted(set(table["label"]) - set(classes)):
            wrong = f"class {unknown[0]!r} is not among the {len(classes)} training classes"
            raise InputError(f"{folders[split]}: {wrong}; correct or remove it")
        table["label"] = table["label"].map({name: number for number, name in enumerate(classes)})
    return Listing(pd.concat(list(tables.values()), ignore_index=True), {"label": classes}, flip=False)


def _rows(folder: str, split: str) -> pd.DataFrame:
    listed = list_folder(folder)
    refuse_bytes([*listed.videos, *listed.folders])
    rows = []
    for path in listed.videos:
        name = name_below(folder, path)
        label, slash, _ = name.partition("/")
        if not slash:
            raise InputError(f"{folder}: video {name} is in no class folder; move it into {split}/<class>")
        rows.append((f"{split}/{name}", path, split, label))
    for label in sorted(set(listed.folders) - {row[3] for row in rows}):  # a class that would disappear
        others = [path for path in listed.left_out if name_below(folder, path).startswith(f"{label}/")]
        holds = f"only files that are no videos by their suffix ({shown(others, folder)})" if others else "no file"
        raise InputError(f"{folder}/{label}: the class folder holds {holds}; convert them to MP4, or remove the folder")
    if listed.left_out:
        log.warning(
            "%s: %d files are no videos by their suffix: %s",
            folder,
            len(listed.left_out),
            shown(listed.left_out, folder),
        )
    return pd.DataFrame(rows, columns=["clip_id", "path", "split", "label"], dtype=str)
