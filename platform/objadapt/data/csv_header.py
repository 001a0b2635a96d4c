"""The header of one's own CSV against the columns that the config names; light, so that a slip is told at once."""

import csv
from itertools import islice

from ..config import Data
from ..errors import InputError
from .remote import is_url

SEPARATORS = ",\t;"  # of these, the one that the header holds most of
SEARCHED = 1000  # lines, at the most, before which the header begins
NAMED = "; data.path_column, data.label_column and data.split_column say how yours are called"


def separator_of(header: str) -> str:
    """What separates the cells of a table, as its header shows."""
    return max(SEPARATORS, key=header.count)


def wanted_columns(data: Data) -> list[str]:
    """The columns that must be there; where there is a file for `data.val`, none says the split."""
    wanted = [data.path_column, *data.label_columns.values(), "" if data.val else data.split_column]
    return [column for column in wanted if column]


def refuse_missing(columns: list[str], there: list[str], source: str, remedy: str = "") -> None:
    """InputError for a column that is not there."""
    if missing := [column for column in columns if column not in there]:
        raise InputError(f"{source}: no column {', '.join(missing)}; it has {', '.join(map(str, there))}{remedy}")


def check_header(data: Data, source: str) -> None:
    """InputError where a local file's first line lacks a column; what cannot be read so is left to `read_table`."""
    if is_url(source):
        return
    try:
        with open(source, encoding="utf-8-sig", newline=None) as file:
            header = next((line for line in islice(file, SEARCHED) if line.strip()), "")
        if header.count('"') % 2 == 0 and "\0" not in header:
            [cells] = csv.reader([header], delimiter=separator_of(header), skipinitialspace=True)
            refuse_missing(wanted_columns(data), [cell.strip() for cell in cells], source, NAMED)
    except (OSError, UnicodeDecodeError, csv.Error):
        return
