"""The results app where things are amiss: no store, an empty one, damaged files.

Each page says which file, and what to do.
"""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from objadapt.tracking import prepare_store

pytestmark = pytest.mark.slow


def test_no_store_and_an_empty_one(serve, visit, tmp_path):
    store = tmp_path / "outputs"
    with serve(store) as address:
        window = visit(address)
        for title in ("Overview", "Tables", "Upload"):
            window.open(title)
            assert "There is no folder" in window.text() and "make demo" in window.text()
        store.mkdir()
        for title, said in (
            ("Tables", "No table has been made"),
            ("Sweep", "No sweep has been run"),
            ("Objects", "No run of this store has a checkpoint"),
            ("Runs", "No run is in this store"),
            ("Overview", "No run is in this store"),
            ("Classes", "No run of this store has predictions"),
            ("Upload", "No run of this store has a checkpoint"),
        ):
            window.open(title)
            assert said in window.text(), title
            if title in ("Sweep", "Objects"):
                assert f"jobs/make_toy.py {store}/toy" in window.text(), "the store lies in a folder of its own"
                assert f"data.root={store}/toy output={store}" in window.text()


def test_a_tracking_server_that_is_gone(serve, visit):
    with serve("http://127.0.0.1:9") as address:
        window = visit(address)
        for title in ("Overview", "Tables", "Runs"):
            window.open(title)
            expect(window.page.get_by_text("MLflow at http://127.0.0.1:9 does not answer")).to_be_visible()


def test_an_mlflow_store_without_anything_of_ours(serve, visit, tmp_path):
    prepare_store(f"sqlite:///{tmp_path}/mlflow.db")
    with serve(f"sqlite:///{tmp_path}/mlflow.db") as address:
        window = visit(address)
        for title, said in (
            ("Tables", "No table has been made"),
            ("Runs", "No training of objadapt is in this MLflow store"),
        ):
            window.open(title)
            expect(window.page.get_by_text(said)).to_be_visible()


@pytest.fixture
def damaged(store, tmp_path) -> Path:
    """The store with a file of every kind spoilt."""
    folder = tmp_path / "outputs"
    shutil.copytree(store, folder, ignore=shutil.ignore_patterns("features", "mlartifacts", "tune"))
    for path in folder.glob("tables/*/*.json"):
        path.write_text(path.read_text()[:100])
    (study,) = folder.glob("sweeps/*/study.db")
    study.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    one, two, three, *_ = (
        sorted(folder.glob("runs/slots.number-2*"))
        + sorted(folder.glob("runs/base*"))
        + sorted(folder.glob("runs/tiny*"))
    )
    (one / "summary.json").write_text("{")
    (one / "last" / "adapter.safetensors").write_bytes(b"no weights")
    with (one / "records.jsonl").open("ab") as file:
        file.write(b"\xff\xfe{]\n")
    (two / "clips.parquet").write_bytes(b"PAR1")
    (three / "records.jsonl").unlink()
    return folder


def test_damaged_files_are_named_and_the_rest_is_shown(serve, visit, damaged):
    with serve(damaged) as address:
        window = visit(address)
        window.open("Overview")
        assert ".json: damaged" in window.text() and "Newest runs" in window.text()
        window.open("Tables")
        window.choose("Table", "slots (tiny)")
        assert (
            ".json: damaged, not valid JSON" in window.text()
            and "the command that made the table writes it anew" in window.text()
        )
        window.open("Sweep")
        assert "study.db: not a readable Optuna study" in window.text()
        window.open("Runs")
        assert "summary.json: damaged" in window.text() and "runs, the most accurate first" in window.text()
        window.open("Objects")
        window.choose("Run", "slots.number-2")
        expect(window.page.get_by_text("unreadable weights")).to_be_visible()
        window.choose("Run", "base")
        expect(window.page.get_by_text("clips.parquet: cannot be read")).to_be_visible()
        window.open("Upload")
        window.choose("Run", "slots.number-2")
        window.page.locator("input[type=file]").set_input_files(str(damaged / "mlflow.db"))
        expect(window.page.get_by_text("unreadable weights")).to_be_visible()
