"""The app's page of tables, run by Streamlit's own test runner:
what may not be compared is neither a column nor a plot.
"""

import json
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from objadapt.config_file import load_config
from objadapt.tables import formats
from objadapt.tables.comparison import Setting
from objadapt.tables.outcome import RowResult, outcome
from objadapt.tables.table import load_table, row_config

REPOSITORY = Path(__file__).resolve().parents[2]
WHOLE = {"train": {"found": 240_258, "listed": 246_534}, "val": {"found": 19_881, "listed": 19_906}}


@pytest.fixture
def page(tmp_path, monkeypatch):
    """`page(overrides)`: the page over a store with the table `losses` as it would be run on Kinetics-400."""

    def run(*overrides: str) -> AppTest:
        table, base = load_table("losses"), load_config(REPOSITORY / "jobs" / "configs" / "kinetics400.yaml")
        summary = {
            "top1": 0.8,
            "top5": 0.9,
            "tunable_parameters": 6.5e6,
            "adapter_gflops": 3.0,
            "chance": 1 / 400,
            "views": "16 x 3 x 1",
            "coverage": WHOLE,
            "num_train_clips": 240_258,
            "num_val_clips": 19_881,
            "mlflow_run_id": None,
        }
        results = {
            row.name: RowResult(
                {0: summary}, setting=Setting(row_config(table, row, base, list(overrides), "kinetics400", 0), 224, 400)
            )
            for row in table.rows
        }
        formats.write(outcome(table, "kinetics400", results, [0], toy=False), tmp_path / "tables" / "kinetics400")
        monkeypatch.setattr(sys, "argv", ["app.py", str(tmp_path)])
        # Streamlit puts the app in its place, and every process that a later test starts would run it
        monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        shown = AppTest.from_file(str(REPOSITORY / "dashboards" / "app.py"), default_timeout=240).run()
        shown.switch_page("views/tables.py").run()
        assert not shown.exception, shown.exception
        return shown

    return run


def drawn(shown: AppTest) -> list[str]:
    """Names of what the plot draws."""
    return [trace["name"] for trace in json.loads(shown.get("plotly_chart")[0].proto.spec)["data"]]


def test_the_papers_numbers_are_compared_where_they_can_be(page):
    shown = page()
    assert "difference, top-1 (%), ours" in shown.dataframe[0].value.columns
    assert drawn(shown) == ["ours", "paper"]
    assert any("backbone open" in one.value and "T 16" in one.value for one in shown.caption)


def test_elsewhere_they_stand_in_the_table_alone(page):
    shown = page("sampling.frames=8")
    columns = list(shown.dataframe[0].value.columns)
    assert "top-1 (%), paper" in columns and not any(name.startswith("difference") for name in columns)
    assert drawn(shown) == ["ours"]
    assert any("The paper's numbers are not drawn" in one.value for one in shown.caption)
    assert any("T = 8, the paper's is 16" in one.value.replace("\\", "") for one in shown.markdown)
