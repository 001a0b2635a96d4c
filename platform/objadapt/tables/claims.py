"""Claims of a table's YAML: what the paper concludes from rows, about one metric each; verdict.py judges them."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InputError
from ..metric import METRICS, TOP1, Metric

Kind = Literal["better", "within", "peak", "above"]
FEWEST = {"better": 2, "within": 2, "peak": 3, "above": 1}
KEYS = ("text", "kind", "metric", "rows", "points", "value")


@dataclass(frozen=True)
class Claim:
    """A claim on the rows of a table.

    Attributes:
        points: the margin of "within", in the metric's unit.
        value: what the rows of "above" are set against, in the metric's unit.
    """

    text: str
    kind: Kind
    rows: tuple[str, ...]
    points: float | None = None
    metric: Metric = TOP1
    value: float | None = None


def parse_claims(
    entries: list[dict], row_names: list[str], source: str, columns: Collection[str] = (TOP1.name,)
) -> list[Claim]:
    """Claims of a table's YAML; `verdict.judge` says what the kinds mean.

    Args:
        columns: names of the table's metrics; a claim that names none is about top-1, or without it about the first.

    Raises:
        InputError: an unknown or missing key, kind, metric or row, too few rows or one twice, a margin or a value
            missing or out of place.
    """
    if not isinstance(entries, list):
        raise InputError(f"{source}: claims: must be a list; begin each claim with a dash")
    return [_parse(entry, row_names, columns, f"{source}: claims[{at}]") for at, entry in enumerate(entries)]


def _parse(entry: dict, row_names: list[str], columns: Collection[str], where: str) -> Claim:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: must be a mapping of {', '.join(KEYS)}, not {entry!r}")
    text, kind, rows = (entry.get(key) for key in ("text", "kind", "rows"))
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{where}.text: missing or not text; give the claim in words")
    where = f"{where} {text!r}"
    for key in entry:
        if key not in KEYS:
            raise InputError(f"{where}: unknown key {key!r}; known keys are {', '.join(KEYS)}")
    if kind not in get_args(Kind):
        raise InputError(f"{where}: kind: {kind!r} is not one of {', '.join(get_args(Kind))}")
    metric = _metric(entry, columns, where)
    _check_rows(rows, kind, row_names, where)
    points, value = _margin(entry, kind, metric, where), _value(entry, kind, where)
    if kind == "within" and len(rows) > 2:
        raise InputError(f"{where}: rows: within compares two rows, not {len(rows)}; write a claim for each pair")
    return Claim(text, kind, tuple(rows), points, metric, value)


def _metric(entry: dict, columns: Collection[str], where: str) -> Metric:
    """What the claim is about: a column of the table, so that its numbers stand above the verdict."""
    name = entry.get("metric", TOP1.name if TOP1.name in columns else next(iter(columns), None))
    if name in list(columns):
        return METRICS[name]
    known = f"the table's metrics are {', '.join(columns)}"
    if name in list(METRICS):
        raise InputError(f"{where}: metric: {name} is no column of the table; add it to metrics ({known})")
    raise InputError(f"{where}: metric: {name!r} is unknown; {known}")


def _check_rows(rows: object, kind: Kind, row_names: list[str], where: str) -> None:
    """Refuse what is no list of enough different rows of the table."""
    if not isinstance(rows, list):
        raise InputError(f"{where}: rows: must be a list of rows of the table, not {rows!r}")
    for row in rows:
        if row not in row_names:
            raise InputError(
                f"{where}: rows: no row {row!r} in the table; its rows are {', '.join(map(repr, row_names))}"
            )
        if rows.count(row) > 1:
            raise InputError(f"{where}: rows: {row!r} stands twice; a row cannot be compared with itself")
    if len(rows) < FEWEST[kind]:
        raise InputError(f"{where}: rows: {kind} needs at least {FEWEST[kind]} rows, not {len(rows)}")


def _margin(entry: dict, kind: Kind, metric: Metric, where: str) -> float | None:
    points = entry.get("points")
    if kind != "within":
        if points is not None:
            raise InputError(f"{where}: points: only kind within has a margin; remove it")
        return None
    if metric.unit == "%" and not (_is_number(points) and 0 < points < 100):
        raise InputError(
            f"{where}: points: {points!r} is no margin; give percentage points, more than 0 and less than 100"
        )
    if not (_is_number(points) and points > 0):
        raise InputError(f"{where}: points: {points!r} is no margin of {metric.title}; give a number above 0")
    return float(points)


def _value(entry: dict, kind: Kind, where: str) -> float | None:
    value = entry.get("value")
    if kind != "above":
        if value is not None:
            raise InputError(f"{where}: value: only kind above has one; remove it")
        return None
    if not _is_number(value):
        raise InputError(f"{where}: value: {value!r} is no number; give what the rows are above")
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
