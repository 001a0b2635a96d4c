"""An output folder and an MLflow store answer the app alike: what one tracker wrote is read from both."""

import json
from inspect import signature
from pathlib import Path

import pandas as pd
import pytest

from dashboards import store as stores
from dashboards.folder_store import FolderStore
from dashboards.mlflow_store import MlflowStore
from objadapt.tables import formats
from objadapt.tracking import Tracker, prepare_store

VIEWS = Path(__file__).resolve().parents[2] / "dashboards" / "views"
PUBLIC = [name for name in vars(stores.Store) if not name.startswith("_")]


@pytest.fixture(scope="module")
def both(found, tmp_path_factory) -> tuple[FolderStore, MlflowStore]:
    """A table and a run with a quarantined clip, in a folder and in the store beside it."""
    folder = tmp_path_factory.mktemp("both")
    uri = f"sqlite:///{folder}/mlflow.db"
    prepare_store(uri)
    table = Tracker(uri, "tests", folder / "tables" / "toy" / "losses.jsonl")
    table.start("table losses (toy)", {"table": "losses", "dataset": "toy"}, {})
    for path in formats.write(found, folder / "tables" / "toy"):
        table.artifact(path)
    table.finish()
    run = folder / "runs" / "base"
    run.mkdir(parents=True)
    tracker = Tracker(uri, "tests", run / "records.jsonl")
    tracker.start("base, seed 0", {"identity": "0cce5d4d34e6", "views": "8 x 1 x 1"}, {})
    tracker.metrics({"epoch/train/total": 0.5, "epoch/val/top1": 0.25}, 1)
    told = pd.DataFrame([["a", "a.mp4", "train", "decode", "broken"]], columns=stores.QUARANTINED)
    tracker.table(told, "quarantine.json")
    told.to_csv(run / "quarantine.csv", index=False)
    tracker.metrics({"final/top1": 0.25}, 1)
    tracker.finish()
    (run / "summary.json").write_text(json.dumps({"top1": 0.25, "views": "8 x 1 x 1"}))
    return FolderStore(folder), MlflowStore(uri)


@pytest.mark.parametrize("kind", [FolderStore, MlflowStore])
def test_a_store_has_all_that_the_protocol_asks_for(kind):
    for name in PUBLIC:
        asked, there = getattr(stores.Store, name), getattr(kind, name, None)
        if callable(asked):
            assert list(signature(there).parameters) == list(signature(asked).parameters), name
        else:
            assert name in {*vars(kind), *kind.__annotations__}, name
    extra = {name for name in vars(kind) if not name.startswith("_")} - {*PUBLIC, "uri"}
    assert not extra, "what pages use of one store alone"


def test_both_read_the_same_table(both, found):
    for store in both:
        (table,) = store.tables()
        assert (table.name, table.dataset) == ("losses", "toy") and table.title.startswith("losses (toy)")
        assert store.outcome(table) == found
    folder, mlflow = both
    assert folder.tracking_uri(*folder.tables()) == mlflow.tracking_uri(*mlflow.tables()) == mlflow.uri


def test_both_read_the_same_run(both):
    read = []
    for store in both:
        (run,) = store.runs()
        assert run.name.startswith("base") and run.finished and run.problem is None
        records = store.records(run)
        curves = {name: series.to_dict() for name, series in records.epochs.items()}
        read.append((run.summary, curves, records.status, store.quarantine(run).to_dict("records")))
    assert read[0] == read[1] and read[0][1]["val/top1"] == {1: 0.25}


def test_a_stamp_is_of_one_thing_of_one_store(both):
    stamps = [store.stamp(what) for store in both for what in (None, *store.tables(), *store.runs())]
    assert len(set(stamps)) == len(stamps)


def test_the_stamp_of_a_folder_changes_with_what_is_read(tmp_path):
    store = FolderStore(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (run,) = store.runs()
    before = store.stamp(), store.stamp(run)
    (run.folder / "records.jsonl").write_text("{}")
    assert store.stamp() == before[0] and store.stamp(run) != before[1]
    (run.folder / "summary.json").write_text("{}")
    assert store.stamp() != before[0]


def test_a_link_by_a_runs_name_is_no_run_of_its_own(tmp_path):
    (tmp_path / "runs" / "mine-seed0-0123456789ab").mkdir(parents=True)
    (tmp_path / "runs" / "mine").symlink_to("mine-seed0-0123456789ab", target_is_directory=True)
    store = FolderStore(tmp_path)
    assert [run.folder.name for run in store.runs()] == ["mine-seed0-0123456789ab"] and len(store.stamp()) == 2


def test_what_mlflow_answered_is_kept_for_seconds(monkeypatch):
    store, now = MlflowStore("http://127.0.0.1:9"), [0.0]
    monkeypatch.setattr("dashboards.mlflow_store.time.time", lambda: now[0])
    first = store.stamp()
    now[0] = 9.0
    assert store.stamp() == first
    now[0] = 11.0
    assert store.stamp() != first


def test_no_password_is_shown():
    store = MlflowStore("http://me:secret@127.0.0.1:9")
    assert "secret" not in " ".join((store.caption, store.place, store.option, *store.without_runs))


def test_pages_ask_no_store_what_it_is():
    for path in [*VIEWS.glob("*.py"), VIEWS.parent / "app.py"]:
        text = path.read_text()
        assert "hasattr(" not in text and "Mlflow" not in text and "mlflow_store" not in text, path.name
