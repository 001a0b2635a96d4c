"""Videos sorted into folders: `root/train/<class>/*`, `root/val/<class>/*`, and `root/test/<class>/*` where it is there."""

import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotations import Listing, class_ids, data_root, exists, find, join, list_videos


def read_class_folders(data: Data) -> Listing:
    """Class id = position among the sorted training folders.

    Whether a mirrored clip keeps its class is unknown, so flipping is off unless `transform.flip` says otherwise.
    """
    root = data_root(data)
    if not data.train and not exists(join(root, "train")):
        remedy = "sort the classes into train/<class> and val/<class>, or use format csv"
        raise InputError(f"data.root: no train folder in {root}; {remedy}")
    folders = {"train": find(root, data.train, ("train",), "train"), "val": find(root, data.val, ("val", "validation"), "val")}
    if exists(join(root, "test")):
        folders["test"] = join(root, "test")
    tables = {split: _rows(folder, split) for split, folder in folders.items()}
    classes = sorted(set(tables["train"]["label"]))
    for split, table in tables.items():
        table["label"] = class_ids(table["label"], classes, folders[split])
    return Listing(pd.concat(list(tables.values()), ignore_index=True), {"label": classes}, flip=False)


def _rows(folder: str, split: str) -> pd.DataFrame:
    rows = []
    for path in list_videos(folder):
        name = path.removeprefix(f"{folder}/")
        label, slash, _ = name.partition("/")
        if not slash:
            raise InputError(f"{folder}: video {name} is in no class folder; move it into {split}/<class>")
        rows.append((f"{split}/{name}", path, split, label))
    return pd.DataFrame(rows, columns=["clip_id", "path", "split", "label"], dtype=str)
