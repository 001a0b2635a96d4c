"""Kinetics-400 (also 600, 700): CSV `label,youtube_id,time_start,time_end,split[,is_cc]`, one trimmed file a clip."""

import pandas as pd

from ..config import Data
from .annotations import (
    Listing,
    class_ids,
    data_root,
    find,
    list_videos,
    numbers,
    read_table,
    refuse_paths,
    require_columns,
    sorted_classes,
    stem,
    videos_folder,
)

ID_LENGTH = 11  # of a YouTube id
ANNOTATIONS = {
    "train": ("train.csv", "kinetics_train.csv", "annotations/train.csv", "annotations/kinetics_train.csv"),
    "val": ("val.csv", "validate.csv", "kinetics_val.csv", "annotations/val.csv", "annotations/kinetics_val.csv"),
}


def read_kinetics(data: Data) -> Listing:
    """Class id = position among the sorted training labels. The test split may lack labels (-1).

    Files are `{id}_{start:06d}_{end:06d}.*`; copies that use the bare id, or another form of the times, are matched
    on the first 11 characters where that is one file.
    """
    root = data_root(data)
    tables = []
    for split, given in (("train", data.train), ("val", data.val)):
        source = find(root, given, ANNOTATIONS[split], split)
        table = read_table(source)
        require_columns(table, ["youtube_id", "time_start", "time_end", *(["label"] if split == "train" else [])], source)
        refuse_paths(table["youtube_id"], source)
        if "label" not in table:
            table["label"] = ""
        listed_as = table["split"] if "split" in table else pd.Series("", index=table.index)
        table["split"] = listed_as.where(listed_as == "test", split)
        times = [numbers(table[column], source).astype(int) for column in ("time_start", "time_end")]
        table["clip_id"] = [f"{name}_{a:06d}_{b:06d}" for name, a, b in zip(table["youtube_id"], *times, strict=True)]
        tables.append((source, table))
    classes = sorted_classes(tables[0][1]["label"])
    for source, table in tables:
        table["label"] = class_ids(table["label"], classes, source)
    rows = pd.concat([table for _, table in tables], ignore_index=True)[["clip_id", "youtube_id", "label", "split"]]
    rows["path"] = _match(rows, list_videos(videos_folder(data, root, "videos")))
    return Listing(rows.drop(columns="youtube_id"), {"label": classes}, flip=True)


def _match(rows: pd.DataFrame, paths: list[str]) -> list[str | None]:
    by_name = {stem(path): path for path in paths}
    by_id: dict[str, list[str]] = {}
    for name in by_name:
        by_id.setdefault(name[:ID_LENGTH], []).append(name)
    matched = []
    for clip_id, youtube_id in zip(rows["clip_id"], rows["youtube_id"], strict=True):
        candidates = by_id.get(youtube_id[:ID_LENGTH], [])
        if clip_id in by_name or youtube_id in by_name:
            matched.append(by_name.get(clip_id) or by_name[youtube_id])
        else:  # several files of one YouTube video: which is meant cannot be told
            matched.append(by_name[candidates[0]] if len(candidates) == 1 else None)
    return matched
