"""A store that answers and refuses: named with its remedy before a training, said once in the middle of one.

Nothing is lost.
"""

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path

import optuna
import pytest
from mlflow.tracking import MlflowClient

from objadapt import tracking
from objadapt.errors import InputError
from objadapt.store_uri import sqlite_uri
from objadapt.tracking import Tracker, prepare_store
from objadapt.tracking.store import make_experiment


@pytest.fixture(scope="module")
def fresh_database(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    prepare_store(sqlite_uri(path))
    return path


@pytest.fixture
def store(tmp_path, fresh_database) -> str:
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    return sqlite_uri(tmp_path / "mlflow.db")


@pytest.fixture
def tracker(store, tmp_path) -> Tracker:
    return Tracker(store, "toy", tmp_path / "records.jsonl")


@pytest.fixture
def warnings(caplog) -> list[str]:
    """What the user has been told so far."""

    class Told(list):
        def __iter__(self):
            return iter([one.getMessage() for one in caplog.records if one.name == tracking.log.name])

    return Told()


def refused(store: str, tmp_path: Path, *words: str) -> None:
    """Both looks at a store, before a training and at its start, refuse in one line."""
    for look in (
        lambda: prepare_store(store, "toy"),
        lambda: Tracker(store, "toy", tmp_path / "records.jsonl").start("run", {}, {}),
    ):
        with pytest.raises(InputError, match="^tracking") as caught:
            look()
        said = str(caught.value)
        assert "\n" not in said and "does not answer" not in said and all(word in said for word in words), said


def history(store: str, run_id: str, name: str) -> list[int]:
    return [one.step for one in MlflowClient(tracking_uri=store).get_metric_history(run_id, name)]


def test_a_deleted_experiment_is_named_with_its_remedy(tracker, store, tmp_path):
    tracker.start("run", {}, {})
    client = MlflowClient(tracking_uri=store)
    number = client.get_experiment_by_name("toy").experiment_id
    client.delete_experiment(number)
    command = f"MLFLOW_TRACKING_URI={store} mlflow experiments restore --experiment-id {number}"
    refused(store, tmp_path, "'toy' was deleted", "tracking.experiment=NAME", command)
    assert Tracker(store, "other", tmp_path / "other.jsonl").start("run", {}, {})  # the one remedy
    client.restore_experiment(number)
    assert Tracker(store, "toy", tmp_path / "records.jsonl").start("run", {}, {})  # the other


@pytest.mark.parametrize("how", ["deleted", "of a store that was made anew"])
def test_a_deleted_run_is_replaced_by_a_new_one(how, tracker, store, tmp_path, fresh_database, warnings):
    run_id = tracker.start("run", {}, {"lr": 1})
    if how == "deleted":
        MlflowClient(tracking_uri=store).delete_run(run_id)
    else:
        run_id = "0" * 32
    again = Tracker(store, "toy", tmp_path / "records.jsonl")
    new = again.start("run", {}, {"lr": 1}, run_id)
    again.metrics({"loss": 1.0}, 5)
    assert again.finish() and new not in (None, run_id)
    client = MlflowClient(tracking_uri=store)
    assert client.get_run(new).data.params == {"lr": "1"} and history(store, new, "loss") == [5]
    (said,) = warnings
    assert run_id in said and "new one" in said and "records.jsonl" in said
    assert client.get_run(new).info.status == "FINISHED"


def test_a_run_deleted_in_the_middle_is_said_once_and_gets_the_rest_when_it_is_restored(
    tracker, store, warnings, monkeypatch
):
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    run_id, client = tracker.start("run", {}, {}), MlflowClient(tracking_uri=store)
    tracker.metrics({"loss": 4.0}, 1)
    client.delete_run(run_id)
    for step in (2, 3, 4):
        tracker.metrics({"loss": 1.0}, step)
    (said,) = warnings
    assert "was deleted" in said and "records.jsonl" in said and "does not answer" not in said
    client.restore_run(run_id)
    assert tracker.finish() and history(store, run_id, "loss") == [1, 2, 3, 4]


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_what_is_deleted_to_the_end_is_said_with_what_mlflow_lacks(what, tracker, store, tmp_path, warnings):
    run_id, client = tracker.start("run", {}, {}), MlflowClient(tracking_uri=store)
    client.delete_run(run_id) if what == "run" else client.delete_experiment(
        client.get_experiment_by_name("toy").experiment_id
    )
    for step in range(1, 30):
        tracker.metrics({"loss": 1.0, "lr": 0.1}, step)
    (tmp_path / "notes.txt").write_text("hello")
    tracker.artifact(tmp_path / "notes.txt")
    assert tracker.finish() is False
    middle, end = warnings
    assert "was deleted" in middle
    assert all(
        word in end for word in (run_id, "lacks", "58 numbers", "notes.txt", "its end", str(tmp_path / "records.jsonl"))
    )
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert kinds == ["start", *["metrics"] * 29, "artifact", "finish"]


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    for name in ("study.db", "any.db"):
        path = tmp_path / name
        if name == "study.db":
            optuna.create_study(storage=sqlite_uri(path))
        else:
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE experiments (x INTEGER)")
        before = path.read_bytes()
        with pytest.raises(InputError, match=f"^tracking.uri: .*{name}: not a store of MLflow"):
            prepare_store(sqlite_uri(path))
        assert path.read_bytes() == before


def test_an_older_schema_is_named_with_mlflows_own_command(store, tmp_path):
    schema(tmp_path / "mlflow.db", "df50e92ffc5e")
    for look in (
        lambda: prepare_store(store),
        lambda: Tracker(store, "toy", tmp_path / "records.jsonl").start("run", {}, {}),
    ):
        with pytest.raises(InputError, match="older MLflow") as caught:
            look()
        assert f"mlflow db upgrade {store}" in str(caught.value)


def test_a_newer_schema_asks_for_a_newer_mlflow(store, tmp_path):
    schema(tmp_path / "mlflow.db", "ffffffffffff")
    with pytest.raises(InputError, match="newer MLflow") as caught:
        prepare_store(store)
    assert "db upgrade" not in str(caught.value)


def schema(path: Path, version: str) -> None:
    """Another path to the same content, since MLflow keeps the stores that it has opened."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def test_a_store_that_may_not_be_written_is_refused(small_disk, fresh_database, tmp_path):
    remount(small_disk, "size=20m")
    shutil.copy(fresh_database, small_disk / "mlflow.db")
    remount(small_disk, "ro")
    refused_before = pytest.raises(InputError, match="^tracking.uri: .*mlflow.db: .*readonly.*make it writable")
    with refused_before:
        prepare_store(sqlite_uri(small_disk / "mlflow.db"))
    with pytest.raises(InputError, match="^tracking.uri: .*Read-only file system"):
        prepare_store(sqlite_uri(small_disk / "new" / "mlflow.db"))
    with pytest.raises(InputError, match="^tracking.uri: "):
        prepare_store(sqlite_uri(small_disk / "new.db"))


def test_a_full_disk_is_said_as_such_at_the_start_and_in_the_middle(small_disk, fresh_database, tmp_path, warnings):
    with pytest.raises(InputError, match="full.*free some"):
        prepare_store(sqlite_uri(small_disk / "new.db"))
    (small_disk / "new.db").unlink(missing_ok=True)
    remount(small_disk, "size=20m")
    store = sqlite_uri(small_disk / "mlflow.db")
    shutil.copy(fresh_database, small_disk / "mlflow.db")
    tracker = Tracker(store, "toy", tmp_path / "records.jsonl")
    run_id = tracker.start("run", {}, {})
    fill(small_disk)
    tracker.series([(step, {f"loss{number}": 1.0 for number in range(20)}) for step in range(1, 200)])
    (said,) = warnings
    assert "full" in said and "free some" in said and "does not answer" not in said
    with pytest.raises(InputError, match="full.*free some"):
        Tracker(store, "toy", tmp_path / "other.jsonl").start(
            "x" * 5000, {f"tag{number}": "x" * 4000 for number in range(20)}, {}
        )
    remount(small_disk, "size=60m")
    assert tracker.finish() and history(store, run_id, "loss7") == list(range(1, 200))


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"0" * 4096)
        except OSError:
            pass


def test_artifacts_that_cannot_be_written_are_refused_before_the_training(tracker, store, tmp_path):
    (tmp_path / "mlartifacts").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="mlartifacts, which cannot be written"):
        tracker.start("run", {}, {})
    (tmp_path / "mlartifacts").unlink()
    assert tracker.start("run", {}, {})
    shutil.rmtree(tmp_path / "mlartifacts")
    (tmp_path / "mlartifacts").write_text("")
    refused(store, tmp_path, "mlartifacts, which cannot be written")


def test_an_artifact_store_that_refuses_holds_up_nothing(store, tmp_path, warnings):
    MlflowClient(tracking_uri=store).create_experiment("toy", "s3://bucket/folder")  # its library is not installed here
    tracker = Tracker(store, "toy", tmp_path / "records.jsonl")
    run_id = tracker.start("run", {}, {})
    (tmp_path / "notes.txt").write_text("hello")
    tracker.artifact(tmp_path / "notes.txt")
    tracker.metrics({"loss": 1.0}, 1)
    assert tracker.finish() is False
    assert (
        history(store, run_id, "loss") == [1]
        and MlflowClient(tracking_uri=store).get_run(run_id).info.status == "FINISHED"
    )
    middle, end = warnings
    assert "notes.txt" in middle and "lacks" in end and "notes.txt" in end and "numbers" not in end


def test_an_experiment_that_another_process_makes_in_the_meantime_is_used(store):
    client = MlflowClient(tracking_uri=store)
    assert make_experiment(client, store, "toy") == make_experiment(client, store, "toy")
    client.delete_experiment(client.get_experiment_by_name("toy").experiment_id)
    with pytest.raises(InputError, match="was deleted"):
        make_experiment(client, store, "toy")


def test_a_name_that_mlflow_does_not_take_is_told_before_the_training(store, tmp_path):
    for name in ("", "x" * 1000):
        with pytest.raises(InputError, match="^tracking.experiment: "):
            Tracker(store, name, tmp_path / "records.jsonl").start("run", {}, {})


def test_numbers_that_a_worker_was_refused_are_told_by_the_driver(tracker, store, warnings):
    run_id = tracker.start("run", {}, {})
    tracker.series([(1, {"bad name \x00": 1.0, "loss": 1.0})])
    unsent = json.loads(json.dumps(tracker.take_unsent()))
    assert len(unsent) == 2
    driver = Tracker(store, "toy", tracker.records)
    driver.run_id = run_id
    driver.give(unsent)
    assert driver.finish() is False and "2 numbers" in list(warnings)[-1]


def test_a_step_that_was_refused_is_sent_by_the_driver_though_later_ones_are_there(tracker, store, monkeypatch):
    run_id = tracker.start("run", {}, {})
    taken = MlflowClient.log_batch

    def take_no_first(client, run, metrics=(), *more, **others):
        if any(one.step == 1 for one in metrics):
            raise ValueError("API request failed with error code 413 != 200")
        return taken(client, run, metrics, *more, **others)

    with monkeypatch.context() as once:
        once.setattr(MlflowClient, "log_batch", take_no_first)
        tracker.series([(1, {"loss": 1.0})])
        tracker.series([(2, {"loss": 0.5})])
        unsent = json.loads(json.dumps(tracker.take_unsent()))
    assert [step for *_, step in unsent] == [1] and history(store, run_id, "loss") == [2]
    driver = Tracker(store, "toy", tracker.records)
    driver.run_id = run_id
    driver.give(unsent)
    assert driver.finish() and sorted(history(store, run_id, "loss")) == [1, 2]


def test_a_store_in_memory_is_refused(tmp_path):
    for uri in ("sqlite://", "sqlite:///:memory:", "sqlite:///"):
        with pytest.raises(InputError, match="^tracking.uri: .* is lost"):
            prepare_store(uri)
