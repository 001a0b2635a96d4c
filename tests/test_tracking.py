"""Tracking: every record reaches the JSONL file and the store.

A store that is silent costs no training and loses nothing.
"""

import json
import logging
import pickle
import shutil
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow.tracking import MlflowClient
from mlflow_server import start_server, stop_server
from ports import free_port

from objadapt import tracking
from objadapt.config_file import flat
from objadapt.errors import InputError
from objadapt.runs.run import run_experiment
from objadapt.tracking import Tracker, prepare_store


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def history(client: MlflowClient, run_id: str, name: str) -> dict[int, float]:
    return {metric.step: metric.value for metric in client.get_metric_history(run_id, name)}


@pytest.fixture(scope="module")
def fresh_database(tmp_path_factory) -> Path:
    """An empty store; MLflow takes its time to make one, so it is made once and copied."""
    path = tmp_path_factory.mktemp("store") / "deep" / "mlflow.db"
    prepare_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def store(tmp_path, monkeypatch, fresh_database) -> str:
    monkeypatch.chdir(tmp_path)
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_a_run_in_a_sqlite_store(store, tmp_path):
    tracker = Tracker(store, "toy", tmp_path / "run" / "records.jsonl")
    params = {f"p{number}": number for number in range(150)} | {"long": "x" * 2000}
    run_id = tracker.start("first", {"config_hash": "abc"}, params)
    tracker.metrics({"train/total": 2.0, "train/lr": 1e-4}, 1)
    tracker.series([(step, {"step/total": 1.0 / step, "step/bad": float("nan")}) for step in range(1, 1001)])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    tracker.artifact(tmp_path / "notes.txt", "texts")
    tracker.artifact(tmp_path / "folder", "folder")
    figure = Figure()
    figure.subplots().plot([1, 2])
    tracker.figure(figure, "curve.png")
    tracker.table(pd.DataFrame({"clip": ["a", "b"], "rank": [0, 3]}), "clips.json")
    assert tracker.finish() is True

    client = MlflowClient(tracking_uri=store)
    run = client.get_run(run_id)
    assert run.info.run_name == "first" and run.info.status == "FINISHED"
    assert run.data.params == {key: str(value)[:500] for key, value in params.items()}
    assert run.data.tags["config_hash"] == "abc"
    assert client.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"
    assert history(client, run_id, "train/total") == {1: 2.0}
    assert history(client, run_id, "step/total") == {step: 1.0 / step for step in range(1, 1001)}
    assert "step/bad" not in run.data.metrics  # MLflow takes finite numbers; the JSONL file has them all
    assert {item.path for item in client.list_artifacts(run_id)} == {"texts", "folder", "figures", "clips.json"}
    assert [item.path for item in client.list_artifacts(run_id, "figures")] == ["figures/curve.png"]
    table = json.loads(Path(client.download_artifacts(run_id, "clips.json", str(tmp_path))).read_text())
    assert table == {"columns": ["clip", "rank"], "data": [["a", 0], ["b", 3]]}

    records = lines(tmp_path / "run" / "records.jsonl")
    kinds = [record["kind"] for record in records]
    assert kinds[0] == "start" and kinds[-1] == "finish" and kinds.count("metrics") == 1001
    assert records[0]["params"] == params and records[1]["values"] == {"train/total": 2.0, "train/lr": 1e-4}
    assert all(record["time"] > 0 for record in records)


def test_a_resumed_training_goes_on_in_its_own_run(store, tmp_path):
    first = Tracker(store, "toy", tmp_path / "records.jsonl")
    run_id = first.start("run", {}, {"lr": 1e-4})
    first.metrics({"loss": 2.0}, 1)
    second = Tracker(store, "toy", tmp_path / "records.jsonl")
    assert second.start("run", {}, {"lr": 1e-4}, run_id) == run_id
    assert MlflowClient(tracking_uri=store).get_run(run_id).info.status == "RUNNING"
    second.metrics({"loss": 1.0}, 2)
    assert second.finish()
    client = MlflowClient(tracking_uri=store)
    assert history(client, run_id, "loss") == {1: 2.0, 2: 1.0} and client.get_run(run_id).info.status == "FINISHED"
    assert len(client.search_runs([client.get_experiment_by_name("toy").experiment_id])) == 1
    assert [record["kind"] for record in lines(tmp_path / "records.jsonl")] == [
        "start",
        "metrics",
        "start",
        "metrics",
        "finish",
    ]


def test_a_failed_run_is_named_so(store, tmp_path):
    tracker = Tracker(store, "toy", tmp_path / "records.jsonl")
    run_id = tracker.start("run", {}, {})
    assert tracker.finish("FAILED")
    assert MlflowClient(tracking_uri=store).get_run(run_id).info.status == "FAILED"


def test_what_the_store_will_never_take_holds_up_nothing_else(store, tmp_path):
    tracker = Tracker(store, "toy", tmp_path / "records.jsonl")
    run_id = tracker.start("run", {}, {})
    tracker.artifact(tmp_path / "absent.txt")
    tracker.metrics({"loss": 1.0}, 1)
    assert tracker.finish() is False  # said, not hidden
    client = MlflowClient(tracking_uri=store)
    assert history(client, run_id, "loss") == {1: 1.0} and client.get_run(run_id).info.status == "FINISHED"


def test_artifacts_of_a_sqlite_store_lie_beside_it_and_not_in_the_working_directory(store, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    tracker = Tracker(store, "toy", tmp_path / "records.jsonl")
    tracker.start("run", {}, {})
    tracker.table(pd.DataFrame({"clip": ["a"]}), "clips.json")
    assert tracker.finish() and not any((tmp_path / "elsewhere").iterdir())
    assert len(list((tmp_path / "mlartifacts").rglob("clips.json"))) == 1


def test_what_a_worker_could_not_send_the_driver_sends(store, tmp_path, monkeypatch):
    """The worker's tracker is a pickled copy of the driver's; here its store is silent until the worker has ended."""
    driver = Tracker(store, "toy", tmp_path / "records.jsonl")
    run_id = driver.start("run", {}, {})
    worker = pickle.loads(pickle.dumps(driver))
    with monkeypatch.context() as silent:
        silent.setattr(MlflowClient, "log_batch", raises_connection_error)
        worker.series([(step, {"loss": 1.0 / step}) for step in range(1, 1500)])
        unsent = json.loads(json.dumps(worker.take_unsent()))  # the way it goes: through result.json
        assert len(unsent) == 1499 and worker.take_unsent() == []
    driver.give(unsent)
    assert driver.finish()
    assert history(MlflowClient(tracking_uri=store), run_id, "loss") == {step: 1.0 / step for step in range(1, 1500)}


def raises_connection_error(*_):
    raise ConnectionRefusedError("nobody there")


def test_a_server_that_never_answers(tmp_path, caplog):
    uri = f"http://user:secret@127.0.0.1:{free_port()}"
    tracker = Tracker(uri, "toy", tmp_path / "records.jsonl")
    with caplog.at_level(logging.DEBUG):
        assert tracker.start("run", {"a": "b"}, {"lr": 1e-4}) is None
        for step in range(50):
            tracker.metrics({"loss": float(step)}, step)
        assert tracker.finish() is False
    records = lines(tmp_path / "records.jsonl")
    assert [record["kind"] for record in records] == ["start", *["metrics"] * 50, "finish"]
    assert [record["values"]["loss"] for record in records[1:51]] == list(range(50))
    warnings = [record.getMessage() for record in caplog.records if record.name == tracking.log.name]
    assert warnings and all("secret" not in text for text in warnings)
    assert any("records.jsonl" in text for text in warnings)


def test_a_uri_that_is_none(tmp_path):
    for uri in ("gopher://example.org/x", "ftp://user:secret@example.org", "some words", "sqlite:/x", "http://[::1"):
        with pytest.raises(InputError, match="^tracking.uri: ") as caught:
            Tracker(uri, "toy", tmp_path / "records.jsonl").start("run", {}, {})
        assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_store_that_is_no_database(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is no database, and long enough not to be taken for an empty one" * 50)
    with pytest.raises(InputError, match="^tracking.uri: "):
        prepare_store(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.mark.slow
def test_a_real_server_that_is_killed_in_the_middle_gets_everything(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.5)
    port = free_port()
    server = start_server(port, tmp_path)
    try:
        tracker = Tracker(f"http://127.0.0.1:{port}", "toy", tmp_path / "records.jsonl")
        run_id = tracker.start("run", {"kind": "test"}, {"lr": 1e-4})
        tracker.metrics({"loss": 3.0}, 0)
        stop_server(server, port)
        tracker.metrics({"loss": 2.0}, 1)  # nothing raises
        (tmp_path / "notes.txt").write_text("hello")
        tracker.artifact(tmp_path / "notes.txt")
        figure = Figure()
        figure.subplots().plot([1, 2])
        tracker.figure(figure, "curve.png")
        tracker.metrics({"loss": 1.5}, 2)
        assert tracker.unsent and any("does not answer" in record.getMessage() for record in caplog.records)
        server = start_server(port, tmp_path)
        time.sleep(0.6)
        tracker.metrics({"loss": 1.0}, 3)
        assert tracker.finish() is True
        client = MlflowClient(tracking_uri=f"http://127.0.0.1:{port}")
        run = client.get_run(run_id)
        assert run.info.status == "FINISHED" and run.data.params == {"lr": "0.0001"} and run.data.tags["kind"] == "test"
        assert history(client, run_id, "loss") == {0: 3.0, 1: 2.0, 2: 1.5, 3: 1.0}
        assert {item.path for item in client.list_artifacts(run_id)} == {"notes.txt", "figures"}
        assert [record["kind"] for record in lines(tmp_path / "records.jsonl")].count("metrics") == 4
    finally:
        stop_server(server, port)


@pytest.mark.slow
def test_a_server_that_is_away_for_half_a_minute_of_a_training_misses_nothing(tiny_plan, held, tmp_path):
    port = free_port()
    server, uri = start_server(port, tmp_path), f"http://127.0.0.1:{port}"
    plan = tiny_plan(f"output={tmp_path}/outputs", "training.epochs=9", "stream.hold=true", f"tracking.uri={uri}")

    def at_validation(epochs: int, metrics: dict) -> None:
        nonlocal server
        if epochs == 2:
            stop_server(server, port)
        if 2 <= epochs < 7:
            time.sleep(6)
        if epochs == 7:
            server = start_server(port, tmp_path)

    try:
        summary = run_experiment(plan, "test", held=held, on_validation=at_validation)
        assert summary["tracked"] is True
        client = MlflowClient(tracking_uri=uri)
        run = client.get_run(summary["mlflow_run_id"])
        assert run.info.status == "FINISHED" and run.data.metrics["final/top1"] == summary["top1"]
        assert [one.step for one in client.get_metric_history(run.info.run_id, "step/total")] == list(range(1, 37))
        assert [one.step for one in client.get_metric_history(run.info.run_id, "epoch/val/top1")] == list(range(1, 10))
        assert "clips.parquet" in {item.path for item in client.list_artifacts(run.info.run_id)}
    finally:
        stop_server(server, port)


def test_steps_that_a_training_does_again_are_on_record_once(tmp_path):
    """A worker that was killed sent more steps than its last checkpoint knows; the next one does those again."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    prepare_store(uri)
    killed = Tracker(uri, "toy", tmp_path / "records.jsonl")
    run_id = killed.start("run", {}, {})
    killed.series([(step, {"step/total": 1.0 / step, "step/lr": 0.1}) for step in range(1, 6)])
    again = Tracker(uri, "toy", tmp_path / "records.jsonl")
    again.start("run", {}, {}, run_id)
    again.series([(step, {"step/total": 1.0 / step, "step/lr": 0.1, "step/new": 1.0}) for step in range(4, 7)])
    again.series([(7, {"step/total": 1.0 / 7})])
    client = MlflowClient(tracking_uri=uri)
    for name, steps in {"step/total": range(1, 8), "step/lr": range(1, 7), "step/new": range(4, 7)}.items():
        assert [one.step for one in client.get_metric_history(run_id, name)] == list(steps), name


def test_flat_names_values_the_way_overrides_do():
    assert flat({"a": {"b": {"c": 1}, "d": None}, "e": [1]}) == {"a.b.c": 1, "a.d": None, "e": [1]}
    assert flat({}) == {}


@pytest.fixture
def interruptible():
    """What is started with `&` ignores SIGINT, and so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_within_a_call_waits_for_its_end_and_the_run_ends_killed(
    store, tmp_path, monkeypatch, interruptible
):
    """SQLite stays locked by a transaction that a KeyboardInterrupt cut off, whose frames live until it is handled."""
    tracker = Tracker(store, "toy", tmp_path / "records.jsonl")
    run_id, send = tracker.start("first", {}, {}), MlflowClient.log_batch

    def interrupted(client, *arguments):
        signal.raise_signal(signal.SIGINT)
        send(client, *arguments)

    monkeypatch.setattr(MlflowClient, "log_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tracker.metrics({"train/total": 2.0}, 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and not tracker.unsent
    assert tracker.finish("KILLED")
    run = MlflowClient(tracking_uri=store).get_run(run_id)
    assert run.info.status == "KILLED" and run.data.metrics == {"train/total": 2.0}


def test_a_second_interrupt_does_not_wait(store, tmp_path, monkeypatch, interruptible):
    tracker = Tracker(store, "toy", tmp_path / "records.jsonl")
    tracker.start("first", {}, {})

    def hangs(client, *arguments):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")

    monkeypatch.setattr(MlflowClient, "log_batch", hangs)
    with pytest.raises(KeyboardInterrupt):
        tracker.metrics({"train/total": 2.0}, 1)
