"""Claims name their metric: J&F is judged over sequences, a norm over seeds, a cost exactly."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from objadapt.errors import InputError
from objadapt.evaluation.segmentation import MEASURES, mean_scores
from objadapt.metric import METRICS
from objadapt.tables.claims import Claim, parse_claims
from objadapt.tables.outcome import RowResult, outcome
from objadapt.tables.scores import scores_of
from objadapt.tables.table import load_table, table_names
from objadapt.tables.verdict import judge

COLUMNS = ["davis_jf", "verb_top1", "gflops", "norm_ratio"]
ENTRY = {"text": "a beats b", "kind": "better", "rows": ["a", "b"]}


def claim(metric: str, kind: str = "better", rows: tuple[str, ...] = ("a", "b"), **more) -> Claim:
    return Claim("a claim", kind, rows, metric=METRICS[metric], **more)


def test_a_claim_is_about_the_metric_that_it_names_or_the_table_s_first():
    named, not_named = parse_claims([ENTRY | {"metric": "gflops"}, ENTRY], ["a", "b"], "mine.yaml", COLUMNS)
    assert named.metric is METRICS["gflops"] and not_named.metric is METRICS["davis_jf"]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"metric": "jf"}, "metric: 'jf' is unknown; the table's metrics are davis_jf, verb_top1, gflops, norm_ratio"),
        ({"metric": ["gflops"]}, "metric: ['gflops'] is unknown; the table's metrics"),
        ({"metric": None}, "metric: None is unknown"),
        (
            {"metric": "noun_top1"},
            "metric: noun_top1 is no column of the table; add it to metrics (the",
        ),
        ({"value": 1}, "value: only kind above has one; remove it"),
        ({"kind": "above"}, "value: None is no number; give what the rows are above"),
        ({"kind": "above", "value": True}, "value: True is no number"),
        ({"kind": "above", "value": 1, "rows": []}, "rows: above needs at least 1 rows"),
        ({"kind": "within", "metric": "gflops"}, "points: None is no margin of total GFLOPs; give a number above 0"),
        ({"kind": "within", "points": 100}, "points: 100 is no margin; give percentage points"),
    ],
)
def test_a_wrong_metric_margin_or_value_is_named(change, told):
    with pytest.raises(InputError) as error:
        parse_claims([ENTRY | change], ["a", "b"], "mine.yaml", COLUMNS)
    assert f"mine.yaml: claims[0] 'a beats b': {told}" in str(error.value) and "\n" not in str(error.value)


def test_a_margin_of_a_cost_is_in_its_unit():
    entry = ENTRY | {"kind": "within", "metric": "gflops", "points": 150}
    assert parse_claims([entry], ["a", "b"], "mine.yaml", COLUMNS)[0].points == 150


def test_every_shipped_claim_is_about_a_column_of_its_table():
    found = {name: load_table(name) for name in table_names()}
    about = {name: {claim.metric.name for claim in table.parsed_claims()} for name, table in found.items()}
    assert about["losses"] == {"top1", "davis_jf"}
    assert about["interaction"] == {"top1", "davis_jf", "adapter_gflops", "tunable_parameters"}
    assert about["state_change_norm"] == {"norm_ratio"}
    assert all(metrics <= found[name].metrics.keys() for name, metrics in about.items())


@pytest.mark.parametrize(
    "kind, a, b, verdict",
    [
        ("better", 17.8, 26.1, "holds"),
        ("better", 26.1, 17.8, "fails"),
        ("better", 17.8, 17.8, "fails"),
        ("within", 18.0, 17.8, "holds"),
        ("within", 20.0, 17.8, "fails"),
    ],
)
def test_less_cost_is_better_and_compared_exactly(kind, a, b, verdict):
    points = 2.0 if kind == "within" else None
    judged = judge(claim("gflops", kind, points=points), {"a": np.full((5, 1), a), "b": np.full((5, 1), b)})
    assert (judged.verdict, judged.p_value) == (verdict, None)
    assert judged.note == f"total GFLOPs: a {a:g}, b {b:g}; the same for every seed, so compared exactly"
    alone = judge(claim("gflops", kind, points=points), {"a": np.full((1, 1), a), "b": np.full((1, 1), b)})
    assert alone == judged, "one seed is enough"


def test_a_cost_s_peak_is_where_it_costs_least_and_above_stays_above():
    rows = {"a": np.full((1, 1), 3.0), "b": np.full((1, 1), 1.0), "c": np.full((1, 1), 2.0)}
    assert judge(claim("gflops", "peak", ("a", "b", "c")), rows).verdict == "holds"
    assert judge(claim("gflops", "peak", ("b", "a", "c")), rows).verdict == "fails"
    assert judge(claim("gflops", "above", ("a", "c"), value=1.5), rows).verdict == "holds"
    assert judge(claim("gflops", "above", ("a", "b"), value=1.5), rows).verdict == "fails"


def test_parameters_are_compared_in_millions():
    rows = {"a": np.full((2, 1), 6_500_000), "b": np.full((2, 1), 7_500_000)}
    assert judge(claim("tunable_parameters"), rows).note.startswith("parameters (M): a 6.5, b 7.5;")
    within = claim("tunable_parameters", "within", ("b", "a"), points=0.9)
    assert judge(within, rows).verdict == "fails"


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_norm_is_judged_by_the_t_interval_over_seeds(seeds):
    ratios = np.random.default_rng(seeds).normal(3, 0.8, seeds)
    judged = judge(claim("norm_ratio", "above", ("a",), value=1), {"a": ratios[:, None]}, samples=40_000)
    low, high = map(float, judged.note.partition("[")[2].partition("]")[0].split(", "))
    t = stats.ttest_1samp(ratios - 1, 0).confidence_interval(0.95)
    assert [low, high] == pytest.approx([t.low, t.high], abs=0.25 * (t.high - t.low) / 2)
    assert judged.note.startswith("norm, foreground / background: a over 1 +")
    assert judged.note.endswith("; one number a run, so only seeds are resampled: no statement about other data")


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_norm_that_is_not_above_is_seldom_called_so(seeds):
    """600 draws of the null hypothesis: 15 expected on each side; more than 27 once in 700 series."""
    drawn = np.random.default_rng(seeds).normal(1, 0.3, (600, seeds, 1))
    found = [judge(claim("norm_ratio", "above", ("a",), value=1), {"a": one}, samples=399).verdict for one in drawn]
    assert found.count("holds") <= 27 and found.count("fails") <= 27


def test_one_seed_decides_nothing_about_a_norm():
    judged = judge(claim("norm_ratio", "above", ("a",), value=1), {"a": np.full((1, 1), 9.0)})
    assert judged.verdict == "undecided" and judged.note.startswith("one seed decides nothing about one number a run")


def test_masks_are_judged_over_sequences():
    generator = np.random.default_rng(0)
    easy = generator.uniform(0.2, 0.6, 30)
    rows = {name: easy + plus + generator.normal(0, 0.01, (3, 30)) for name, plus in (("a", 0.05), ("b", 0.0))}
    judged = judge(claim("davis_jf"), rows)
    assert judged.verdict == "holds" and judged.note.startswith("points of DAVIS J&F: a over b +")
    few = judge(claim("davis_jf"), {name: one[:, :3] for name, one in rows.items()})
    assert few.verdict == "undecided" and few.note.startswith("3 sequences decide nothing at the 95 % level")
    assert judge(claim("davis_jf"), {"a": rows["a"]}).note == "not scored: b"
    alone = judge(claim("davis_jf"), {name: one[:1] for name, one in rows.items()})
    assert "one seed, so only sequences are resampled" in alone.note


def place(tmp_path, clips: pd.DataFrame | None = None, objects: list[dict] | None = None) -> SimpleNamespace:
    """A finished run with these predictions and these scores of objects."""
    table = pd.DataFrame({"clip_id": ["t", "x", "y", "z"]})
    config = SimpleNamespace(evaluation=SimpleNamespace(label="1x1"))
    plan = SimpleNamespace(folder=tmp_path, config=config, manifest=SimpleNamespace(table=table))
    if clips is not None:
        clips.to_parquet(tmp_path / "clips.parquet")
    if objects is not None:
        (tmp_path / "objects-1.json").write_text(json.dumps({"objects": objects}))
    test = SimpleNamespace(result=lambda plan: plan.folder / "objects-1.json", key="1")
    return SimpleNamespace(plan=plan, test=test)


def test_clips_are_scored_by_the_head_that_the_metric_is_of(tmp_path):
    ranks = {"verb_label": [0, 0, 7], "noun_label": [0, 3, 0], "action": [0, 4, 9]}
    rows = [(row, head, rank) for head, line in ranks.items() for row, rank in zip((1, 2, 3), line, strict=True)]
    run = place(tmp_path, pd.DataFrame(rows, columns=["row", "head", "rank"]))
    right = {name: scores_of(METRICS[name], run, {}) for name in ("top1", "top5", "verb_top1", "noun_top1")}
    assert {name: one.to_dict() for name, one in right.items()} == {
        "top1": {"x": True, "y": False, "z": False},
        "top5": {"x": True, "y": True, "z": False},
        "verb_top1": {"x": True, "y": True, "z": False},
        "noun_top1": {"x": True, "y": False, "z": True},
    }


def test_of_one_head_there_is_no_verb(tmp_path):
    run = place(tmp_path, pd.DataFrame({"row": [1, 2], "head": "label", "rank": [0, 1]}))
    assert scores_of(METRICS["verb_top1"], run, {}) is None
    assert scores_of(METRICS["top1"], run, {}).to_dict() == {"x": True, "y": False}
    assert scores_of(METRICS["top1"], place(tmp_path / "none"), {}) is None


def test_the_mean_of_the_sequences_scores_is_the_j_and_f_of_the_table(tmp_path):
    values = {"bear": [0.25, 0.5], "camel": [0.75], "dog": [0.0, 1.0, 0.5]}
    objects = [{"sequence": name} | dict.fromkeys(MEASURES, value) for name, line in values.items() for value in line]
    scores = scores_of(METRICS["davis_jf"], place(tmp_path, objects=objects), {})
    assert list(scores.index) == list(values) and scores.mean() == pytest.approx(mean_scores(objects)["J&F-Mean"])
    assert scores_of(METRICS["davis_jf"], place(tmp_path / "unscored"), {}) is None


def test_a_number_of_the_run_is_its_only_score(tmp_path):
    assert scores_of(METRICS["gflops"], place(tmp_path), {"gflops": 281.0}).to_list() == [281.0]
    assert scores_of(METRICS["norm_ratio"], place(tmp_path), {}) is None


def test_a_table_judges_each_claim_on_its_own_metric():
    """A cost needs no seed that all rows have."""
    table = load_table("interaction")
    costs = {"object-state_change": (0, 17.8), "object-attention": (1, 26.1)}
    results = {row.name: RowResult() for row in table.rows}
    for name, (seed, gflops) in costs.items():
        summary = {"adapter_gflops": gflops, "views": "8 x 1 x 1", "chance": 0.1, "coverage": {}}
        results[name] = RowResult({seed: summary}, {"adapter_gflops": {seed: pd.Series([gflops], index=[""])}})
    judged = {one["text"]: one for one in outcome(table, "toy", results, [0, 1], toy=True)["claims"]}
    cost = judged["state change computes less than temporal attention"]
    assert (cost["metric"], cost["verdict"], cost["p_value"]) == ("adapter_gflops", "holds", None)
    assert cost["note"] == (
        "adapter GFLOPs: object-state_change 17.8, object-attention 26.1; the same for every seed, so compared exactly"
    )
    assert judged["state change beats temporal attention"]["verdict"] == "undecided"


def test_a_claim_that_names_no_metric_is_about_top1_wherever_its_column_stands():
    entry = {"text": "a", "kind": "better", "rows": ["x", "y"]}
    for columns, meant in ((["gflops", "top1"], "top1"), (["davis_jf", "gflops"], "davis_jf")):
        (claim,) = parse_claims([entry], ["x", "y"], "own.yaml", columns)
        assert claim.metric.name == meant
