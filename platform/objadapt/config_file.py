"""YAML file + `key.sub=value` overrides -> frozen, validated `Experiment`.

Whatever is wrong is one line that names the key.
"""

import copy
import re
from collections.abc import Collection
from pathlib import Path

import yaml
from pydantic import ValidationError

from .config import Experiment
from .config_keys import keys_meant
from .config_methods import SECTIONS, named
from .errors import InputError

TIMESTAMP = "tag:yaml.org,2002:timestamp"
# PyYAML's own, and what `!!int x` and the like end in
NOT_YAML = (
    yaml.YAMLError,
    ValueError,
    LookupError,
    RecursionError,
)


class _Loader(yaml.SafeLoader):
    """Safe YAML whose floats may be written `1e-4` (YAML 1.1 reads that as a string) and that knows no dates:
    they are words.
    """

    yaml_constructors = {tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag != TIMESTAMP}
    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag != TIMESTAMP]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_FLOAT = re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))


def read_yaml(path: str | Path, name: str) -> object:
    """What a YAML file holds, by the one grammar of configs, search spaces and tables; None where it is empty.

    Raises:
        InputError: unreadable, or not valid YAML; begins with `name`.
    """
    try:
        return yaml.load(Path(path).read_text(), Loader=_Loader)  # _Loader is a SafeLoader
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}; give an existing YAML file") from None
    except NOT_YAML as error:
        raise InputError(f"{name}: not valid YAML ({(str(error).splitlines() or [type(error).__name__])[0]})") from None


def parse_override(text: str) -> tuple[list[str], object]:
    """`"method.slots.number=4"` -> `(["model", "num_slots"], 4)`.

    The value is read as YAML, but for comments: a # may be in a path.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"override {text!r}: not of the form key.sub=value")
    try:
        parsed = yaml.load(value, Loader=_Loader)
        if isinstance(parsed, str) and value.lstrip()[0] not in "'\"|>!&":
            parsed = value.strip()
        return key.strip().split("."), parsed
    except NOT_YAML:
        raise InputError(f"override {text!r}: the value is not valid YAML") from None


def load_config(path: str | Path | None = None, overrides: list[str] | tuple[str, ...] = ()) -> Experiment:
    """Read a YAML file (or none), apply `key.sub=value` overrides in order, validate.

    Raises:
        InputError: unreadable file, unknown key, wrong type or value out of range; names the key.
    """
    tree: dict = {}
    if path is not None:
        tree = read_yaml(path, f"config {path}") or {}
        if not isinstance(tree, dict):
            raise InputError(f"config {path}: must be a mapping of keys, not {type(tree).__name__}")
    given = [".".join(parse_override(text)[0]) for text in overrides]
    return validate(override(tree, overrides), str(path) if path else "config", given)


def override(tree: dict, overrides: list[str] | tuple[str, ...]) -> dict:
    """A copy of a plain config tree with `key.sub=value` overrides applied in order;
    `InputError` for a malformed one.
    """
    other = other_method(tree, overrides)
    tree, parsed = copy.deepcopy(tree), [(text, *parse_override(text)) for text in overrides]
    if other:
        tree["method"] = other
    for text, keys, value in parsed:
        node = tree
        for depth, key in enumerate(keys[:-1]):
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise InputError(f"override {text!r}: {'.'.join(keys[: depth + 1])} is a value, not a section")
        node[keys[-1]] = value
    return tree


def other_method(tree: dict, overrides: list[str] | tuple[str, ...]) -> dict | None:
    """What stands in place of the tree's method section where overrides choose another method:
    its settings are not theirs. None: they choose none, or that of the tree.
    """
    values = {".".join(keys): value for keys, value in map(parse_override, overrides)}
    module = values.get("method.module")
    chosen = values.get("method.name", "module" if module else None)
    section = named(tree.get("method", {}))
    if not chosen or not isinstance(section, dict):
        return None
    same = section["name"] == chosen and module in (None, section.get("module", module))
    return None if same else {"name": chosen}


def validate(tree: dict, source: str = "config", given: Collection[str] = ()) -> Experiment:
    """Turn a plain tree of dicts into an `Experiment`, or raise `InputError` in one line.

    Args:
        source: what the message begins with, unless all that is wrong was `given` on the command line.
        given: dotted keys of the overrides.
    """
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        problems, places = [], []
        for item in error.errors():
            loc = _without_tag(item["loc"])
            place = ".".join(str(part) for part in loc)
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "union_tag_invalid":
                place, message = "method.name", f"{item['ctx']['tag']!r} is no method; known: {', '.join(SECTIONS)}"
            if item["type"] == "extra_forbidden":
                message = f"unknown key; {_hint(tree, place)}known here: {', '.join(_known_keys(item['loc'][:-1]))}"
            problem = f"{place}: {message}" if place else message
            places.append(place)
            problems.append(
                problem
                if item["type"] in ("extra_forbidden", "value_error", "union_tag_invalid")
                else f"{problem} (got {item['input']!r})"
            )
        source = "" if all(place in given for place in places) else f"{source}: "
        raise InputError(source + "; ".join(dict.fromkeys(problems))) from None


def _hint(tree: dict, wrong: str) -> str:
    """`did you mean training.epochs? `, or nothing."""
    method = named(tree.get("method", {}))
    close = keys_meant(wrong, method["name"] if isinstance(method, dict) else "")
    return f"did you mean {' or '.join(close)}? " if close else ""


def _known_keys(loc: tuple) -> list[str]:
    section = Experiment
    for part in _without_tag(loc):
        section = (
            SECTIONS[loc[1]] if section is Experiment and part == "method" else section.model_fields[part].annotation
        )
    return list(section.model_fields)


def _without_tag(loc: tuple) -> tuple:
    """The keys of a problem: behind "method" pydantic names the section, which no file does."""
    return (loc[0], *loc[2:]) if loc[:1] == ("method",) else loc


def flat(tree: dict, prefix: str = "") -> dict[str, object]:
    """Nested dict -> {"a.b": value}, the way overrides and MLflow params are written."""
    result = {}
    for key, value in tree.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result
