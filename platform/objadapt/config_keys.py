"""Every key of a config, read off its sections: name, type, default and meaning; and the one that a wrong key meant."""

import difflib
import types
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, WrapValidator
from pydantic.fields import FieldInfo

from .config import Experiment
from .config_methods import SECTIONS
from .config_where import Place, at_home

SIGNS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
MOST = 3  # keys, at the most, that a wrong one may have meant


@dataclass(frozen=True)
class Key:
    """One setting."""

    name: str  # dotted, as in `training.lr=1e-3`
    type: str  # in words
    default: object  # None where there is none, or where the meaning says what takes its place
    meaning: str
    method: str | None = None  # name of the method whose setting it is


@cache
def all_keys() -> tuple[Key, ...]:
    """All keys in the order of the sections, those of every method among them."""
    return tuple(_keys(Experiment, "", None))


def keys_meant(wrong: str, method: str) -> list[str]:
    """Keys, or sections, whose name is close to a wrong one's: beside it in its section, else anywhere.

    Args:
        wrong: dotted, as it was given.
        method: name of the config's method; other methods' keys are not meant.
    """
    names = [key.name for key in all_keys() if key.method in (None, method)]
    names += sorted({name.rpartition(".")[0] for name in names} - {""})
    section, _, last = wrong.rpartition(".")
    for places in ([name for name in names if name.rpartition(".")[0] == section], names):
        by_last = defaultdict(list)
        for name in places:
            by_last[name.rpartition(".")[2]].append(name)
        if close := difflib.get_close_matches(last, by_last, n=MOST, cutoff=0.75):
            return [name for one in close for name in by_last[one]][:MOST]
    return []


def _keys(section: type[BaseModel], before: str, method: str | None) -> Iterator[Key]:
    for name, field in section.model_fields.items():
        if before == "" and name == "method":
            yield Key("method.name", ", ".join(SECTIONS), Experiment().method.name, "the method that learns")
            for kind, own in SECTIONS.items():
                yield from (key for key in _keys(own, "method.", kind) if key.name != "method.name")
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{before}{name}.", method)
        else:
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            yield Key(f"{before}{name}", _type(field), default, field.description or "", method)


def _type(field: FieldInfo) -> str:
    """`int >= 1`, `path`, `adamw, sgd`, `int, all`."""
    is_place = any(getattr(one, "func", None) is at_home for one in field.metadata)
    limits = [f"{sign} {getattr(one, name):g}" for one in field.metadata for name, sign in SIGNS if hasattr(one, name)]
    auto = ", auto" if any(isinstance(one, WrapValidator) for one in field.metadata) else ""  # `Count`
    kind = "path" if is_place else f"{_words(field.annotation)}{auto}"
    return " ".join([kind, ", ".join(limits)]).strip()


def _words(annotation: object) -> str:
    if annotation == Place:
        return "path"
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(inside[0])
    if origin is Literal:
        return ", ".join(map(str, inside))
    if origin in (Union, types.UnionType):
        return ", ".join(_words(one) for one in inside if one is not type(None))
    if origin is list:
        return f"list of {_words(inside[0])}"
    return {str: "text", dict: "mapping"}.get(annotation, getattr(annotation, "__name__", str(annotation)))
