"""A metric is one value: its header, its unit, and its number in a run's summary agree."""

import math

import pytest

from objadapt.metric import JF, METRICS, TOP1, stored_name
from objadapt.runs.object_test import MEASURES


def test_every_metric_is_found_by_its_name_and_says_its_unit():
    for name, metric in METRICS.items():
        assert metric.name == name and metric.unit in metric.title and 0 <= metric.decimals <= 3
        assert (metric.units is None) == (metric.kind in ("norm", "cost", "time"))
    assert METRICS["gflops"].title == "total GFLOPs" and METRICS["tunable_parameters"].title == "parameters (M)"
    assert METRICS["foreground_norm"].title == "norm, foreground" and JF.title == "DAVIS J&F (%)"
    masks = {name for name, metric in METRICS.items() if metric.kind == "masks" and not metric.of_discovery}
    assert masks == MEASURES.keys()


@pytest.mark.parametrize(
    "name, stored, value, text",
    [
        ("top1", 0.716, 71.6, "71.6 %"),
        ("davis_jf", 0.5, 50, "50.0 %"),
        ("tunable_parameters", 6_500_000, 6.5, "6.500 M"),
        ("gflops", 281, 281, "281.0 GFLOPs"),
        ("foreground_norm", 20.576, 20.576, "20.58"),
    ],
)
def test_a_summary_s_number_is_shown_in_the_unit(name, stored, value, text):
    metric = METRICS[name]
    assert metric.value({name: stored}) == pytest.approx(value) and metric.text(metric.value({name: stored})) == text


def test_what_is_no_number_is_none():
    """Clips without labels have no accuracy; a damaged summary holds anything."""
    for summary in ({}, {"top1": None}, {"top1": math.nan}, {"top1": "high"}):
        assert TOP1.value(summary) is None


def test_of_verb_and_noun_the_accuracy_is_that_of_the_action():
    summary = {"action_top1": 0.49, "verb_top1": 0.71, "noun_top1": 0.61}
    assert {name: METRICS[name].value(summary) for name in ("top1", "verb_top1", "noun_top1")} == {
        "top1": 49,
        "verb_top1": 71,
        "noun_top1": 61,
    }
    assert stored_name("top1", summary) == "action_top1" and stored_name("top1", {"top1"}) == "top1"
