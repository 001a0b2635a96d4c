"""`reproduce --table training_cost | throughput`: ratios measured here, beside those that the paper gives."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from objadapt.capacity.steps_report import PAPER_THROUGHPUT, PAPER_TRAINING

PAPER = Path(__file__).resolve().parents[3] / "shared" / "paper" / "tables"
NAMES = {"TimeSformer": "timesformer", "ST-Adapter": "st_adapter", "AIM": "aim", "EVL": "evl", "Ours": "object_centric"}


@pytest.mark.parametrize(("table", "ratios"), [("training_cost", PAPER_TRAINING), ("throughput", PAPER_THROUGHPUT)])
def test_the_papers_ratios_are_those_of_its_tables(table, ratios):
    if not PAPER.is_dir():
        pytest.skip("no ../shared/paper beside the checkout: the paper's tables are not in the repository")
    with open(PAPER / f"{table}.csv", newline="") as file:
        assert {NAMES[row["method"]]: float(row["ratio"]) for row in csv.DictReader(file)} == ratios


def test_the_table_is_measured_on_the_data_sets_own_backbone_and_names_the_hardware(run_job, tmp_path):
    command = ["reproduce", "--table", "throughput", "--dataset", "toy", "--output", tmp_path / "out"]
    assert run_job(*command, "--dry-run").code == 0 and not (tmp_path / "out").exists()
    done = run_job(*command, "--json", tmp_path / "cost.json", "sampling.frames=4")
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "cost.json").read_text())
    assert found["backbone"].startswith("small_clip") and found["hardware"] in done.out
    table = pd.read_csv(tmp_path / "out/benchmark/throughput.csv", index_col="method")
    assert list(table.index) == ["object_centric", "st_adapter", "aim", "evl"]
    assert table["paper_throughput_ratio"].to_dict() == PAPER_THROUGHPUT
    rates = table["clips_per_second"]
    assert (table["throughput_ratio"] - rates / rates["object_centric"]).abs().max() < 1e-9
    assert "| evl |" in (tmp_path / "out/benchmark/throughput.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "evl"], "--rows: throughput measures cost and trains no row; leave it out"),
        (["--davis", "somewhere"], "--davis: throughput measures cost"),
        (["methd=1"], "methd: unknown key"),
    ],
)
def test_what_is_of_trained_rows_is_refused(run_job, tmp_path, options, message):
    done = run_job("reproduce", "--table", "throughput", "--output", tmp_path, *options)
    assert done.code == 2 and done.err.startswith(f"error: {message}") and done.err.count("\n") == 1, done.err
