"""EPIC-KITCHENS-100's lists of what is scored apart: participants that no training clip is of, and tail classes."""

import logging

import pandas as pd

from ..errors import InputError
from .annotation_file import read_table, refuse, require_columns, whole_numbers
from .places import EPIC_FOLDERS, exists, join

log = logging.getLogger(__name__)


def read_lists(root: str, classes: dict[str, list[str]]) -> dict[str, dict[str, list]]:
    """The lists that lie beside the annotations, as `Manifest.subsets`; one that does not is named in a warning.

    Args:
        classes: head -> class names.

    Raises:
        InputError: a list is damaged, or names a class that is none.
    """
    found: dict[str, dict[str, list]] = {"unseen": {}, "tail": {}}
    missing = []
    for split, name in (("val", "validation"), ("test", "test")):
        if source := _beside(root, f"EPIC_100_unseen_participant_ids_{name}.csv"):
            found["unseen"][split] = _listed(source, "participant_id").str.strip().tolist()
        elif split == "val":
            missing.append(f"EPIC_100_unseen_participant_ids_{name}.csv")
    for head in ("verb", "noun"):
        if source := _beside(root, name := f"EPIC_100_tail_{head}s.csv"):
            listed = _listed(source, head)
            numbers = whole_numbers(listed, source)
            beyond = (numbers < 0) | (numbers >= len(classes[f"{head}_label"]))
            refuse(listed, beyond, source, "is no class of the data set; give the data set's own file")
            found["tail"][f"{head}_label"] = numbers.tolist()
        else:
            missing.append(name)
    if missing:
        log.warning("%s: no %s, without which there are no scores of their clips", root, ", ".join(missing))
    return {name: lists for name, lists in found.items() if lists}


def _listed(source: str, column: str) -> pd.Series:
    table = read_table(source)
    require_columns(table, [column], source)
    if table.empty:
        raise InputError(f"{source}: lists nothing; give the data set's own file")
    return table[column]


def _beside(root: str, name: str) -> str | None:
    """An optional file of the annotations; None: it is not there."""
    return next((place for folder in EPIC_FOLDERS if exists(place := join(root, f"{folder}{name}"))), None)
