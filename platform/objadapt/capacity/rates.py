"""Rates of a plan as a file and as `NAME=VALUE`: each number with its unit, hardware and source, checked when read."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..errors import InputError
from .phases import UNITS, Rate


def read_rates(path: str | Path) -> dict[str, Rate]:
    """A file of `write_rates`; InputError where it is none."""
    try:
        tree = json.loads(Path(path).read_text())
        rates = {name: Rate(**one) for name, one in tree.items()}
    except OSError as error:
        raise InputError(f"--rates: {path}: {error.strerror}; write one by --measure --write-rates FILE") from None
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"--rates: {path} is no file of rates; write one by --measure --write-rates FILE") from None
    for name, rate in rates.items():
        _check(name, rate, f"--rates: {path}: ")
    return rates


def write_rates(path: str | Path, rates: dict[str, Rate]) -> None:
    """Write rates as JSON."""
    Path(path).write_text(json.dumps({name: asdict(rate) for name, rate in rates.items()}, indent=2) + "\n")


def given_rate(text: str, device: Callable[[str], str]) -> tuple[str, Rate]:
    """`"encode=850"` -> its name and rate, of the device that the config places the stage on (`Work.device`)."""
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        raise InputError(f"--rate: {text!r} is not of the form NAME=NUMBER, such as decode=12.5") from None
    unit = f"clips/s a {device(name)}" if name in ("encode", "train") else UNITS.get(name, ("",))[0]
    rate = Rate(number, unit, "not said", "--rate")
    _check(name, rate, "--rate: ")
    return name, rate


def _check(name: str, rate: Rate, where: str) -> None:
    if name not in UNITS:
        raise InputError(f"{where}{name!r} is no rate; there are {', '.join(UNITS)}")
    if rate.unit not in UNITS[name]:
        raise InputError(f"{where}{name} is in {rate.unit!r}; give it in {' or '.join(UNITS[name])}")
    number = isinstance(rate.value, (int, float)) and not isinstance(rate.value, bool) and math.isfinite(rate.value)
    if not number or not (rate.value > 0 or rate.value == 0 and name == "start"):
        raise InputError(f"{where}{name} is {rate.value}; give a number above 0")
