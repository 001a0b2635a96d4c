"""What the results app reads of a store: all of it where it is whole, one line that names the file where it is not."""

import copy
import json
import os

import pandas as pd
import pytest

from dashboards.folder_store import FolderRun, FolderStore, read_outcome, read_run, stamp, sweeps
from dashboards.inference import trained
from dashboards.run_files import (
    read_clips,
    read_quarantine,
    read_records,
    read_scores,
    scores_of_clips,
    scores_of_sequences,
    surest_first,
)
from objadapt.data.manifest import Manifest
from objadapt.errors import InputError
from objadapt.tables import formats
from objadapt.tracking import Tracker


def test_an_empty_store_is_empty(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert FolderStore(folder).tables() == [] == FolderStore(folder).runs() and sweeps(folder) == []


def test_tables_are_found_the_last_written_first(tmp_path, found):
    formats.write(found, tmp_path / "tables" / "toy")
    formats.write(found | {"table": "older"}, tmp_path / "tables" / "toy")
    os.utime(tmp_path / "tables" / "toy" / "older.json", ns=(1, 1))
    (tmp_path / "tables" / "toy" / "losses.mlflow.json").write_text("{}")
    (tmp_path / "tables" / "k400").mkdir()
    started = tmp_path / "tables" / "k400" / "begun.mlflow.json"
    started.write_text("{}")
    os.utime(started, ns=(2, 2))
    assert [(one.dataset, one.name, one.written is not None) for one in FolderStore(tmp_path).tables()] == [
        ("toy", "losses", True),
        ("k400", "begun", False),
        ("toy", "older", True),
    ]
    first, second, _ = FolderStore(tmp_path).tables()
    assert FolderStore(tmp_path).outcome(first) == found and FolderStore(tmp_path).outcome(second) is None


def test_a_damaged_table_is_refused_by_name_whatever_is_missing(tmp_path, found):
    """Every key of an outcome taken away, or of another type: shown as it is, or refused, never another exception."""
    path, refused = tmp_path / "losses.json", 0
    places = (
        [(key,) for key in found]
        + [("rows", 0, key) for key in found["rows"][0]]
        + [("columns", 0, key) for key in found["columns"][0]]
    )
    for place in places:
        for broken in (None, 7, "text", [1], ...):
            tree = copy.deepcopy(found)
            *way, last = place
            at = tree
            for step in way:
                at = at[step]
            if broken is ...:
                del at[last]
            else:
                at[last] = broken
            path.write_text(json.dumps(tree))
            try:
                formats.markdown(read_outcome(path))
            except InputError as error:
                refused += 1
                assert str(path) in str(error) and "\n" not in str(error)
    assert refused > len(places), "most of these cannot be shown"
    for text in ("", "{", "[]", "null", '{"rows": [', "\0\0"):
        path.write_text(text)
        with pytest.raises(InputError, match="losses.json: damaged"):
            read_outcome(path)


def test_a_table_that_a_newer_version_wrote_is_refused_with_the_version_that_reads_it(tmp_path, found):
    path = tmp_path / "losses.json"
    path.write_text(json.dumps(found | {"format": 3, "objadapt": "0.9.0"}))
    with pytest.raises(InputError, match=r"losses\.json: written by a newer objadapt .*; use objadapt >= 0\.9\.0$"):
        read_outcome(path)


def test_runs_come_newest_first_and_a_damaged_one_does_not_hide_the_others(tmp_path):
    for age, (name, text) in enumerate((("a", '{"top1": 0.5}'), ("b", "{"), ("c", None))):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        file = folder / ("records.jsonl" if text is None else "summary.json")
        file.write_text(text or "")
        os.utime(file, (1000 + age, 1000 + age))
    found = FolderStore(tmp_path).runs()
    assert [run.folder.name for run in found] == ["c", "b", "a"]
    assert [run.finished for run in found] == [False, False, True]
    assert found[0].problem is None and "b/summary.json" in found[1].problem and found[2].summary == {"top1": 0.5}
    assert read_run(tmp_path / "runs" / "a") == found[2]


def test_the_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "file"
    absent = stamp(path)
    path.write_text("a")
    first = stamp(path)
    path.write_text("ab")
    assert len({absent, first, stamp(path)}) == 3


def test_records_are_what_the_tracker_wrote(tmp_path):
    tracker = Tracker("http://127.0.0.1:9", "tests", tmp_path / "records.jsonl")
    tracker.start("a run", {}, {})
    for step in (1, 2, 3):
        tracker.metrics({"step/total": 1 / step}, step)
    tracker.metrics({"epoch/train/total": 0.5, "epoch/val/top1": float("nan")}, 1)
    tracker.metrics({"final/top1": 0.25}, 1)
    assert read_records(tracker.records).status is None, "not ended yet"
    tracker.finish()
    found = read_records(tracker.records)
    assert found.steps["total"].to_dict() == {1: 1.0, 2: 0.5, 3: 1 / 3}
    assert found.epochs["train/total"].to_dict() == {1: 0.5} and found.epochs["val/top1"].isna().all()
    assert found.status == "FINISHED" and found.damaged == 0 and found.seconds > 1.7e9


def test_a_training_that_begins_anew_stands_where_it_is_and_not_where_the_last_one_was_cut_off(tmp_path):
    tracker = Tracker("http://127.0.0.1:9", "tests", tmp_path / "records.jsonl")
    tracker.start("run", {}, {})
    tracker.series([(step, {"step/total": 1.0}) for step in range(1, 901)])
    tracker.start("run", {}, {})
    assert len(read_records(tmp_path / "records.jsonl").steps) == 900, "it has no step of its own yet"
    tracker.series([(step, {"step/total": 2.0}) for step in range(1, 4)])
    steps = read_records(tmp_path / "records.jsonl").steps
    assert list(steps.index) == [1, 2, 3] and set(steps["total"]) == {2.0}
    tracker.start("run", {}, {})
    tracker.metrics({"step/total": 3.0}, 3)
    tracker.metrics({"epoch/train/total": 3.0}, 1)
    records = read_records(tmp_path / "records.jsonl")
    assert records.steps["total"].tolist() == [2.0, 2.0, 3.0] and len(records.epochs) == 1


def test_a_record_in_the_middle_of_being_written_is_no_damage(tmp_path):
    path = tmp_path / "records.jsonl"
    line = json.dumps({"time": 5.0, "kind": "metrics", "step": 1, "values": {"epoch/a": 1.0}})
    path.write_text(f"{line}\n{line[:20]}")
    assert read_records(path).damaged == 0 and read_records(path).epochs["a"].to_dict() == {1: 1.0}
    path.write_text(f'\0\0\n[]\n{{"time": 1}}\n{{"time": 1, "kind": "metrics", "values": 3, "step": 1}}\n{line}\n')
    assert read_records(path).damaged == 4 and read_records(path).epochs["a"].to_dict() == {1: 1.0}
    path.write_text("")
    assert read_records(path).epochs.empty and read_records(path).seconds is None
    with pytest.raises(InputError, match="no records"):
        read_records(tmp_path / "none.jsonl")


def manifest() -> Manifest:
    table = pd.DataFrame(
        {
            "clip_id": ["t", "a", "b", "c"],
            "path": ["t.mp4", "a.mp4", "b.mp4", "c.mp4"],
            "start_s": [None, 1.0, None, None],
            "end_s": [None, 2.0, None, None],
            "label": [0, 0, 1, 1],
            "split": ["train", "val", "val", "val"],
        }
    )
    return Manifest(table, {"label": ["no", "yes"]}, {}, True)


def test_right_clips_come_before_mistakes_and_the_surest_first(tmp_path):
    manifest().write(tmp_path / "manifest")
    clips, _ = read_clips(tmp_path)
    assert clips["clip_id"].tolist() == ["a", "b", "c"] and clips["head"].isna().all(), "no predictions yet"
    predictions = {
        "row": [1, 2, 3],
        "head": "label",
        "true": [0, 1, 1],
        "predicted": [1, 0, 1],
        "probability": [0.6, 0.9, 0.8],
        "rank": [1, 1, 0],
    }
    pd.DataFrame(predictions).to_parquet(tmp_path / "clips.parquet")
    clips, classes = read_clips(tmp_path)
    assert classes == {"label": ["no", "yes"]}
    ordered = surest_first(clips)
    assert ordered["clip_id"].tolist() == ["c", "b", "a"] and ordered["wrong"].tolist() == [False, True, True]
    assert (
        ordered.loc[1, ["true", "predicted", "path"]].tolist() == ["yes", "no", "b.mp4"]
        and ordered.loc[2, "start_s"] == 1.0
    )


@pytest.mark.parametrize("row, predicted", [(9, 0), (1, 9), ("x", 0)])
def test_predictions_of_other_clips_are_refused(tmp_path, row, predicted):
    manifest().write(tmp_path / "manifest")
    predictions = {
        "row": [row],
        "head": "label",
        "true": [0],
        "predicted": [predicted],
        "probability": [0.5],
        "rank": [0],
    }
    pd.DataFrame(predictions).to_parquet(tmp_path / "clips.parquet")
    with pytest.raises(InputError, match="clips.parquet: does not belong"):
        read_clips(tmp_path)
    (tmp_path / "clips.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(InputError, match="clips.parquet: cannot be read"):
        read_clips(tmp_path)


def test_a_clip_without_a_label_is_neither_right_nor_wrong():
    clips = pd.DataFrame({"clip_id": list("abcd"), "true": ["x", None, "x", None], "predicted": ["y", "x", "x", "x"]})
    judged = surest_first(clips.assign(probability=[0.9, 0.8, 0.3, 0.95]))
    assert judged["clip_id"].tolist() == ["c", "a", "d", "b"]
    assert judged["wrong"].tolist()[:2] == [False, True] and judged["wrong"][2:].isna().all()


def test_a_clip_has_the_score_of_its_own_folder_s_sequence():
    """`dog` of another folder is another video."""
    own = {"objects": pd.DataFrame({"sequence": ["dog", "dog", "cat"], "J&F": [0.2, 0.4, 0.5]})}
    other = {"objects": pd.DataFrame({"sequence": ["dog", "car"], "J&F": [0.9, 0.8]})}
    clips = pd.Series(["cat", "dog", "cow"])
    for scores in ([own, other], [other, own], [own]):
        found = scores_of_clips(scores, clips)
        assert found[:2].tolist() == pytest.approx([0.5, 0.3]) and found[2:].isna().all()
    assert scores_of_clips([], clips).isna().all() and len(scores_of_clips([], clips)) == 3


def test_scores_and_quarantine(tmp_path):
    assert read_scores(tmp_path) == [] and read_quarantine(tmp_path).empty
    rows = [{"sequence": "a", "J&F-Mean": 0.5}, {"sequence": "b", "J&F-Mean": 0.25}]
    (tmp_path / "objects-12.json").write_text(json.dumps({"davis": "d", "scores": {"J&F-Mean": 0.4}, "objects": rows}))
    (score,) = read_scores(tmp_path)
    assert score["davis"] == "d" and score["mean"] == 0.4 and score["objects"]["J&F"].tolist() == [0.5, 0.25]
    assert scores_of_sequences(score).to_dict() == {"a": 0.5, "b": 0.25}
    (tmp_path / "objects-12.json").write_text('{"objects": [3]}')
    with pytest.raises(InputError, match="objects-12.json: not the scores"):
        read_scores(tmp_path)
    told = pd.DataFrame(
        [["NA", "a,b.mp4", "val", "decode", 'line "two"\nthree']],
        columns=["clip_id", "path", "split", "stage", "reason"],
    )
    told.to_csv(tmp_path / "quarantine.csv", index=False)
    assert read_quarantine(tmp_path).equals(told.astype(str))
    (tmp_path / "quarantine.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(InputError, match="quarantine.csv: damaged"):
        read_quarantine(tmp_path)


def test_the_most_accurate_run_with_a_checkpoint_comes_first(tmp_path):
    shares = {"weak": 0.2, "strong": 0.6, "unfinished": None, "without": 0.9}
    runs = []
    for name, top1 in shares.items():
        if name != "without":
            (tmp_path / name / "last").mkdir(parents=True)
        runs.append(FolderRun(tmp_path / name, {} if top1 is None else {"top1": top1}))
    assert [run.folder.name for run in trained(runs)] == ["strong", "weak", "unfinished"]
