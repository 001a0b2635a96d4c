"""The outcome of a table and its texts: every number where it belongs, nothing missing without its name,
nothing unescaped.
"""

import copy
import csv
import dataclasses
import io
import json
import math
import re
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from objadapt.config_file import load_config
from objadapt.metric import METRICS
from objadapt.tables import formats
from objadapt.tables.comparison import Setting
from objadapt.tables.outcome import RowResult, aligned, outcome, over_seeds
from objadapt.tables.table import load_table, row_config

CONFIGS = Path(__file__).resolve().parents[2] / "jobs" / "configs"
TEXTS = (
    formats.terminal,
    formats.markdown,
    formats.latex,
    formats.csv_text,
    formats.json_text,
)


def summary(top1: float, **more) -> dict:
    return {
        "top1": top1,
        "top5": min(1.0, top1 + 0.2),
        "tunable_parameters": 1_234_567,
        "adapter_gflops": 8.123,
        "views": "8 x 1 x 1",
        "coverage": {"train": {"found": 1100, "listed": 1200}, "val": {"found": 250, "listed": 256}},
        "num_train_clips": 1100,
        "num_val_clips": 250,
        "chance": 1 / 16,
        "mlflow_run_id": "abc",
    } | more


WHOLE = {
    "coverage": {"train": {"found": 240_258, "listed": 246_534}, "val": {"found": 19_881, "listed": 19_906}},
    "num_train_clips": 240_200,
    "num_val_clips": 19_880,
    "views": "16 x 3 x 1",
    "chance": 1 / 400,
}


def on_kinetics(results: dict[str, RowResult], *overrides: str) -> dict[str, RowResult]:
    """The same rows, as runs on all of Kinetics-400 under its config."""
    table, base = load_table("losses"), load_config(CONFIGS / "kinetics400.yaml", ["stream.cache=features"])
    made = {}
    for row in table.rows:
        setting = Setting(row_config(table, row, base, list(overrides), "kinetics400", 0), 224, 400)
        summaries = {seed: one | WHOLE for seed, one in results[row.name].summaries.items()}
        made[row.name] = dataclasses.replace(results[row.name], summaries=summaries, setting=setting)
    return made


def clips(right: float, seed: int, count: int = 200) -> pd.Series:
    """`right` of the clips right, in an order that differs from seed to seed."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    return pd.Series(np.arange(count)[order] < right * count, index=[f"clip{number}" for number in order])


@pytest.fixture
def results() -> dict[str, RowResult]:
    """`losses` on 3 seeds: two rows whole, one with two seeds, one that failed."""
    found = {}
    for name, right in (("none", 0.2), ("distillation", 0.5), ("both", 0.8)):
        shares = {seed: right + 0.01 * seed for seed in range(3)}
        found[name] = RowResult(
            {seed: summary(share) for seed, share in shares.items()},
            {"top1": {seed: clips(share, seed) for seed, share in shares.items()}},
        )
    found["temporal"] = RowResult(failures={0: "FloatingPointError: loss is nan | at step 3", 1: "x", 2: "x"})
    del found["distillation"].summaries[2], found["distillation"].scores["top1"][2]
    found["distillation"].failures[2] = "its process died"
    found["linear-probe"] = RowResult(missing="left out by --rows")
    return found


@pytest.fixture
def toy(results) -> dict:
    said = {"command": "python x", "commit": "c0ffee", "date": "2026-11-21"}
    return outcome(load_table("losses"), "toy", results, [0, 1, 2], toy=True, **said)


@pytest.fixture
def k400(results) -> dict:
    return outcome(load_table("losses"), "kinetics400", on_kinetics(results), [0, 1, 2], toy=False)


def rows_of(found: dict) -> dict[str, dict]:
    return {row["name"]: row for row in found["rows"]}


def test_the_outcome_has_the_keys_that_are_agreed(toy):
    assert {"table", "dataset", "views", "rows", "claims"} <= toy.keys()
    assert {"caption", "coverage", "command", "commit", "date", "notes"} <= toy.keys()
    for row in toy["rows"]:
        assert {"name", "overrides", "metrics", "paper", "status"} <= row.keys()
        assert all(cell.keys() == {"mean", "stderr", "n"} for cell in row["metrics"].values())
    assert all({"text", "verdict", "p_value"} <= claim.keys() for claim in toy["claims"])
    assert toy["views"] == "8 x 1 x 1" and toy["coverage"] == "train 1,100 of 1,200, val 250 of 256 videos"
    assert toy["chance"] == pytest.approx(6.25)


@pytest.mark.parametrize("values", [[71.6], [70.0, 72.0], [1.0, 2.0, 4.0, 8.5, 3.25]])
def test_mean_and_standard_error_are_the_textbooks(values):
    cell = over_seeds(values)
    assert cell["mean"] == pytest.approx(statistics.fmean(values)) and cell["n"] == len(values)
    if len(values) == 1:
        assert cell["stderr"] is None
    else:
        assert cell["stderr"] == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)))


def test_metrics_are_in_the_units_of_the_paper():
    found = summary(0.716, gflops=281.0)
    value = {name: metric.value(found) for name, metric in METRICS.items()}
    assert value["top1"] == pytest.approx(71.6) and value["tunable_parameters"] == pytest.approx(1.234567)
    assert value["gflops"] == 281.0 and value["davis_jf"] is None


def test_the_status_says_what_is_there(toy, results):
    status = {name: row["status"] for name, row in rows_of(toy).items()}
    assert status["none"] == status["both"] == "done"
    assert status["distillation"] == "partial: 2 of 3 seeds"
    assert status["temporal"] == "failed: FloatingPointError: loss is nan | at step 3"
    results["temporal"], results["none"] = RowResult(missing="needs weights"), RowResult()
    status = {
        row["name"]: row["status"] for row in outcome(load_table("losses"), "toy", results, [0, 1, 2], toy=True)["rows"]
    }
    assert status["temporal"] == "missing: needs weights" and status["none"] == "missing: not run yet"
    assert "distillation, seed 2 failed: its process died" in toy["notes"]


def test_cells_are_missing_by_name(toy):
    reason = "not measured on this data set"
    assert all(row["missing"] == {"davis_jf": reason} for row in toy["rows"] if row["metrics"])
    assert f"missing: DAVIS J&F (%) (none, distillation, both): {reason}" in formats.markdown(toy)
    header, lines = formats.grid(toy)
    assert [line[header.index("DAVIS J&F (%), toy")] for line in lines] == ["missing", "missing", "-", "missing", "-"]


def test_claims_are_judged_on_the_clips_of_the_seeds_that_all_rows_have(toy):
    first, *others = toy["claims"]
    assert first["text"] == "both losses > object distillation alone > none"
    assert first["verdict"] == "holds" and first["p_value"] < 0.025
    assert "over the seeds that all rows have: 0, 1" in first["note"]
    for claim in others:
        reason = "temporal" if claim["metric"] == "top1" else ""
        assert claim["verdict"] == "undecided" and claim["p_value"] is None
        assert claim["note"].startswith("not scored: ") and reason in claim["note"]


def test_rows_are_paired_by_clip_and_not_by_place():
    one = {0: pd.Series([True, False, True], index=["a", "b", "c"])}
    two = {0: pd.Series([False, True, True], index=["c", "a", "d"])}
    found = aligned({"one": one, "two": two})
    assert found["one"].tolist() == [[True, True]] and found["two"].tolist() == [[True, False]], (
        "clips a and c, in that order"
    )


def test_json_gives_the_same_texts_again(toy, tmp_path):
    paths = formats.write(toy, tmp_path / "tables")
    assert [path.name for path in paths] == ["losses.md", "losses.tex", "losses.csv", "losses.json"]
    again = json.loads(paths[-1].read_text())
    assert again == json.loads(json.dumps(toy))
    for path, text in zip(paths, TEXTS[1:], strict=False):
        assert path.read_text() == text(again) == text(toy)
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == sorted(path.name for path in paths)


def test_the_header_has_paper_ours_and_a_difference_only_where_the_data_set_is_the_papers(toy, k400):
    header, lines = formats.grid(k400)
    assert header[:4] == ["row", "top-1 (%), paper", "top-1 (%), ours", "difference"]
    assert lines[3][:4] == ["both", "86.1", "81.0 ± 0.6", "-5.1"]
    header, lines = formats.grid(toy)
    assert header[:3] == ["row", "top-1 (%), paper (SSv2)", "top-1 (%), toy"] and "difference" not in header
    assert lines[3][:3] == ["both", "71.6", "81.0 ± 0.6"]
    assert [line[-1] for line in lines] == [row["status"] for row in toy["rows"]]


def test_counts_have_no_spread_and_one_seed_has_no_error(k400, results):
    header, lines = formats.grid(k400)
    assert lines[0][header.index("adapter GFLOPs, ours")] == "8.12"
    single = {name: RowResult({0: summary(0.5)}, {"top1": {0: clips(0.5, 0)}}) for name in results}
    alone = outcome(load_table("losses"), "kinetics400", on_kinetics(single), [0], toy=False)
    assert "±" not in "".join(sum(formats.grid(alone)[1], []))
    assert "one seed, so no standard error" in formats.terminal(alone)


def test_toy_numbers_are_called_toy_numbers_in_caption_and_header(toy, k400):
    for text in (formats.terminal(toy), formats.markdown(toy), formats.latex(toy)):
        assert ": toy numbers" in text and "they say nothing about the paper's data" in text
    assert "top-1 (%), toy" in formats.grid(toy)[0] and not any("ours" in title for title in formats.grid(toy)[0])
    assert list(csv.DictReader(io.StringIO(formats.csv_text(toy))))[0]["toy"] == "True"
    assert "toy" not in formats.markdown(k400)


def test_the_convention_of_counts_stands_below(toy):
    text = formats.terminal(toy)
    assert "2 x MAC of one view" in text and "leave the backbone out" in text
    assert "command: python x" in text and "commit: c0ffee" in text and "date: 2026-11-21" in text


def test_markdown_has_whole_rows_and_numbers_on_the_right(toy):
    lines = [line for line in formats.markdown(toy).splitlines() if line.startswith("|")]
    table, claims = lines[:7], lines[7:]
    for block in (table, claims):
        bars = [[match.start() for match in re.finditer(r"(?<!\\)\|", line)] for line in block]
        assert all(bar == bars[0] for bar in bars), "columns do not line up"
    rule = [cell.strip() for cell in table[1].strip("|").split("|")]
    assert rule[0].strip("-") == rule[-1].strip("-") == "" and all(re.fullmatch("-+:", cell) for cell in rule[1:-1])
    assert len(claims) == 2 + len(toy["claims"])
    assert r"loss is nan \| at step 3" in table[4], "a pipe in a reason must not end the cell"


def test_latex_is_escaped_and_balanced(toy):
    text = formats.latex(toy)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    for character in "%&_#":
        assert not re.search(rf"(?<!\\){character}", re.sub(r" & |\\label\{.*?\}", "", body)), character
    assert body.count(r"\begin{") == body.count(r"\end{") == 2
    header, lines = formats.grid(toy)
    data = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(data) == 1 + len(lines)
    assert all(len(re.findall(r"(?<!\\)&", line)) == len(header) - 1 for line in data)
    (columns,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", body)
    assert len(columns) == len(header) and r"81.0 $\pm$ 0.6" in body
    assert "% claim: both losses > object distillation alone > none | holds" in text


@pytest.mark.parametrize(
    ("hostile", "escaped"),
    [
        ("a_b", r"a\_b"),
        ("50 %", r"50 \%"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
    ],
)
def test_hostile_captions_cannot_break_latex(toy, hostile, escaped):
    toy["caption"] = hostile
    assert f"{escaped} (losses)" in formats.latex(toy)


def test_a_line_break_in_a_reason_breaks_no_format(toy):
    broken = copy.deepcopy(toy)
    broken["rows"][2]["status"] = "failed: one\ntwo"
    assert len(formats.markdown(broken).splitlines()) == len(formats.markdown(toy).splitlines())
    assert len(formats.latex(broken).splitlines()) == len(formats.latex(toy).splitlines())
    assert len(list(csv.reader(io.StringIO(formats.csv_text(broken))))) == 6


def test_csv_has_every_number_unrounded_and_gaps_empty(k400):
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(formats.csv_text(k400)))}
    assert list(lines) == ["none", "distillation", "temporal", "both", "linear-probe"]
    cell = rows_of(k400)["both"]["metrics"]["top1"]
    assert float(lines["both"]["top1_mean"]) == cell["mean"] and float(lines["both"]["top1_stderr"]) == cell["stderr"]
    assert lines["both"]["paper_k400_top1"] == "86.1" and lines["both"]["top1_n"] == "3"
    assert float(lines["both"]["top1_difference"]) == cell["mean"] - 86.1 and lines["temporal"]["top1_difference"] == ""
    assert "adapter_gflops_difference" not in lines["both"]
    assert lines["temporal"]["top1_mean"] == "" and lines["temporal"]["davis_jf_mean"] == ""
    assert lines["none"]["overrides"] == "method.losses.distillation.weight=0 method.losses.temporal.weight=0"


def test_a_table_that_nothing_has_been_run_of_is_still_a_table():
    table = load_table("temperature_margin")
    empty = outcome(
        table, "toy", {row.name: RowResult(missing="left out by --rows") for row in table.rows}, [0], toy=True
    )
    assert empty["chance"] is None and empty["views"] == "" and empty["claims"] == []
    for text in TEXTS:
        assert "left out by --rows" in text(empty)


def test_claims_say_why_rows_cannot_be_paired_and_on_which_clips_they_are(results):
    for name, seed in (("both", 0), ("none", 1), ("distillation", 2)):
        results[name] = RowResult({seed: summary(0.5)}, {"top1": {seed: clips(0.5, seed)}})
    found = outcome(load_table("losses"), "toy", results, [0, 1, 2], toy=True)["claims"]
    assert found[0]["verdict"] == "undecided" and found[0]["note"] == "no seed that all its rows have"
    for name in ("both", "none", "distillation"):
        part = clips(0.5, 0).iloc[: 190 if name == "none" else 200]
        results[name] = RowResult({0: summary(0.5)}, {"top1": {0: part}})
    found = outcome(load_table("losses"), "toy", results, [0], toy=True)["claims"]
    assert "over the validation clips that all runs have, of 200" in found[0]["note"]
