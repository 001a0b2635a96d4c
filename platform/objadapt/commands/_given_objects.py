"""What `reproduce` scores objects on: annotated sequences (`--davis`), and masks that others made (`--masks`)."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import job
from ..data.davis import davis_sequences
from ..errors import InputError
from ..evaluation.prediction_files import refuse_gaps
from ..metric import JF
from ..tables.table import NAME, Table

if TYPE_CHECKING:
    from ..runs.object_test import ObjectTest


def named_sequences(given: list[str], tables: list[Table]) -> dict[str, str]:
    """`--davis DIR`, then `NAME=DIR` -> name and folder; the first, which claims are about, is named "".

    Raises:
        InputError: a name is missing, out of place or there twice; no column of the tables shows the sequences; no
            DAVIS layout.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, folder = text.partition("=") if re.match(f"{NAME[:-1]}=", text) else ("", "", text)
        if equals and Path(text).is_dir():
            name, equals, folder = "", "", text
        if equals and not folder:
            raise InputError(f"--davis: {text}: no folder behind the name; give {name}=DIR")
        if found and not equals:
            raise InputError(f"--davis: {text}: further sequences need a name for their column; give NAME={text}")
        if equals and not found:
            raise InputError(f"--davis: {text}: the first folder fills the table's own columns; give {folder}")
        if name in found:
            raise InputError(f"--davis: {name} stands twice; give each folder a name of its own")
        found[name] = folder
    names = ", ".join(table.name for table in tables)
    if found and not any(table.shows_objects for table in tables):
        raise InputError(f"--davis: no column of {names} is about objects; leave it out")
    if len(found) > 1 and not any(JF.name in table.metrics for table in tables):
        raise InputError(
            f"--davis: {names}: no column {JF.name}, which further sequences stand beside; give one folder"
        )
    for folder in found.values():
        job.refuse_relative("--davis", folder)
        davis_sequences(folder)
    return found


def sequences_to_score(tables: list[Table], davis: dict[str, str], root: Path) -> "ObjectTest | None":
    """The sequences for tables with such columns; toy data have their own."""
    from ..runs.object_test import object_test

    if not davis and (root / "toy.json").exists() and (root / "davis").is_dir():
        davis = {"": str(root / "davis")}
    if not davis or not any(table.shows_objects for table in tables):
        return None
    first, *others = (object_test(folder, name) for name, folder in davis.items())
    return replace(first, others=tuple(others))


def named_masks(assignments: list[str], tables: list[Table]) -> dict[str, Path]:
    """`NAME=DIR` -> name and folder."""
    masks = {}
    for text in assignments:
        name, equals, folder = text.partition("=")
        if not (re.match(NAME, name) and equals and folder):
            raise InputError(f"--masks: {text!r} is not NAME=DIR, such as RVOS=results/rvos")
        if name in masks or any(name in [row.name for row in table.rows] + table.untrained for table in tables):
            raise InputError(f"--masks: there is a row {name} already; give the masks another name")
        job.refuse_relative("--masks", folder)
        if not Path(folder).is_dir():
            raise InputError(f"--masks: {name}: no folder {folder}; give one with a folder of masks for each sequence")
        masks[name] = Path(folder)
    return masks


def check_masks(masks: dict[str, Path], test: "ObjectTest | None") -> None:
    """Whether there are sequences to score them on, and a mask for each annotated frame."""
    from ..runs.object_test import PROTOCOL

    if masks and test is None:
        raise InputError(
            "--masks: there are no annotated sequences to score them on; give --davis, and a table with J&F"
        )
    for folder in masks.values():
        refuse_gaps(list(test.sequences), folder, PROTOCOL)
