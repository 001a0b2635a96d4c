"""Something-Something v2: JSON lists of `{id, label, template, placeholders}`; the class is the template's, not the label's."""

import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotations import (
    Listing,
    data_root,
    exists,
    find,
    join,
    list_videos,
    read_json,
    read_table,
    refuse_paths,
    stem,
    videos_folder,
)

OFFICIAL = "something-something-v2-"


def read_something_something(data: Data) -> Listing:
    """Class = `labels.json[template without brackets]`. `test.json` (ids only) is read where it is there.

    Direction is part of many classes ("from left to right"), so a clip must never be flipped.
    """
    root = data_root(data)
    labels_file = find(root, data.labels, _names("labels.json"), "labels")
    ids = _class_ids(labels_file)
    rows = []
    for split, given, name in (("train", data.train, "train.json"), ("val", data.val, "validation.json")):
        source = find(root, given, _names(name), split)
        for entry in _entries(source, ("id", "template")):
            rows.append((str(entry["id"]), split, _label(entry["template"], ids, f"{source}, id {entry['id']}")))
    rows += _test_rows(root, ids)
    table = pd.DataFrame(rows, columns=["clip_id", "split", "label"])
    there = {stem(path): path for path in list_videos(videos_folder(data, root, "20bn-something-something-v2", "videos"))}
    table["path"] = [there.get(clip_id) for clip_id in table["clip_id"]]
    return Listing(table, {"label": sorted(ids, key=ids.get)}, flip=False)


def _names(name: str) -> tuple[str, ...]:
    """Where copies of the data set keep a file."""
    return name, f"labels/{name}", f"{OFFICIAL}{name}", f"labels/{OFFICIAL}{name}", f"annotations/{name}"


def _class_ids(source: str) -> dict[str, int]:
    content = read_json(source)
    try:
        ids = {name: int(number) for name, number in content.items()}
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{source}: must map templates to class ids; give the data set's labels.json") from None
    if sorted(ids.values()) != list(range(len(ids))):
        raise InputError(f"{source}: class ids are not 0 .. {len(ids) - 1}, each once; give the data set's labels.json")
    return ids


def _entries(source: str, keys: tuple[str, ...]) -> list[dict]:
    content = read_json(source)
    if not isinstance(content, list):
        raise InputError(f"{source}: must be a list of clips; give the data set's own file")
    for number, entry in enumerate(content):
        if not isinstance(entry, dict) or any(key not in entry for key in keys):
            raise InputError(f"{source}: clip {number} lacks {' or '.join(keys)}; give the data set's own file")
    refuse_paths((str(entry["id"]) for entry in content), source)
    return content


def _label(template: str, ids: dict[str, int], source: str) -> int:
    name = str(template).replace("[", "").replace("]", "")
    if name not in ids:
        raise InputError(f"{source}: template {template!r} is not in labels.json; the files are of different data sets")
    return ids[name]


def _test_rows(root: str, ids: dict[str, int]) -> list[tuple[str, str, int]]:
    """The test split, labelled by `test-answers.csv` (`id;template`, no header) where that is there, else -1."""
    sources = [join(root, name) for name in _names("test.json") if exists(join(root, name))]
    if not sources:
        return []
    answers = {}
    for name in _names("test-answers.csv"):
        if exists(join(root, name)):
            table = read_table(join(root, name), separator=";", header=None)
            answers = {row[0]: _label(row[1], ids, f"{join(root, name)}, id {row[0]}") for row in table.itertuples(index=False)}
            break
    return [(str(entry["id"]), "test", answers.get(str(entry["id"]), -1)) for entry in _entries(sources[0], ("id",))]
