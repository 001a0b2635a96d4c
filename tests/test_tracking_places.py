"""Where records go: into the output folder whatever its name, artifacts beside the store,
and to MLflow some thousand points a metric.
"""

import json
import os
import pickle
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from objadapt.run_folder import store_uri
from objadapt.store_uri import sqlite_file, ui_command
from objadapt.tracking import POINTS, Tracker, prepare_store

NAMES = [
    "a%20b",
    "100%",
    "what?x=1",
    "run #3",
    "Größe {0}",
    "ann@host:1",
    "it's",
    'a"b',
    "dots..",
    "%2F",
    "back\\slash",
]


@pytest.fixture(scope="module")
def fresh_database(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    prepare_store(store_uri(None, path.parent))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_store_and_artifacts_lie_in_the_output_folder(name, fresh_database, tmp_path, monkeypatch):
    output = tmp_path / "in" / name
    output.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.copy(fresh_database, output / "mlflow.db")
    uri = store_uri(None, output)
    prepare_store(uri, "toy")
    tracker = Tracker(uri, "toy", output / "records.jsonl")
    run_id = tracker.start("run", {}, {})
    tracker.table(pd.DataFrame({"clip": ["a"]}), "clips.json")
    assert tracker.finish()
    assert sorted(os.listdir(output)) == ["mlartifacts", "mlflow.db", "records.jsonl"]
    # nothing under a name like it
    assert os.listdir(output.parent) == [name] and not os.listdir(tmp_path / "elsewhere")
    (written,) = (output / "mlartifacts").rglob("clips.json")

    *_, option, pasted = shlex.split(ui_command(uri))  # as a shell hands it on
    assert option == "--backend-store-uri" and sqlite_file(pasted) == output / "mlflow.db"
    client = MlflowClient(tracking_uri=pasted)
    assert client.get_run(run_id).info.status == "FINISHED"
    assert Path(client.download_artifacts(run_id, "clips.json", str(tmp_path))).read_bytes() == written.read_bytes()


def test_a_store_is_made_where_there_is_none_whatever_the_folder_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare_store(store_uri(None, Path("50% of #1?")))
    assert os.listdir(tmp_path) == ["50% of #1?"] and os.listdir("50% of #1?") == ["mlflow.db"]


def steps_in(uri: str, run_id: str, name: str) -> list[int]:
    return [one.step for one in MlflowClient(tracking_uri=uri).get_metric_history(run_id, name)]


@pytest.fixture
def uri(fresh_database, tmp_path) -> str:
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    return store_uri(None, tmp_path)


def test_a_long_training_sends_some_thousand_points_a_metric_and_the_record_keeps_all(uri, tmp_path):
    """10,000 steps, cut off at 5,003 and begun again from 4,901: one grid, no step twice."""
    steps, records = 10_000, tmp_path / "records.jsonl"

    def values(step: int) -> tuple[int, dict[str, float]]:
        return step, {"step/total": 1.0 / step}

    driver = Tracker(uri, "toy", records)
    run_id = driver.start("run", {}, {}, steps=steps)
    first = pickle.loads(pickle.dumps(driver))  # as it comes to a worker
    first.series(
        [values(step) for step in range(1, 5004)] + [(1, {"epoch/train/total": 1.0}), (2, {"epoch/train/total": 0.5})]
    )
    again = Tracker(uri, "toy", records)
    again.start("run", {}, {}, run_id, steps=steps)
    again.series([values(step) for step in range(4901, 10_001)] + [(3, {"epoch/train/total": 0.3})])
    again.metrics({"final/top1": 0.5}, 2)
    assert again.finish()
    sent = steps_in(uri, run_id, "step/total")
    assert sent == list(range(1, 10_001, 4)) and 1000 <= len(sent) <= POINTS
    assert steps_in(uri, run_id, "epoch/train/total") == [1, 2, 3] and steps_in(uri, run_id, "final/top1") == [2]
    kept = [json.loads(line) for line in records.read_text().splitlines()]
    assert [one["step"] for one in kept if "step/total" in one.get("values", {})] == [
        *range(1, 5004),
        *range(4901, 10_001),
    ]


@pytest.mark.parametrize("steps", [0, 1, 36, 4000, 4001, 8000, 8001, 100_000, 1_000_000, 112_500_000])
def test_points_a_metric_whatever_the_length(uri, tmp_path, steps):
    tracker = Tracker(uri, "toy", tmp_path / "records.jsonl")
    tracker.start("run", {}, {}, steps=steps)
    points = len(range(0, steps, tracker.stride))
    assert points <= POINTS and (points > POINTS / 2 or tracker.stride == 1)
    assert tracker.stride & (tracker.stride - 1) == 0  # each grid is part of a shorter training's
