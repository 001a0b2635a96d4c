"""The results app over an MLflow store that the package's own tracker wrote: what was logged,
and nothing of anybody else.
"""

import hashlib
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from dashboards.mlflow_store import MlflowStore
from dashboards.store import QUARANTINED
from objadapt.errors import InputError
from objadapt.store_uri import sqlite_file, sqlite_uri
from objadapt.tables import formats
from objadapt.tracking import Tracker, prepare_store

OURS = {"identity": "0cce5d4d34e6", "seed": "0", "views": "8 x 1 x 1"}


@pytest.fixture(scope="module")
def uri(found, tmp_path_factory) -> str:
    """A table written and one begun.

    A training that has ended, one that runs, a table's light child; a run of others.
    """
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    prepare_store(uri)
    assert MlflowStore(uri).tables() == [] == MlflowStore(uri).runs(), "a store without ours is empty"

    def tracker(name: str, tags: dict) -> Tracker:
        made = Tracker(uri, "tests", folder / f"{name}.jsonl")
        made.start(name, tags, {"name": name})
        return made

    table = tracker("table losses (toy)", {"table": "losses", "dataset": "toy"})
    for path in formats.write(found, folder / "tables"):
        table.artifact(path)
    table.finish()
    tracker("table begun (k400)", {"table": "begun", "dataset": "k400"})
    run = tracker("base, seed 0", OURS)
    run.series([(step, {"step/total": 1 / step, "step/lr": 0.1}) for step in (1, 2, 3, 4)])
    for epoch in (1, 2):
        run.metrics(
            {"epoch/train/total": 1 / epoch, "epoch/val/top1": 0.25 * epoch, "epoch/train/data_wait_share": 0.1}, epoch
        )
    run.table(pd.DataFrame([["a", "a.mp4", "train", "decode", "broken"]], columns=QUARANTINED), "quarantine.json")
    run.metrics({"final/top1": 0.5, "final/epochs": 2}, 2)
    run.finish()
    tracker("runs", OURS).metrics({"epoch/train/total": 3.0}, 1)
    tracker("light child", OURS | {"same_as": run.run_id}).finish()
    others = MlflowClient(uri)
    others.log_metric(others.create_run(others.create_experiment("theirs")).info.run_id, "epoch/val/top1", 0.9)
    return uri


@pytest.fixture
def named(uri) -> dict:
    return {one.name.split(",")[0]: one for one in MlflowStore(uri).runs()}


def test_tables_are_those_that_were_written(uri, found):
    begun, written = MlflowStore(uri).tables()
    assert (begun.name, begun.dataset, written.name, written.dataset) == ("begun", "k400", "losses", "toy")
    assert written.title == f"losses (toy), run {written.run_id[:8]}"
    assert MlflowStore(uri).outcome(written) == found and MlflowStore(uri).outcome(begun) is None


def test_runs_are_our_trainings(uri, named):
    assert named.keys() == {"base", "runs"}, "no table, no light child, nobody else's"
    assert named["base"].finished and not named["runs"].finished
    assert named["base"].summary == {"top1": 0.5, "epochs": 2, "views": "8 x 1 x 1"}


def test_curves_are_what_was_logged(uri, named):
    found = MlflowStore(uri).records(named["base"])
    assert found.steps["total"].to_dict() == {1: 1.0, 2: 0.5, 3: 1 / 3, 4: 0.25}
    assert found.epochs.to_dict() == {
        "train/total": {1: 1.0, 2: 0.5},
        "val/top1": {1: 0.25, 2: 0.5},
        "train/data_wait_share": {1: 0.1, 2: 0.1},
    }
    assert found.status == "FINISHED" and found.seconds > 1.7e9
    running = MlflowStore(uri).records(named["runs"])
    assert running.status is None and running.epochs["train/total"].to_dict() == {1: 3.0} and running.steps.empty


def test_quarantined_clips_are_those_of_the_run(uri, named):
    found = MlflowStore(uri).quarantine(named["base"])
    assert found.to_dict("records") == [
        {"clip_id": "a", "path": "a.mp4", "split": "train", "stage": "decode", "reason": "broken"}
    ]
    assert MlflowStore(uri).quarantine(named["runs"]).empty


def test_reading_leaves_the_store_as_it_is(uri, named):
    path = Path(uri.removeprefix("sqlite:///"))
    before = hashlib.sha256(path.read_bytes()).hexdigest(), sorted(path.parent.rglob("*"))
    for table in MlflowStore(uri).tables():
        MlflowStore(uri).outcome(table)
    for run in named.values():
        MlflowStore(uri).records(run), MlflowStore(uri).quarantine(run)
    assert (hashlib.sha256(path.read_bytes()).hexdigest(), sorted(path.parent.rglob("*"))) == before


@pytest.mark.parametrize(
    "content, said",
    [
        (b"{", "damaged, not valid JSON"),
        (b"\xff\xfe{", "damaged"),
        (b'{"rows": 3}', "not a table's outcome"),
        (None, "no losses.json"),
    ],
)
def test_a_damaged_artifact_is_refused_in_one_line(uri, content, said):
    (table,) = [one for one in MlflowStore(uri).tables() if one.ended]
    (path,) = Path(uri.removeprefix("sqlite:///")).parent.glob(f"mlartifacts/{table.run_id}/artifacts/losses.json")
    whole = path.read_bytes()
    try:
        path.write_bytes(content) if content is not None else path.unlink()
        with pytest.raises(InputError, match=said) as refused:
            MlflowStore(uri).outcome(table)
    finally:
        path.write_bytes(whole)
    assert table.run_id in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "uri, said",
    [
        ("http://127.0.0.1:9", "MLflow at http://127.0.0.1:9 does not answer"),
        ("foo://x", "MLflow at foo://x does not answer"),
        ("http://me:secret@127.0.0.1:9", "MLflow at http://…@127.0.0.1:9 does not"),
        ("sqlite:///no/such.db", "there is no such file"),
    ],
)
def test_a_store_that_is_not_there_is_said_in_one_line(uri, said):
    for read in (MlflowStore(uri).tables, MlflowStore(uri).runs):
        with pytest.raises(InputError, match=said) as refused:
            read()
        assert "\n" not in str(refused.value) and "secret" not in str(refused.value)
    assert not Path("no").exists()


@pytest.mark.parametrize("content", [b"", b"no database\n" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "study.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match="study.db: not a"):
        MlflowStore(f"sqlite:///{path}").tables()
    assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a%20b", "what?", "run #3 {x}", "100%"])
def test_a_store_in_a_folder_with_an_odd_name_is_read_and_left_alone(uri, tmp_path, name):
    folder = tmp_path / "in" / name
    folder.mkdir(parents=True)
    shutil.copy(sqlite_file(uri), folder / "mlflow.db")
    assert MlflowStore(sqlite_uri(folder / "mlflow.db")).runs() == MlflowStore(uri).runs() != []
    assert os.listdir(folder) == ["mlflow.db"] and os.listdir(folder.parent) == [name]
