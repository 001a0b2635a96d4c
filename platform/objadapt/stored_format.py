"""The number that checkpoints, run folders, caches, tables and sweeps carry, and what older ones become when they are
read.

    format 1    has no number (caches: 1); the config's keys are `model.*` and `objective.*`
    format 2    the number, and the version of objadapt that wrote it; the config's keys are `method.*`

Whoever changes what is stored raises `FORMAT`, adds the function that makes the new form out of the old one, and stores
an example of the old form under tests/examples.
"""

import copy
import json
from pathlib import Path

from . import __version__
from .errors import InputError

FORMAT = 2
RUN = "run.json"  # in a run's folder: its format, and what makes its identity
SLOTS = {"num_slots": "number", "iterations": "iterations", "slot_mlp": "mlp", "implicit": "implicit"}


def marks() -> dict:
    """What a file that is written now says of itself."""
    return {"format": FORMAT, "objadapt": __version__}


def format_of(tree: dict, where: object) -> int:
    """Format of what a file holds.

    Args:
        where: what the message begins with.

    Raises:
        InputError: it is newer than what this version reads, or no number.
    """
    number = tree.get("format", 1)
    if type(number) is not int or number < 1:
        raise InputError(f"{where}: damaged, its format is {number!r}; use another one")
    if number > FORMAT:
        able = f"objadapt >= {tree['objadapt']}" if "objadapt" in tree else "a newer objadapt"
        raise InputError(
            f"{where}: written by a newer objadapt (format {number}); this one reads up to {FORMAT}; use {able}"
        )
    return number


def current_config(tree: dict, number: int) -> dict:
    """A stored config with the keys of today; TypeError where it is no mapping.

    Args:
        number: the format in which it was stored.
    """
    if not isinstance(tree, dict):
        raise TypeError(f"a config is a mapping, not {type(tree).__name__}")
    return migrate_config(tree) if number < 2 else tree


def migrate_config(tree: dict) -> dict:
    """A config of format 1 as one of format 2: `model.X` and `objective.X` become `method.X` and `method.losses.X`."""
    tree = copy.deepcopy(tree)
    model, losses = tree.pop("model", None), tree.pop("objective", None)
    if model is not None:
        slots = {new: model.pop(old) for old, new in SLOTS.items() if old in model}
        tree["method"] = tree.get("method", {}) | model | ({"slots": slots} if slots else {})
    if losses is not None:
        tree["method"] = tree.get("method", {}) | {"losses": losses}
    return tree


def read_run(folder: Path) -> dict:
    """What a run's folder says of its identity; {} in format 1.

    Raises:
        InputError: damaged, or newer than what this version reads.
    """
    return read_marked(folder / RUN, "train the run again in another folder", folder)


def json_object(path: Path) -> dict | None:
    """The object that a JSON file holds; None where it is damaged or holds something else.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    try:
        tree = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


def read_marked(path: Path, remedy: str, where: object = None) -> dict:
    """A JSON object that says its format; {} where there is no such file.

    Args:
        remedy: what to do where it is damaged.
        where: what the message about a newer format begins with, in place of the path.

    Raises:
        InputError: damaged, or newer than what this version reads.
    """
    try:
        tree = json_object(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; {remedy}") from None
    if tree is None:
        raise InputError(f"{path}: damaged, not a JSON object; {remedy}")
    format_of(tree, where or path)
    return tree
