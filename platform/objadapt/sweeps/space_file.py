"""Search spaces from YAML, checked: unknown keys, values that the config refuses and impossible conditions are named.

metric: top1          # a validation metric of the summary; for two heads top1 is that of the action
mode: max
holdout: 0.2          # share of the training clips that trials are judged on
trials: 20
sampler: tpe
pruner: none
parameters:
  training.lr: {log_uniform: [1e-4, 1e-2], points: 5}  # points: values of a grid
  sampling.frames: {choice: [4, 8]}
  method.interval:                                           # one key, other values under other conditions
    - {choice: [1, 2, all], when: {sampling.frames: 4}}
    - {choice: [1, 2, 4, all], when: {sampling.frames: 8}}
"""

from itertools import combinations
from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    ValidationError,
    field_validator,
    model_validator,
)

from ..config import Experiment, Section
from ..config_file import read_yaml
from ..config_methods import SECTIONS, ObjectCentric
from ..errors import InputError
from .space import FEATURES, Parameter, SearchSpace, Value

SAMPLERS = ("tpe", "random", "grid", "cmaes", "nsga2")
PRUNERS = ("asha", "median", "none")
SEARCHED = (*FEATURES, "method", "training")  # the other sections say what is compared on what, and where
MOST_POINTS = 10_000  # of a grid over one range
KINDS = ("choice", "uniform", "log_uniform", "integer")


class _Alternative(BaseModel):
    """The values of a key, all the time or under a condition."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    choice: tuple[Value, ...] | None = Field(None, min_length=1)
    uniform: tuple[StrictFloat, StrictFloat] | None = None
    log_uniform: tuple[StrictFloat, StrictFloat] | None = None
    integer: tuple[StrictInt, StrictInt] | None = None  # both ends included
    points: StrictInt | None = Field(None, ge=2, le=MOST_POINTS)
    when: dict[str, tuple[Value, ...]] = {}

    @field_validator("when", mode="before")
    @classmethod
    def _one_or_several(cls, when):
        return {key: v if isinstance(v, list) else [v] for key, v in when.items()} if isinstance(when, dict) else when

    @model_validator(mode="after")
    def _check(self):
        kinds = [kind for kind in ("choice", "uniform", "log_uniform", "integer") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError("give one of choice, uniform, log_uniform, integer")
        if never := [key for key, values in self.when.items() if not values]:
            raise ValueError(f"when: {never[0]} has no value, so this would never vary; give one")
        values = getattr(self, kinds[0])
        if kinds == ["choice"]:
            # 1 and 1.0 are one value, True and 1 are not
            if len({(isinstance(value, bool), value) for value in values}) < len(values):
                raise ValueError("choice: a value is there twice")
            if self.points:
                raise ValueError("points: belongs to a range; a grid takes every choice")
        elif not values[0] < values[1]:
            raise ValueError(f"{kinds[0]}: the first end must be below the second")
        elif kinds == ["log_uniform"] and values[0] <= 0:
            raise ValueError("log_uniform: both ends must be above 0")
        return self


class _File(BaseModel):
    """What a file may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = "top1"
    mode: Literal["max", "min"] | None = None  # of a loss min, else max
    holdout: StrictFloat = Field(0.2, gt=0, lt=1)
    trials: StrictInt = Field(20, ge=1)
    sampler: Literal[SAMPLERS] = "tpe"
    pruner: Literal[PRUNERS] = "none"
    parameters: dict[str, tuple[_Alternative, ...]] = Field(min_length=1)

    @field_validator("parameters", mode="before")
    @classmethod
    def _one_or_several(cls, parameters):
        if not isinstance(parameters, dict):
            return parameters
        # an empty list would be a parameter that disappears
        return {key: value if isinstance(value, list) and value else [value] for key, value in parameters.items()}


def load_space(path: str | Path) -> SearchSpace:
    """Read and check a search space.

    Raises:
        InputError: unreadable file, unknown key (of the file or of the config), value out of range, impossible
            condition.
    """
    path = Path(path)
    try:
        content = _File.model_validate(read_yaml(path, f"search space {path}"))
    except ValidationError as error:
        raise InputError(f"search space {path}: {'; '.join(_problem(item) for item in error.errors())}") from None
    parameters: list[Parameter] = []
    for name, alternatives in content.parameters.items():
        try:
            found = [_parameter(name, alternative, len(alternatives) > 1) for alternative in alternatives]
            for parameter in found:
                _check_values(parameter)
                _check_condition(parameter, parameters)
            for one, other in combinations(found, 2):
                shared = one.when.keys() & other.when.keys()
                if all(set(one.when[key]) & set(other.when[key]) for key in shared):
                    remedy = "give them a `when` on one key with different values"
                    raise InputError(f"two of its alternatives may hold at once; {remedy}")
        except InputError as error:
            raise InputError(f"search space {path}: parameters.{name}: {error}") from None
        parameters += found
    settings = content.model_dump(exclude={"parameters"})
    settings["mode"] = content.mode or ("min" if content.metric == "loss" else "max")
    return SearchSpace(path.stem, parameters=tuple(parameters), **settings)


def _problem(item: dict) -> str:
    """One error of pydantic's in our form; the number of an only alternative means nothing to who wrote none."""
    place = ".".join(str(part) for part in item["loc"])
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        known = _Alternative if len(item["loc"]) > 1 else _File
        message = f"unknown key; known here: {', '.join(known.model_fields)}"
    return f"{place}: {message}" if place else f"must be a mapping of keys ({message})"


def _parameter(key: str, alternative: _Alternative, one_of_several: bool) -> Parameter:
    condition = ", ".join(f"{name}={'|'.join(map(str, values))}" for name, values in alternative.when.items())
    name = f"{key} [{condition}]" if one_of_several else key  # in a study, a name keeps its choices
    kind = next(kind for kind in KINDS if getattr(alternative, kind) is not None)
    return Parameter(key, name, kind, getattr(alternative, kind), alternative.points, alternative.when)


def _check_values(parameter: Parameter) -> None:
    """The key is a config key that may vary, and its section takes each choice or both ends."""
    section, *inner = parameter.key.split(".")
    if section not in SEARCHED or not inner:
        raise InputError(f"not a key that a sweep may vary; those are in the sections {', '.join(SEARCHED)}")
    model = Experiment
    for part in parameter.key.split("."):
        if model is dict:  # the settings of a method of one's own, which reads them when it is built
            return
        if not _is_section(model):
            raise InputError("unknown key of the config")
        if part not in model.model_fields:
            raise InputError(f"unknown key of the config; known beside it: {', '.join(model.model_fields)}")
        owner, model = model, model.model_fields[part].annotation
        if part == "method" and owner is Experiment:
            model = next((one for one in SECTIONS.values() if inner[0] in one.model_fields), ObjectCentric)
    if _is_section(model):
        raise InputError(f"a section, not a value; vary one of {', '.join(model.model_fields)}")
    if section in FEATURES and parameter.kind != "choice":
        raise InputError("decides the features, which are extracted beforehand; give the values as `choice`")
    field = parameter.key.split(".")[-1]
    for value in parameter.values:
        try:
            owner.model_validate({field: value})
        except ValidationError as error:
            raise InputError(f"{error.errors()[0]['msg'].removeprefix('Value error, ')} (got {value!r})") from None


def _is_section(model: object) -> bool:
    return isinstance(model, type) and issubclass(model, Section)


def _check_condition(parameter: Parameter, earlier: list[Parameter]) -> None:
    for key, allowed in parameter.when.items():
        named = [other for other in earlier if other.key == key]
        if not named:
            raise InputError(f"when: {key} is no parameter above it in this file")
        if any(other.kind != "choice" for other in named):
            raise InputError(f"when: {key} is a range; a condition needs a parameter with choices")
        values = [value for other in named for value in other.values]
        if unknown := [value for value in allowed if value not in values]:
            raise InputError(f"when: {key} is never {unknown[0]!r}; its choices are {', '.join(map(str, values))}")
