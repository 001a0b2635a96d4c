"""Rates of a plan as a file and as `NAME=VALUE`: each number with its unit, hardware and source, checked when read."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..config import Experiment
from ..config_file import flat
from ..errors import InputError
from .phases import UNITS, Rate

MEASURED = "measured_with"  # beside the rates of a file: the settings by which they differ most
DECIDE = (
    "sampling.frames transform.size backbone.library backbone.name backbone.pruning method.name stream.storage".split()
)


def read_rates(path: str | Path) -> tuple[dict[str, Rate], dict[str, object]]:
    """A file of `write_rates` -> its rates, and the settings that they were measured with; InputError where it is none.

    A file of older versions has no settings.
    """
    try:
        tree = json.loads(Path(path).read_text())
        settings = dict(tree.pop(MEASURED, {}))
        rates = {name: Rate(**one) for name, one in tree.items()}
    except OSError as error:
        raise InputError(f"--rates: {path}: {error.strerror}; write one by --measure --write-rates FILE") from None
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"--rates: {path} is no file of rates; write one by --measure --write-rates FILE") from None
    for name, rate in rates.items():
        _check(name, rate, f"--rates: {path}: ")
    return rates, settings


def write_rates(path: str | Path, rates: dict[str, Rate], config: Experiment) -> None:
    """Write rates as JSON, with the settings that decide them."""
    tree = {name: asdict(rate) for name, rate in rates.items()} | {MEASURED: deciding(config)}
    Path(path).write_text(json.dumps(tree, indent=2) + "\n")


def deciding(config: Experiment) -> dict[str, object]:
    """The settings of a config that decide how fast it is and how many bytes it stores."""
    settings = flat(config.model_dump(mode="json"))
    return {key: settings.get(key) for key in DECIDE}


def of_another(config: Experiment, measured: dict[str, object]) -> str:
    """`sampling.frames was 32 and is 8`: in what rates were measured with other settings; "" where in nothing."""
    now = deciding(config)
    return ", ".join(
        f"{key} was {measured[key]} and is {now[key]}" for key in measured if now.get(key) != measured[key]
    )


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
