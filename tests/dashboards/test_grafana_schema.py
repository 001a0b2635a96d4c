"""The Grafana boards against Grafana's own models (grafana-foundation-sdk, generated from its schema).

The models are lenient: what they do not know they drop, and values they take as they come. So a board must come back
from them whole, and every value must be of the type that its field declares.
"""

import enum
import json
import typing
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

BOARDS = sorted((Path(__file__).resolve().parents[2] / "dashboards" / "grafana" / "boards").glob("*.json"))
plugins.register_default_plugins()  # options and fields of each kind of panel, queries of each kind of source


def problems(board: dict) -> list[str]:
    """Where a board is not what Grafana's models say."""
    model = Dashboard.from_json(board)
    back = json.loads(json.dumps(model, cls=JSONEncoder))
    kinds = {
        panel.type_val for panel in model.panels if isinstance(panel, Panel) and isinstance(panel.options, dict | None)
    }
    return [f"no model of panel {kind}" for kind in sorted(kinds)] + lost(board, back, "board") + fields(model, "board")


def lost(given: object, back: object, where: str) -> list[str]:
    """What of `given` did not come back; defaults that were added do not matter."""
    if isinstance(given, dict) and isinstance(back, dict):
        gone = [f"{where}.{key} is unknown" for key in given.keys() - back.keys()]
        return gone + [
            line for key in given.keys() & back.keys() for line in lost(given[key], back[key], f"{where}.{key}")
        ]
    if isinstance(given, list) and isinstance(back, list) and len(given) == len(back):
        return [
            line
            for at, (one, other) in enumerate(zip(given, back, strict=False))
            for line in lost(one, other, f"{where}[{at}]")
        ]
    return [] if given == back else [f"{where} comes back as {back}"]


def fields(model: object, where: str) -> list[str]:
    """Attributes of a model, and of the models in it, that are not of their declared types."""
    hints = typing.get_type_hints(type(model))
    return [line for name, hint in hints.items() for line in wrong(getattr(model, name), hint, f"{where}.{name}")]


def wrong(value: object, hint: typing.Any, where: str) -> list[str]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:
        return min((wrong(value, one, where) for one in inner), key=len)
    if origin is list and isinstance(value, list):
        return [line for at, one in enumerate(value) for line in wrong(one, inner[0], f"{where}[{at}]")]
    if origin is dict and isinstance(value, dict):
        return [line for key, one in value.items() for line in wrong(one, inner[1], f"{where}.{key}")]
    if origin is typing.Literal:
        return [] if value in inner else [f"{where}: {value!r}"]
    if hasattr(value, "to_json") and not isinstance(value, enum.Enum):
        return fields(value, where)
    if hint in (object, typing.Any):
        return []
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return [] if value in [*hint, *(one.value for one in hint)] else [f"{where}: {value!r} is no {hint.__name__}"]
    number = hint is float and type(value) is int
    return [] if number or type(value) is hint else [f"{where}: {value!r} is no {getattr(hint, '__name__', hint)}"]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_boards_are_what_grafana_declares(path):
    assert not problems(json.loads(path.read_text()))


@pytest.mark.parametrize(
    "place, value",
    [
        (("refreshes",), "10s"),
        (("graphTooltip",), 7),
        (("schemaVersion",), "39"),
        (("time",), {"since": "now-1h"}),
        (("panels", 0, "type"), "stats"),
        (("panels", 0, "gridPos", "width"), 4),
        (("panels", 0, "options", "colourMode"), "none"),
        (("panels", 0, "options", "colorMode"), "loud"),
        (("panels", 0, "targets", 0, "expression"), "up"),
        (("panels", 0, "targets", 0, "expr"), 3),
        (("panels", 0, "fieldConfig", "defaults", "units"), "s"),
        (("panels", 0, "fieldConfig", "defaults", "decimals"), "two"),
        (("templating", "list", 0, "type"), "list"),
    ],
)
def test_a_board_that_grafana_would_not_understand_is_found(place, value):
    board = json.loads(BOARDS[0].read_text())
    assert board["panels"][0]["type"] == "stat"
    at = board
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    assert problems(board)
