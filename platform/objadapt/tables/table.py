"""A table of the paper, declared once: rows as overrides of one config, metrics, the paper's numbers, its claims.

One YAML file a table, below `search_spaces/tables`. A row's overrides are the same for every data set; `settings` holds
what a whole table needs on one data set (the paper's ablations take 16 frames on K-400 and SSv2). `paper_setting` says
with which backbone and how many frames the paper got its numbers: elsewhere they are shown for orientation alone (see
comparison.py).
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..config import Experiment
from ..config_file import other_method, override, parse_override, read_yaml, validate
from ..declared import TABLES, find, names
from ..errors import InputError
from ..metric import JF, METRICS, jf_on
from .claims import Claim, parse_claims

# the paper's data sets among jobs/configs
PAPER = {"kinetics400": "K-400", "something_something_v2": "SSv2", "epic_kitchens_100": "EPIC-100"}
ELSEWHERE = "something_something_v2"  # whose numbers stand beside those of any other data set
PUBLISHED = "published"  # status of a row that is as the paper gives it
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # also part of MLflow's metric names
NOT_OF_A_ROW = {  # keys of the config, and what sets them for every row
    **{"seed": "--seeds says which seeds every row has", "name": "a run is named by what its row changes"},
    "output": "--output says where all rows are kept",
}
UNNAMED = {  # of a config: where, not what; and what only looks at a training
    **dict.fromkeys(("name", "seed", "output", "stream", "tracking", "evaluation"), True),
    "training": {"validate_every"},
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PaperBackbone(_Part):
    """The frozen encoder behind a number of the paper, as `config.Backbone` names it."""

    library: str
    name: str
    pretrained: str


class PaperSetting(_Part):
    """With what the paper got the numbers of a table or, in parts, of a row that differs from the others."""

    backbone: PaperBackbone | None = None
    frames: int | None = Field(None, ge=1)  # T
    size: int = Field(224, ge=1)  # side of the crop, pixels


class Row(_Part):
    """One row: what it changes, what the paper reports for it, and on which data sets it cannot be run."""

    name: str = Field(pattern=NAME)
    overrides: list[str] = []
    paper: dict[str, float] = {}  # column of the paper's table -> value; columns without a value are left out
    paper_setting: PaperSetting = PaperSetting()  # where it is another than the table's
    missing: dict[str, str] = {}  # data set -> reason
    published: bool = False  # the paper's numbers alone; nothing is trained

    @field_validator("overrides", mode="before")
    @classmethod
    def _as_list(cls, value):
        return _assignments(value)


class Column(_Part):
    """A column of ours; `paper` is the column of the paper's beside it, for every data set or for each its own."""

    paper: str | dict[Literal["kinetics400", "something_something_v2"], str] | None = None

    def columns(self) -> set[str]:
        """Names of the paper's columns."""
        return {self.paper} if isinstance(self.paper, str) else set((self.paper or {}).values())


class Table(_Part):
    """The content of a file; `name` and `file` are where it came from."""

    name: str
    file: str
    caption: str
    source: str  # "paper, Table 6" or "own"
    paper_setting: PaperSetting = PaperSetting()
    datasets: list[str] = []  # the only ones that it is of; none: of any
    settings: dict[str, list[str]] = {}
    metrics: dict[Literal[tuple(METRICS)], Column] = Field(min_length=1)
    rows: list[Row] = Field(min_length=1)
    # rows of masks that need no training, as many a frame as the first row has
    untrained: list[Literal["k-means", "grid", "ceiling"]] = []
    claims: list[dict] = []
    notes: list[str] = []

    @field_validator("settings", mode="before")
    @classmethod
    def _as_lists(cls, value):
        return {key: _assignments(one) for key, one in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _check(self):
        names = [*(row.name for row in self.rows), *self.untrained]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"rows: {', '.join(sorted(repeated))} is there more than once; give each row its own name")
        known = set().union(*(column.columns() for column in self.metrics.values()))
        for row in self.rows:
            if row.published and (row.overrides or row.missing or not row.paper):
                raise ValueError(f"rows: {row.name}: a published row has numbers of the paper, and nothing to train")
            keys = [text.partition("=")[0].strip() for text in row.overrides]
            if twice := next((key for key in keys if keys.count(key) > 1), None):
                raise ValueError(f"rows: {row.name}: {twice} is there twice; the last would count alone")
            if taken := sorted(NOT_OF_A_ROW.keys() & keys):
                raise ValueError(f"rows: {row.name}: {taken[0]}: {NOT_OF_A_ROW[taken[0]]}; leave it out")
            if strange := row.paper.keys() - known:
                beside = f"metrics name {', '.join(sorted(known)) or 'none'}"
                raise ValueError(
                    f"rows: {row.name}: paper: no metric stands beside {', '.join(sorted(strange))}; {beside}"
                )
        return self

    @property
    def shows_objects(self) -> bool:
        """Whether a column is of objects on annotated sequences."""
        return any(METRICS[name].of_objects for name in self.metrics)

    @property
    def discovers(self) -> bool:
        """Whether a column is of `runs/discovery_test.py`."""
        return any(METRICS[name].of_discovery for name in self.metrics)

    def parsed_claims(self) -> list[Claim]:
        """The claims, checked against the rows and the metrics."""
        return parse_claims(self.claims, [row.name for row in self.rows], self.file, self.metrics)

    def columns(self, dataset: str, further: Collection[str] = ()) -> list[dict]:
        """How each metric is shown: metric, title, decimals, count; paper (its column or None), paper_title.

        Args:
            further: names of further sequences; each has a column beside J&F.
        """
        shown = []
        for name, given in self.metrics.items():
            metric, column, label = METRICS[name], given.paper, "paper" if dataset in PAPER else "paper (CLIP ViT)"
            if isinstance(column, dict):
                label = "paper" if dataset in column else f"paper ({PAPER[ELSEWHERE]})"
                column = column.get(dataset if dataset in ("kinetics400", ELSEWHERE) else ELSEWHERE)
            ours = {"metric": name, "title": metric.title, "decimals": metric.decimals, "count": metric.exact}
            shown.append(ours | {"paper": column, "paper_title": label})
            for one in map(jf_on, further if name == JF.name else ()):
                ours = {"metric": one.name, "title": one.title, "decimals": one.decimals, "count": one.exact}
                shown.append(ours | {"paper": None, "paper_title": label})
        return shown

    def setting_of(self, row: Row) -> PaperSetting:
        """With what the paper got the numbers of a row."""
        own = {name: getattr(row.paper_setting, name) for name in row.paper_setting.model_fields_set}
        return self.paper_setting.model_copy(update=own)


def table_names() -> list[str]:
    """The tables that are declared, in the order of their files' names."""
    return names(TABLES)


def load_table(name: str) -> Table:
    """Read `search_spaces/tables/NAME.yaml`, the file of that path, or that of a dotted name in a package.

    Raises:
        InputError: no such file, not YAML, an unknown or missing key, a wrong value; names the file and the key.
    """
    path = find("--table", name, TABLES)
    tree = read_yaml(path, path.name)
    if not isinstance(tree, dict) or not re.match(NAME, path.stem):
        raise InputError(f"{path.name}: must be a mapping of keys, in a file named with letters, digits, '.', '_', '-'")
    if reserved := tree.keys() & {"name", "file"}:
        raise InputError(f"{path.name}: {', '.join(sorted(reserved))}: unknown key; the table is named as its file")
    try:
        table = Table.model_validate(tree | {"name": path.stem, "file": path.name})
    except ValidationError as error:
        raise InputError(f"{path.name}: " + "; ".join(_problems(error, tree))) from None
    table.parsed_claims()
    return table


def row_config(table: Table, row: Row, base: Experiment, overrides: list[str], dataset: str, seed: int) -> Experiment:
    """The config of a row: base, then the table's settings for the data set, the user's overrides, the row's.

    A row that names another method has that method's defaults and the row's own settings: `method.*` of the base, of
    the table and of the user are of the method that it replaces (`left_out`).

    Its name says how it differs from the base and nothing of the table, and an interval that is the default anyway is
    left to the default: rows of several tables that say the same thing in other words are one run.

    Raises:
        InputError: the config refuses it; names the table's file and the row.
    """
    source = f"{table.file}: row {row.name}"
    try:
        foreign = left_out(table, row, base, overrides, dataset)
        given = [text for text in _given(table, overrides, dataset) if text not in foreign]
        config = validate(override(base.model_dump(mode="json"), [*given, *row.overrides, f"seed={seed}"]), source)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(source) else f"{source}: {error}") from None
    config = config.model_copy(update={"method": config.method.plain(config.sampling.frames)})
    own = validate(override(base.model_dump(mode="json"), overrides), "config")
    return config.model_copy(update={"name": _difference(own, config)})


def left_out(table: Table, row: Row, base: Experiment, overrides: list[str], dataset: str) -> list[str]:
    """Settings that a row does not have, since it names another method than the one that they are of."""
    given = _given(table, overrides, dataset)
    replaced = other_method(override(base.model_dump(mode="json"), given), row.overrides)
    return [text for text in given if parse_override(text)[0][0] == "method"] if replaced else []


def _given(table: Table, overrides: list[str], dataset: str) -> list[str]:
    return [*table.settings.get(dataset, []), *overrides]


def _difference(base: Experiment, config: Experiment) -> str:
    """`base`, or what differs: `linear_probe`, `slots.number-4`, `distillation.weight-0.0_temporal.weight-0.0`."""
    before, after = (dict(_leaves(one.model_dump(mode="json", exclude=UNNAMED))) for one in (base, config))
    if config.method.name != base.method.name:  # its settings differ from its own defaults, or not
        fields = {
            key: field.get_default(call_default_factory=True) for key, field in type(config.method).model_fields.items()
        }
        trees = {key: value.model_dump() if isinstance(value, BaseModel) else value for key, value in fields.items()}
        before |= {f"method.{key}": value for key, value in _leaves(trees) if key != "name"}
    parts = [
        f"{key.partition('.')[2].removeprefix('losses.')}-{value}".removeprefix("name-" if key == "method.name" else "")
        for key, value in after.items()
        if value != before.get(key)
    ]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(parts))[:100] or "base"


def _leaves(tree: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _assignments(value) -> object:
    """Overrides written as a mapping or a list -> `["key.sub=value", ...]`.

    What is neither is left for pydantic to refuse.
    """
    if isinstance(value, dict):
        return [f"{key}={_plain(one)}" for key, one in _leaves(value)]
    for text in value if isinstance(value, list) else []:
        try:
            parse_override(text) if isinstance(text, str) else None
        except InputError as error:
            raise ValueError(str(error)) from None
    return value


def _plain(value: object) -> str:
    """A value as it is written in an override."""
    if isinstance(value, str) and value.strip() and parse_override(f"x={value}")[1] == value:
        return value
    return json.dumps(value)


def _problems(error: ValidationError, tree: dict) -> list[str]:
    problems = []
    for item in error.errors():
        place = list(item["loc"])
        if len(place) > 1 and place[0] == "rows" and isinstance(place[1], int):
            row = tree["rows"][place[1]]
            place[1] = row.get("name", place[1]) if isinstance(row, dict) else place[1]
        message = item["msg"].removeprefix("Value error, ")
        message = "unknown key" if item["type"] == "extra_forbidden" else message
        problems.append(": ".join([".".join(str(part) for part in place), message]) if place else message)
    return list(dict.fromkeys(problems))
