"""A search space: which config keys a sweep varies, over which values,
under which conditions (space_file.py reads it).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np

from ..config import Experiment
from ..config_file import validate
from ..errors import InputError

Value = None | bool | int | float | str
FEATURES = ("sampling", "transform", "backbone")  # sections that decide what features are; their parameters are choices
CHECKED = 10_000  # combinations of choices that are validated before a sweep begins


@dataclass(frozen=True)
class Parameter:
    """A config key and the values that it takes under a condition."""

    key: str
    name: str  # of the study: the key, followed by the condition where the key has several alternatives
    kind: Literal["choice", "uniform", "log_uniform", "integer"]
    values: tuple[Value, ...]  # the choices, or both ends of a range (included)
    points: int | None  # of a grid over the range
    when: dict[str, tuple[Value, ...]]  # earlier key -> values for which the parameter exists

    def active(self, chosen: dict[str, Value]) -> bool:
        """Whether its condition holds for the values chosen before it, by config key."""
        return all(key in chosen and chosen[key] in allowed for key, allowed in self.when.items())

    def suggest(self, trial: Any) -> Value:
        """Ask an Optuna trial for a value."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.name, self.values)
        if self.kind == "integer":
            return trial.suggest_int(self.name, *self.values)
        return trial.suggest_float(self.name, *self.values, log=self.kind == "log_uniform")

    def grid(self) -> list[Value]:
        """Every choice, or `points` values of the range, evenly apart (in the logarithm, where it is one)."""
        if self.kind == "choice":
            return list(self.values)
        if not self.points:
            raise InputError(
                f"parameters.{self.key}: a grid over a range needs `points`, how many values; or use choice"
            )
        spaced = np.geomspace if self.kind == "log_uniform" else np.linspace
        inner = spaced(*self.values, self.points)[
            1:-1
        ].tolist()  # the ends as they are written, without rounding errors
        points = [self.values[0], *inner, self.values[1]]
        return list(dict.fromkeys(round(point) for point in points)) if self.kind == "integer" else points


@dataclass(frozen=True)
class SearchSpace:
    """A checked space. Called with an Optuna trial it suggests the values of one configuration (a closure would not
    pickle).
    """

    name: str
    metric: str  # of the validation; `top1` of two heads is that of the action
    mode: Literal["max", "min"]
    holdout: float  # share of the training clips that trials are judged on
    trials: int
    sampler: str
    pruner: str
    parameters: tuple[Parameter, ...]

    def __call__(self, trial: Any) -> None:
        chosen: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.active(chosen):
                chosen[parameter.key] = parameter.suggest(trial)

    def by_key(self, params: dict[str, Value]) -> dict[str, Value]:
        """Values by their names in the study -> by config key."""
        keys = {parameter.name: parameter.key for parameter in self.parameters}
        return {keys[name]: value for name, value in params.items()}

    def grid(self, varied: Collection[str] | None = None) -> Iterator[dict[str, Value]]:
        """Every point once, as {name: value}; a parameter whose condition fails is absent.

        Args:
            varied: keys; any other parameter keeps its first value. None: all vary.

        Raises:
            InputError: a range that varies does not say `points`.
        """

        def points(at: int, chosen: dict[str, Value]) -> Iterator[dict[str, Value]]:
            if at == len(self.parameters):
                yield {}
                return
            parameter = self.parameters[at]
            if not parameter.active(chosen):
                yield from points(at + 1, chosen)
                return
            varies = varied is None or parameter.key in varied
            for value in parameter.grid() if varies else parameter.values[:1]:
                for rest in points(at + 1, chosen | {parameter.key: value}):
                    yield {parameter.name: value} | rest

        return points(0, {})

    def config(self, base: Experiment, params: dict[str, Value]) -> Experiment:
        """The config of a trial. `InputError` where its values exclude each other."""
        tree = base.model_dump()
        for key, value in self.by_key(params).items():
            *sections, field = key.split(".")
            node = tree
            for section in sections:
                node = node.setdefault(section, {})  # within `method.settings` nothing need be there
            node[field] = value
        shown = ", ".join(f"{key}={value}" for key, value in self.by_key(params).items())
        return validate(tree, source=f"search space {self.name} at {shown}")

    def feature_configs(self, base: Experiment) -> list[Experiment]:
        """One config for each combination of what the backbone sees.

        Together they need every feature that trials need.
        """
        varied = {parameter.key for parameter in self.parameters if parameter.key.startswith(FEATURES)}
        for parameter in reversed(self.parameters):  # conditions name earlier parameters only
            if parameter.key in varied:
                varied |= parameter.when.keys()
        found = {}
        for point in self.grid(varied):
            config = self.config(base, point)
            found.setdefault(repr([getattr(config, section) for section in FEATURES]), config)
        return list(found.values())

    def check(self, base: Experiment) -> None:
        """Validate every combination of choices (the first 10,000 of them), ranges at their lower end, and what the
        sampler and the pruner need.

        Raises:
            InputError: values that the config refuses, or settings that exclude each other.
        """
        keys = {parameter.key for parameter in self.parameters}
        if self.sampler == "nsga2" and self.pruner != "none":
            raise InputError("--pruner: nsga2 weighs two objectives, and schedulers prune by one; use --pruner none")
        if self.pruner != "none" and "training.epochs" in keys:
            raise InputError(
                "--pruner: trials of different training.epochs cannot be compared half-way; use --pruner none"
            )
        if self.pruner != "none" and 0 < base.training.epochs <= base.training.validate_every:
            raise InputError(
                "--pruner: trials are validated at their end alone; use training.validate_every=1 or --pruner none"
            )
        if self.sampler == "cmaes" and sum(parameter.kind != "choice" for parameter in self.parameters) < 2:
            raise InputError("--sampler: cmaes needs at least two parameters that are ranges; use tpe")
        choices = {parameter.key for parameter in self.parameters if parameter.kind == "choice"}
        for point in islice(self.grid(choices), CHECKED):
            self.config(base, point)
