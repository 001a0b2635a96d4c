"""Diving48 (V2): JSON lists of `{vid_name, label, start_frame, end_frame}`; each video is one dive.

The official test set is validated on, as `val`. No clip of V2 has class 30.
"""

import logging
import re

import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotations import Listing, json_clips, refuse_class_names
from .places import data_files, data_root, videos_folder
from .strict_json import read_json
from .video_files import find_by_name, list_folder

CLASSES = 48

log = logging.getLogger(__name__)


def read_diving48(data: Data) -> Listing:
    """Class names are those of `Diving48_vocab.json`, parts joined by `+`; without that file they are numbers."""
    root, files = data_root(data), data_files(data)
    rows = []
    for split in (one for one in ("train", "val") if one in files):
        for number, entry in enumerate(json_clips(files[split], {"vid_name": (str,), "label": (int, str)})):
            label = str(entry["label"])
            if not re.fullmatch("[0-9]{1,6}", label):
                wrong = f"clip {number} has label {label!r}, which is no class number"
                raise InputError(f"{files[split]}: {wrong}; give the data set's own file")
            rows.append((entry["vid_name"], split, int(label)))
    table = pd.DataFrame(rows, columns=["clip_id", "split", "label"]).astype({"clip_id": str, "label": "int64"})
    most = int(table["label"].max()) if len(table) else 0
    classes = _class_names(files["labels"]) if "labels" in files else [str(number) for number in range(most + 1)]
    if most >= len(classes):
        raise _beyond(table, f"{files['labels']}: {len(classes)} classes")
    if "labels" not in files and most >= CLASSES:
        raise _beyond(table, f"{data.root}: without Diving48_vocab.json there are {CLASSES} classes")
    if (table["label"] > 0).all():
        log.warning("%s: no clip has label 0; Diving48's labels count from 0: do these count from 1?", files["train"])
    table["path"] = find_by_name(table["clip_id"], list_folder(videos_folder(data, root, "rgb", "videos")))
    return Listing(table, {"label": classes}, flip=True)


def _beyond(table: pd.DataFrame, there: str) -> InputError:
    clip, label = table.loc[table["label"].idxmax(), ["clip_id", "label"]]
    return InputError(f"{there}, but clip {clip} has class {label}, counted from 0")


def _class_names(source: str) -> list[str]:
    content = read_json(source)
    if not isinstance(content, list) or not all(
        isinstance(parts, list) and parts and all(isinstance(part, str) for part in parts) for parts in content
    ):
        raise InputError(f"{source}: must be a list of lists of words; give the data set's Diving48_vocab.json")
    names = ["+".join(parts) for parts in content]
    refuse_class_names(names, source)
    return names
