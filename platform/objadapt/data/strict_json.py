"""JSON read strictly: where it is cut off, and what is in it twice, is told."""

import json

from ..errors import InputError
from .annotation_file import AGAIN, text_of


def read_json(path: str) -> object:
    """A JSON file; InputError, with line and column, where it is damaged or cut off, or an object has a key twice."""
    text = text_of(path, "JSON")
    try:
        return json.loads(text, object_pairs_hook=keys_once)
    except KeyTwice as error:
        raise InputError(f"{path}: {error}; JSON would keep the last alone: correct the file") from None
    except RecursionError:
        raise InputError(f"{path}: not valid JSON (nested without end); {AGAIN}") from None
    except ValueError as error:
        whole = text.rstrip("\0 \t\r\n")
        ends = {"[": "]", "{": "}"}.get(text.lstrip()[:1])
        cut = (
            not whole
            or (ends and not whole.endswith(ends))
            or getattr(error, "pos", 0) >= len(whole)
            or "\0" in text[-1:]
        )
        cut = cut or "Unterminated string" in str(error)
        wrong = "not valid JSON: it is cut off" if cut else "not valid JSON"
        raise InputError(f"{path}: {wrong} ({error}); {AGAIN}") from None


class KeyTwice(ValueError):
    """An object of a JSON file has a key twice."""


def keys_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """`object_pairs_hook` of JSON that is read strictly; KeyTwice names the key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise KeyTwice(f"{next(key for key in keys if keys.count(key) > 1)!r} is there twice in one object")
    return found
