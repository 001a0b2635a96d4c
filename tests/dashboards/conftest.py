"""`dashboards` lies beside `platform`, so it is found from the repository's root; the outcome of a table."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from objadapt.tables.outcome import RowResult, outcome
from objadapt.tables.table import load_table


@pytest.fixture(scope="session")
def found() -> dict:
    """Table `losses` with one row of four done, as jobs/reproduce.py would write it."""
    summary = {
        "top1": 0.5,
        "top5": 0.75,
        "tunable_parameters": 1000,
        "adapter_gflops": 1.0,
        "views": "8 x 1 x 1",
        "chance": 0.1,
        "coverage": {"train": {"found": 9, "listed": 10}, "val": {"found": 5, "listed": 5}},
        "mlflow_run_id": "abc",
    }
    results = {"none": RowResult({0: summary}), "both": RowResult(failures={0: "its process died"})}
    results |= {name: RowResult() for name in ("distillation", "temporal", "linear-probe")}
    return outcome(
        load_table("losses"), "toy", results, [0], toy=True, command="python x", commit="c0ffee", date="2026-11-21"
    )
