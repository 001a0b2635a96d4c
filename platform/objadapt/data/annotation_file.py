"""Annotation files read strictly: CSV, TSV and lists of lines (strict_json.py: JSON).

A file that is cut off is refused with the line where it ends.
"""

import csv
import io
import logging
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError
from .containers import is_video_name
from .csv_header import refuse_missing, separator_of
from .remote import RemoteError, is_url, read_bytes
from .repeats import Repeat, and_others, repeated

LINE_BREAK = re.compile("\r\n|\n|\r")
AGAIN = "download or copy it again"

log = logging.getLogger(__name__)


def read_table(
    path: str, separator: str | None = None, columns: list[str] | None = None, labels: Collection[str] = ()
) -> pd.DataFrame:
    """A CSV or TSV file, every cell a string, empty cells ''; the index is the line in which a row begins.

    Args:
        separator: of the cells; default: as the header shows.
        columns: names of the columns of a file without a header.
        labels: columns whose few words repeat; see `_refuse_half_cell`.

    Raises:
        InputError: names file, line and row. The file is unreadable, empty or cut off; a row has more or fewer cells
            than the header; a quote does not close, or takes in other rows.
    """
    text = text_of(path, "CSV")
    separator = separator or separator_of(text.lstrip("\r\n").partition("\n")[0])
    records = [(line, cells) for line, cells in _records(text, separator, path) if any(map(str.strip, cells))]
    if not records:
        raise InputError(f"{path}: not a readable CSV file (it is empty); {AGAIN}")
    if columns is None:
        columns = [name.strip() for name in records.pop(0)[1]]
        if not records and not text.endswith(("\n", "\r")):
            raise InputError(f"{path}: cut off in its first line, the header; {AGAIN}")
        if not records:
            log.warning("%s: no row below the header; is the file cut off?", path)
    names = _without_empty_end(columns)
    if repeated := next((name for name in names if name and names.count(name) > 1), None):
        raise InputError(f"{path}: two columns are called {repeated!r}; rename or remove one")
    for number, (line, cells) in enumerate(records, 1):
        if len(cells) != len(names) or (names[0] in cells[0] and _bare(cells) == names):
            _check_cells(cells, names, len(columns), number == len(records), f"{path}: line {line} (row {number})")
            del cells[len(names) :]
    if "\0\0" in text or text.endswith("\0"):
        _refuse_nul(records, path)
    table = pd.DataFrame([cells for _, cells in records], columns=names, index=[line for line, _ in records], dtype=str)
    if records and not text.endswith(("\n", "\r")):
        _refuse_half_cell(table.iloc[:, -1], names[-1] in labels, path)
    return table


def read_lines(path: str) -> list[tuple[int, str]]:
    """(number, text) of every line of a text file that is not blank, without the spaces around it.

    Raises:
        InputError: the file is unreadable or empty, or holds NUL bytes.
    """
    lines = list(enumerate(LINE_BREAK.split(text_of(path, "text")), 1))  # splitlines takes other characters for breaks
    damaged = next((number for number, line in lines if "\0" in line), None)
    if damaged:
        raise InputError(f"{path}: line {damaged} holds NUL bytes: the file is damaged or cut off; {AGAIN}")
    lines = [(number, line.strip()) for number, line in lines if line.strip()]
    if not lines:
        raise InputError(f"{path}: not a readable list (it is empty); {AGAIN}")
    return lines


def text_of(path: str, kind: str) -> str:
    """The UTF-8 text of a local or remote file, its mark taken off; InputError, with `kind`, where there is none."""
    try:
        content = read_bytes(path) if is_url(path) else Path(path).read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        remedy = f"it is cut off; {AGAIN}" if error.reason == "unexpected end of data" else "save it as UTF-8"
        raise InputError(f"{path}: not a readable {kind} file ({error}); {remedy}") from None
    except (OSError, ValueError, RemoteError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}; give an existing file") from None


def _records(text: str, separator: str, path: str) -> list[tuple[int, list[str]]]:
    """(first line, cells) of every row.

    A cell in quotes may hold line breaks, and a space may stand before its quote.
    """
    spaced = f'{separator} "' in text  # else a space is part of a name
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=spaced)
    records, line = [], 1
    try:
        for cells in reader:
            if reader.line_num > line:
                _refuse_rows_in_a_cell(cells, separator, f"{path}: line {line} (row {len(records)})")
            records.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end" in str(error) or "field larger" in str(error):  # one quote takes in all that follows it
            reason = (
                f"a quote that opens in the row of line {line} does not close:"
                " the file is cut off there, or the quote is too many"
            )
        else:
            reason = f"line {line} (row {len(records)}): {error}; a quote within a cell in quotes is written twice"
        raise InputError(f"{path}: not a readable CSV file: {reason}") from None
    return records


def _refuse_rows_in_a_cell(cells: list[str], separator: str, place: str) -> None:
    """InputError for a cell that has swallowed rows, as between two stray quotes.

    Its lines are then the end of a row, whole rows, and the beginning of a row. Prose hardly holds that many
    separators, save in tables of few columns, which are let pass.
    """
    for number, cell in enumerate(cells):
        *lines, last = [line.count(separator) for line in cell.splitlines()] or [0]
        beyond = len(cells) - 1 - number
        if len(cells) > 3 and lines and [*lines, last] == [beyond, *[len(cells) - 1] * (len(lines) - 1), number]:
            wrong = f"a quote opens at {cell[:40]!r} and closes {len(lines)} lines below: it takes in the rows between"
            raise InputError(f"{place}: {wrong}; correct its quotes")


def _without_empty_end(names: list[str]) -> list[str]:
    """Names of a header without the nameless columns at its end, which a trailing comma makes."""
    return names[: max((place for place, name in enumerate(names, 1) if name), default=0)]


def _bare(cells: list[str]) -> list[str]:
    """Cells as names of columns: files that were joined begin with a mark of their encoding each."""
    return [cell.lstrip("\ufeff").strip() for cell in cells]


def _check_cells(cells: list[str], names: list[str], most: int, last: bool, place: str) -> None:
    """InputError where a row has more or fewer cells than the header. Empty cells may stand below its nameless end."""
    if _bare(cells) == names:
        raise InputError(f"{place} is the header again; remove it, or give two files")
    if len(cells) < len(names):
        if last:
            raise InputError(
                f"{place}: the file is cut off in this row: {len(cells)} of {len(names)} cells are there; {AGAIN}"
            )
        raise InputError(
            f"{place} has {len(cells)} cells, the header has {len(names)}: a cell is missing; correct that row"
        )
    beyond = [cell for cell in cells[len(names) :] if cell.strip()]
    if len(cells) > most or beyond:
        remedy = "put a cell that holds the separator in double quotes" if beyond else "remove the separator at its end"
        raise InputError(f"{place} has {len(cells)} cells, the header has {len(names)}; {remedy}")


def _refuse_nul(records: list[tuple[int, list[str]]], path: str) -> None:
    """InputError for NUL bytes, which a broken disk or copy leaves in place of text."""
    for number, (line, cells) in enumerate(records, 1):
        for cell in cells:
            if "\0" in cell:
                place, shown = f"{path}: line {line} (row {number})", repr(cell[:40])
                raise InputError(f"{place}: {shown} holds NUL bytes: the file is damaged or cut off; {AGAIN}")


def _refuse_half_cell(column: pd.Series, is_label: bool, path: str) -> None:
    """InputError where a file ends without a line break and its last cell seems cut off, as far as the other rows tell.

    A writer may leave out the last line break, so nothing is refused for that alone.
    """
    last, others = column.iloc[-1], column.iloc[:-1]
    starts_longer = others[others.str.startswith(last) & (others != last)] if last else others
    words = is_label or not (others.is_unique or last.isdecimal())
    decimals = len(others) and others.str.fullmatch(r"-?\d+\.\d+").all()
    half = (
        (last.startswith("[") and not last.endswith("]"))
        or (not last and (others != "").all())
        or (len(others) and others.map(is_video_name).all() and not is_video_name(last))
        or (decimals and not last.partition(".")[2].isdecimal())
        or (words and last and len(starts_longer) and not (others == last).any())
    )
    place = f"{path}: line {column.index[-1]} (row {len(column)}), the last"
    if half:
        whole = "where it is whole, end it with a line break"
        raise InputError(
            f"{place}: the file ends without a line break and seems cut off in {column.name} {last!r}; {AGAIN}; {whole}"
        )
    if is_label and last and len(others) and not (others == last).any():
        log.warning(
            "%s, ends without a line break, and no other row has %s %r: is that cell whole?", place, column.name, last
        )
    elif words and last and len(starts_longer):
        log.warning(
            "%s, ends without a line break: %s %r may be the beginning of %r",
            place,
            column.name,
            last,
            starts_longer.iloc[0],
        )


def require_columns(table: pd.DataFrame, columns: list[str], source: str, remedy: str = "") -> None:
    """InputError for a missing column, or for a row in which a required column holds a line break.

    A name or a label of two lines comes of a stray quote, which has swallowed the rows between.
    """
    refuse_missing(columns, list(table.columns), source, remedy)
    for column in columns:
        refuse(table[column], table[column].str.contains("[\r\n]"), source, "holds a line break; correct its quotes")


def refuse(column: pd.Series, wrong: pd.Series | np.ndarray, source: str, reason: str) -> None:
    """InputError for the first wrong row of a column."""
    wrong = np.asarray(wrong, bool)
    if wrong.any():
        raise InputError(row_message(column, int(wrong.argmax()), source, reason))


def refuse_repeated_rows(column: pd.Series, clips: pd.Series, source: str, remedy: str) -> None:
    """`repeated` of the rows whose clip has stood in a row above; the message names the first, and how many there are.

    Args:
        column: the names of the clips in the file; its index is the line in `source`.
        clips: their ids, in the same rows.
    """
    again = clips.duplicated().to_numpy()
    if not again.any():
        return
    place, ids = int(again.argmax()), list(dict.fromkeys(clips[again]))
    reason = f"is listed more than once{and_others(ids)}; {remedy}"
    repeated(Repeat(row_message(column, place, source, reason), ids))


def row_message(column: pd.Series, place: int, source: str, reason: str) -> str:
    """What is wrong with a row, counted from 0; names file, line, row, column and cell."""
    cell, line = column.iloc[place], column.index[place]
    end = "; it is the last row: is the file cut off?" if place == len(column) - 1 else ""
    return f"{source}: line {line} (row {place + 1}): {column.name} {cell!r} {reason}{end}"


def numbers(column: pd.Series, source: str) -> np.ndarray:
    """float64 of a column of strings, '' -> NaN."""
    values = pd.to_numeric(column.replace("", np.nan), errors="coerce")
    refuse(column, values.isna() & (column != ""), source, "is not a number; correct that row")
    return values.to_numpy(dtype=np.float64)


def whole_numbers(column: pd.Series, source: str) -> np.ndarray:
    """int64 of a column of strings, each of which is a whole number from 0 to 2^31; '' -> -1."""
    values = numbers(column, source)
    filled = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        refuse(
            column,
            filled & ~((values >= 0) & (values < 2**31) & (values == np.floor(values))),
            source,
            "is not a whole number",
        )
    return np.where(filled, values, -1).astype(np.int64)
