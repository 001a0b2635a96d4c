"""Search spaces: every fault of a file is named with its key, conditions hold in every draw,
a grid has each point once.
"""

from itertools import product
from pathlib import Path

import optuna
import pytest
import yaml

from objadapt.config import Experiment
from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.sweeps.space_file import load_space

REPOSITORY = Path(__file__).resolve().parents[2]
TAU = "method.losses.distillation.slot_temperature"


@pytest.fixture
def space(tmp_path):
    """`space(parameters, key=value, ...)`: what a file with them says."""

    def make(parameters: object, **settings):
        (tmp_path / "space.yaml").write_text(yaml.safe_dump({**settings, "parameters": parameters}, sort_keys=False))
        return load_space(tmp_path / "space.yaml")

    return make


ODD = {
    "unknown setting": ({"trails": 3}, {TAU: {"uniform": [0.1, 0.2]}}, "trails: unknown key; known here: metric, mode"),
    "no holdout": ({"holdout": 0}, {TAU: {"uniform": [0.1, 0.2]}}, "holdout: .*greater than 0"),
    "all held out": ({"holdout": 1.0}, {TAU: {"uniform": [0.1, 0.2]}}, "holdout: .*less than 1"),
    "unknown sampler": ({"sampler": "genetic"}, {TAU: {"uniform": [0.1, 0.2]}}, "sampler: .*'tpe'"),
    "no parameters": ({}, {}, "parameters: "),
    "parameters no mapping": ({}, [1], "parameters: "),
    "unknown kind": (
        {},
        {TAU: {"normal": [0, 1]}},
        f"parameters.{TAU}.0.normal: unknown key; known here: choice, uniform",
    ),
    "two kinds": ({}, {TAU: {"uniform": [0.1, 0.2], "choice": [0.1]}}, f"{TAU}.0: give one of choice, uniform"),
    "no kind": ({}, {TAU: {"points": 3}}, f"{TAU}.0: give one of choice, uniform"),
    "no mapping": ({}, {TAU: 3}, f"{TAU}.0: "),
    "empty choice": ({}, {TAU: {"choice": []}}, f"{TAU}.0.choice: "),
    "a list as a choice": ({}, {TAU: {"choice": [[0.1]]}}, f"{TAU}.0.choice.0"),
    "choice twice": (
        {},
        {"method.slots.number": {"choice": [4, 8, 4]}},
        "method.slots.number.0: choice: a value is there twice",
    ),
    "choice twice in other words": ({}, {TAU: {"choice": [1, 0.5, 1.0]}}, "choice: a value is there twice"),
    "no alternative": ({}, {TAU: []}, f"parameters.{TAU}.0: "),
    "holdout in quotes": ({"holdout": "0.2"}, {TAU: {"uniform": [0.1, 0.2]}}, "holdout: .*valid number"),
    "trials are a switch": ({"trials": True}, {TAU: {"uniform": [0.1, 0.2]}}, "trials: .*valid integer"),
    "trials are no whole number": ({"trials": 3.0}, {TAU: {"uniform": [0.1, 0.2]}}, "trials: .*valid integer"),
    "range in quotes": ({}, {TAU: {"uniform": ["0.1", "0.2"]}}, f"{TAU}.0.uniform.0: .*valid number"),
    "range of switches": ({}, {"training.epochs": {"integer": [True, 3]}}, "training.epochs.0.integer.0: "),
    "no whole numbers": ({}, {"training.epochs": {"integer": [1.0, 2.0]}}, "training.epochs.0.integer.0: .*integer"),
    "endless points": ({}, {TAU: {"uniform": [0.1, 0.2], "points": 10**9}}, f"{TAU}.0.points: .*10000"),
    "condition without a value": (
        {},
        {"sampling.frames": {"choice": [4, 8]}, TAU: {"uniform": [0.1, 0.2], "when": {"sampling.frames": []}}},
        f"{TAU}.0: when: sampling.frames has no value",
    ),
    "points of a choice": ({}, {TAU: {"choice": [0.1, 0.2], "points": 2}}, "points: belongs to a range"),
    "one point": ({}, {TAU: {"uniform": [0.1, 0.2], "points": 1}}, f"{TAU}.0.points"),
    "turned range": ({}, {TAU: {"uniform": [0.2, 0.1]}}, "uniform: the first end must be below the second"),
    "half a range": ({}, {TAU: {"uniform": [0.2]}}, f"{TAU}.0.uniform"),
    "logarithm of 0": ({}, {TAU: {"log_uniform": [0, 1]}}, "log_uniform: both ends must be above 0"),
    "infinite": ({}, {TAU: {"uniform": [0.1, float("inf")]}}, f"{TAU}.0.uniform.1: .*finite"),
    "not a number": ({}, {TAU: {"uniform": [float("nan"), 1]}}, f"{TAU}.0.uniform.0: .*finite"),
    "unknown config key": (
        {},
        {"method.slotss": {"choice": [4]}},
        "method.slotss: unknown key of the config; known beside it: name, w",
    ),
    "below a value": ({}, {"method.width.small": {"choice": [4]}}, "method.width.small: unknown key of the config"),
    "a section": ({}, {"method.losses.temporal": {"choice": [1]}}, "method.losses.temporal: a section, not a value"),
    "data": ({}, {"data.holdout": {"choice": [0.1]}}, "data.holdout: not a key that a sweep may vary"),
    "seed": ({}, {"seed": {"choice": [0, 1]}}, "seed: not a key that a sweep may vary"),
    "a whole section": ({}, {"method": {"choice": [0, 1]}}, "parameters.method: not a key that a sweep may vary"),
    "refused value": (
        {},
        {"method.slots.number": {"choice": [4, 0]}},
        r"must be at least 1, or 'none' \(got 0\)",
    ),
    "refused end": ({}, {TAU: {"uniform": [-1, 1]}}, rf"{TAU}: .*greater than 0 \(got -1.0\)"),
    "wrong type": ({}, {"training.lr": {"choice": ["fast"]}}, r"training.lr: .*number \(got 'fast'\)"),
    "fractions of slots": ({}, {"method.slots.number": {"uniform": [1, 4]}}, "method.slots.number: "),
    "features in a range": ({}, {"sampling.frames": {"integer": [4, 8]}}, "sampling.frames: decides the features"),
    "condition on nothing": (
        {},
        {"method.width": {"choice": [8], "when": {"method.slots.number": 4}}},
        "when: method.slots.number is no parameter above",
    ),
    "condition on a range": (
        {},
        {
            "method.slots.iterations": {"integer": [1, 3]},
            "method.width": {"choice": [8], "when": {"method.slots.iterations": 2}},
        },
        "when: method.slots.iterations is a range",
    ),
    "impossible condition": (
        {},
        {
            "method.temporal": {"choice": ["attention"]},
            "method.width": {"choice": [8], "when": {"method.temporal": "none"}},
        },
        "when: method.temporal is never 'none'; its choices are attention",
    ),
    "alternatives at once": (
        {},
        {"method.width": [{"choice": [8]}, {"choice": [16]}]},
        "two of its alternatives may hold",
    ),
    "overlapping alternatives": (
        {},
        {
            "sampling.frames": {"choice": [4, 8]},
            "method.interval": [
                {"choice": [1], "when": {"sampling.frames": [4, 8]}},
                {"choice": [2], "when": {"sampling.frames": 8}},
            ],
        },
        "method.interval: two of its alternatives may hold at once",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_every_fault_is_named_with_the_file_and_the_key(space, case):
    settings, parameters, message = ODD[case]
    with pytest.raises(InputError, match=rf"^search space \S*space\.yaml: .*{message}") as raised:
        space(parameters, **settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "[1, 2]", "just words", "a: [", "\x00", "parameters: {", "&a [*a]"])
def test_a_file_that_is_no_space_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "odd.yaml").write_text(content)
    with pytest.raises(InputError, match=r"^search space \S*odd\.yaml: "):
        load_space(tmp_path / "odd.yaml")
    with pytest.raises(InputError, match="absent.yaml: No such file"):
        load_space(tmp_path / "absent.yaml")


def test_a_space_is_read_by_the_grammar_of_configs(tmp_path):
    (tmp_path / "rates.yaml").write_text("parameters:\n  training.lr: {choice: [1e-4, 1e-3]}\n")
    assert load_space(tmp_path / "rates.yaml").parameters[0].values == (1e-4, 1e-3)
    (tmp_path / "dates.yaml").write_text("metric: 2026-02-30\nparameters:\n  training.lr: {choice: [2026-02-30]}\n")
    with pytest.raises(InputError, match=r"training.lr: .*number \(got '2026-02-30'\)"):
        load_space(tmp_path / "dates.yaml")


CONDITIONAL = {
    "method.temporal": {"choice": ["state_change", "attention", "none"]},
    "sampling.frames": {"choice": [4, 8]},
    "method.interval": [
        {"choice": [1, "all"], "when": {"sampling.frames": 4, "method.temporal": "state_change"}},
        {"choice": [1, 2, "all"], "when": {"sampling.frames": 8, "method.temporal": "state_change"}},
    ],
    "method.losses.temporal.margin": {
        "uniform": [0.1, 0.9],
        "points": 3,
        "when": {"method.temporal": ["state_change", "attention"]},
    },
}


def test_a_grid_has_each_point_once_and_nothing_whose_condition_fails(space):
    found = space(CONDITIONAL)
    points = [found.by_key(point) for point in found.grid()]
    expected = []
    for temporal, frames in product(["state_change", "attention", "none"], [4, 8]):
        intervals = ([1, "all"] if frames == 4 else [1, 2, "all"]) if temporal == "state_change" else [None]
        margins = [None] if temporal == "none" else [0.1, 0.5, 0.9]
        for interval, margin in product(intervals, margins):
            point = {"method.temporal": temporal, "sampling.frames": frames}
            point |= {"method.interval": interval} if interval else {}
            expected.append(point | ({"method.losses.temporal.margin": pytest.approx(margin)} if margin else {}))
    assert points == expected


def test_a_grid_over_a_range_is_even_and_has_both_ends(space):
    found = space(
        {
            "training.lr": {"log_uniform": [1e-4, 1e-2], "points": 3},
            "training.weight_decay": {"uniform": [0.0, 0.3], "points": 4},
            "method.slots.iterations": {"integer": [1, 4], "points": 6},
        }
    )
    lr, decay, iterations = (parameter.grid() for parameter in found.parameters)
    assert lr == pytest.approx([1e-4, 1e-3, 1e-2]) and (lr[0], lr[-1]) == (1e-4, 1e-2)
    assert decay == pytest.approx([0.0, 0.1, 0.2, 0.3]) and (decay[0], decay[-1]) == (0.0, 0.3)
    assert iterations == [1, 2, 3, 4]
    with pytest.raises(InputError, match="parameters.training.lr: a grid over a range needs `points`"):
        list(space({"training.lr": {"uniform": [0.1, 0.2]}}).grid())


def test_what_optuna_draws_keeps_the_conditions_and_makes_a_valid_config(space):
    found, study, seen = space(CONDITIONAL), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), set()
    for _ in range(60):
        trial = study.ask()
        found(trial)
        values = found.by_key(trial.params)
        config = found.config(Experiment(), trial.params)
        assert ("method.interval" in values) == (values["method.temporal"] == "state_change")
        assert (
            config.sampling.frames == values["sampling.frames"] and config.method.temporal == values["method.temporal"]
        )
        if "method.interval" in values:
            assert config.method.interval == values["method.interval"]
            seen.add((values["sampling.frames"], values["method.interval"]))
        if "method.losses.temporal.margin" not in values:
            assert config.method.losses.temporal.margin == Experiment().method.losses.temporal.margin
    assert seen == {(4, 1), (4, "all"), (8, 1), (8, 2), (8, "all")}


def test_every_combination_of_choices_is_checked_before_a_sweep(space):
    found = space({"method.interval": {"choice": [1, 4]}, "sampling.frames": {"choice": [8, 4]}})
    with pytest.raises(
        InputError, match="space at method.interval=4, sampling.frames=4: method.interval: 4 is not below"
    ):
        found.check(Experiment())


def test_settings_of_a_method_of_one_s_own_may_vary(space):
    found = space({"method.settings.depth": {"choice": [1, 2]}, "method.settings.head.width": {"integer": [3, 4]}})
    base = load_config(None, ["method.module=my.method", "method.settings.rate=0.5"])
    config = found.config(base, {"method.settings.depth": 2, "method.settings.head.width": 3})
    assert config.method.settings == {"rate": 0.5, "depth": 2, "head": {"width": 3}}
    with pytest.raises(InputError, match=r"method\.settings: unknown key; known here: label_smoothing, name"):
        found.check(load_config(None, ["method.name=linear_probe"]))


def test_a_loss_is_best_where_it_is_least(space):
    assert space({TAU: {"uniform": [0.1, 0.2]}}, metric="loss").mode == "min"
    assert space({TAU: {"uniform": [0.1, 0.2]}}, metric="loss", mode="max").mode == "max"
    assert space({TAU: {"uniform": [0.1, 0.2]}}).mode == "max"


def test_the_configs_for_features_cover_what_the_backbone_sees_once_each(space):
    configs = space(CONDITIONAL).feature_configs(Experiment())
    assert sorted(config.sampling.frames for config in configs) == [4, 8]
    assert len(space({TAU: {"uniform": [0.1, 0.2]}}).feature_configs(Experiment())) == 1
    flips = {
        "method.temporal": {"choice": ["none", "attention"]},
        "transform.flip": {"choice": [True, False], "when": {"method.temporal": "attention"}},
    }
    configs = space(flips).feature_configs(Experiment())
    assert sorted(str(config.transform.flip) for config in configs) == ["False", "None", "True"]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "search_spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_spaces_of_the_repository_fit_the_toy_config(path):
    found = load_space(path)
    found.check(load_config(REPOSITORY / "jobs" / "configs" / "toy.yaml"))
    assert 0 < found.holdout < 1 and sum(1 for _ in found.grid()) >= found.trials


def test_the_spaces_vary_what_they_are_named_for():
    files = (REPOSITORY / "search_spaces").glob("*.yaml")
    keys = {path.stem: {parameter.key for parameter in load_space(path).parameters} for path in files}
    assert keys["temperature_margin"] == {
        TAU,
        "method.losses.temporal.margin",
        "method.losses.distillation.weight",
        "method.losses.temporal.weight",
    }
    assert keys["architecture"] == {
        "sampling.frames",
        "method.slots.number",
        "method.width",
        "method.slots.iterations",
        "method.interval",
    }
