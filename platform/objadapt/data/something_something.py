"""Something-Something v2: JSON lists of `{id, label, template, placeholders}`. The template names the class."""

import json
import logging
import re

import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotation_file import AGAIN, read_table, refuse_repeated_rows
from .annotations import Listing, json_clips, refuse_class_names
from .places import data_files, data_root, exists, join, something_names, videos_folder
from .strict_json import read_json
from .video_files import find_by_name, list_folder

_ID = re.compile("[0-9]{1,6}")
log = logging.getLogger(__name__)


def read_something_something(data: Data) -> Listing:
    """Class = `labels.json[template without brackets]`. `test.json` (ids only) is optional.

    Direction is part of many classes ("from left to right"), so a clip must never be flipped.
    """
    root, files = data_root(data), data_files(data)
    ids = _class_ids(files["labels"])
    rows = []
    for split in (one for one in ("train", "val") if one in files):
        source = files[split]
        for entry in json_clips(source, {"id": (str, int), "template": (str,)}):
            rows.append((str(entry["id"]), split, _label(entry["template"], ids, f"{source}, id {entry['id']}")))
    rows += _test_rows(root, ids)
    table = pd.DataFrame(rows, columns=["clip_id", "split", "label"])
    table["path"] = find_by_name(
        table["clip_id"], list_folder(videos_folder(data, root, "20bn-something-something-v2", "videos"))
    )
    return Listing(table, {"label": sorted(ids, key=ids.get)}, flip=False)


def _class_ids(source: str) -> dict[str, int]:
    content = read_json(source)
    given = content if isinstance(content, dict) else {"": None}
    if wrong := [
        name for name, number in given.items() if type(number) not in (str, int) or not _ID.fullmatch(str(number))
    ]:
        shown = f": that of {wrong[0]!r} is {json.dumps(given[wrong[0]])[:40]}" if wrong[0] else ""
        raise InputError(f"{source}: must map templates to class ids{shown}; give the data set's labels.json")
    ids = {name: int(number) for name, number in given.items()}
    if sorted(ids.values()) != list(range(len(ids))):
        raise InputError(f"{source}: class ids are not 0 .. {len(ids) - 1}, each once; give the data set's labels.json")
    refuse_class_names(sorted(ids, key=lambda name: ids[name]), source)
    return ids


def _label(template: str, ids: dict[str, int], source: str) -> int:
    name = template.replace("[", "").replace("]", "")
    if name not in ids:
        why = (
            f"it begins as others do: the file is cut off there; {AGAIN}"
            if any(one.startswith(name) for one in ids)
            else ""
        )
        raise InputError(
            f"{source}: template {template!r} is not in labels.json; {why or 'the files are of different data sets'}"
        )
    return ids[name]


def _test_rows(root: str, ids: dict[str, int]) -> list[tuple[str, str, int]]:
    """The test split, labelled by `test-answers.csv` (`id;template`, no header) where it exists, else -1."""
    sources = [join(root, name) for name in something_names("test.json") if exists(join(root, name))]
    if not sources:
        return []
    answers = {}
    for source in (join(root, name) for name in something_names("test-answers.csv")):
        if exists(source):
            table = read_table(source, separator=";", columns=["id", "template"])
            refuse_repeated_rows(table["id"], table["id"], source, "give the data set's own file")
            for line, number, template in table.itertuples():
                answers[number] = _label(template, ids, f"{source}: line {line}")
            break
    names = [str(entry["id"]) for entry in json_clips(sources[0], {"id": (str, int)})]
    if answers and (unanswered := [name for name in names if name not in answers]):
        log.warning(
            "%s has no label for %d of %d test clips, such as %s", source, len(unanswered), len(names), unanswered[0]
        )
    return [(name, "test", answers.get(name, -1)) for name in names]
