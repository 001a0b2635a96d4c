"""What the app says of a run is what its files show, and no more."""

import json
from pathlib import Path

import pytest

from dashboards.folder_store import FolderRun, FolderStore, read_run
from dashboards.run_files import read_records
from dashboards.run_state import ago_text, so_far, state

NOW = 10_000.0


@pytest.fixture
def run(tmp_path):
    """`run(records, checkpoint)`: the folder of a run with records `(kind, seconds, more)`; None: no file."""

    def make(records: list | None, checkpoint: bool = False) -> FolderRun:
        if records is not None:
            lines = [json.dumps({"kind": kind, "time": seconds} | more) + "\n" for kind, seconds, more in records]
            (tmp_path / "records.jsonl").write_text("".join(lines))
        if checkpoint:
            (tmp_path / "last").mkdir()
        return FolderRun(tmp_path, {})

    return make


def told(run: FolderRun, now: float = NOW):
    path = run.folder / "records.jsonl"
    return state(run, read_records(path) if path.exists() else None, now)


EPOCH = ("metrics", 9000.0, {"step": 3, "values": {"epoch/train/total": 0.5, "epoch/val/top1": 0.25}})
START = ("start", 8000.0, {})


def test_a_run_that_never_started_goes_on_from_nothing(run):
    found = told(run(None))
    assert found.word == "not begun" and "no checkpoint" in found.sentence and "starts anew" in found.sentence


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize(
    "records, word",
    [
        ([START], "cut off, no step yet"),
        ([START, EPOCH], "cut off, epoch 3"),
        ([START, EPOCH, ("finish", 9000.0, {"status": "FAILED"})], "failed, epoch 3"),
        ([START, EPOCH, ("finish", 9000.0, {"status": "KILLED"})], "stopped, epoch 3"),
        ([START, EPOCH, ("finish", 9000.0, {"status": "FINISHED"})], "trained, epoch 3"),
    ],
)
def test_a_checkpoint_is_told_of_where_there_is_one(run, records, word, checkpoint):
    found = told(run(records, checkpoint))
    assert found.word == word
    assert ("goes on from its last checkpoint" in found.sentence) is checkpoint


def test_a_run_with_fresh_records_probably_runs_and_a_resumed_one_is_not_failed(run):
    records = [START, EPOCH, ("finish", 9000.0, {"status": "FAILED"}), ("start", 9900.0, {})]
    found = told(run(records))
    assert found.word == "running, epoch 3" and "100 s ago" in found.sentence


def test_an_interrupted_run_shows_what_it_has(run):
    made = run([START, EPOCH])
    assert so_far(read_records(made.folder / "records.jsonl")) == {"epochs": 3, "train_loss": 0.5, "top1": 0.25}
    (made.folder / "records.jsonl").write_text("")
    assert so_far(read_records(made.folder / "records.jsonl")) == {}


def test_settings_marks_and_times_of_a_folder(tmp_path):
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    assert read_run(folder).settings == {} and read_run(folder).mlflow_run is None and read_run(folder).changed == 0
    (folder / "config.yaml").write_text("seed: 0\nmethod:\n  slots:\n    number: 8\n  interval: null\n")
    (folder / "mlflow_run.json").write_text('{"run_id": "abc", "uri": "http://127.0.0.1:9"}')
    found = read_run(folder)
    assert found.settings == {"seed": "0", "method.slots.number": "8", "method.interval": "None"}
    assert found.mlflow_run == "abc" and FolderStore(tmp_path).tracking_uri(found) == "http://127.0.0.1:9"
    (folder / "config.yaml").write_bytes(b"\xff: [")
    assert read_run(Path(folder)).settings == {}, "Runs shows the rest"


def test_times_in_words():
    assert [ago_text(seconds) for seconds in (5, 600, 7200, 300_000)] == ["5 s", "10 min", "2 h", "3 days"]
