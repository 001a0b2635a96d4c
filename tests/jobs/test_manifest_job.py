"""jobs/manifest.py: what is missing, unreadable, duplicated or unlabelled, by split and class, for people and files."""

import json
import shutil

import pandas as pd
import pytest
from PIL import Image

from objadapt.config import Data
from objadapt.data.manifest import build_manifest

LIST = "run/a.mp4 1\nrun/b.mp4 1\nwalk/c.mp4 0\nwalk/gone.mp4 0\n"
NUMBERS = ("listed", "found", "missing", "unreadable", "duplicated")  # of a class


@pytest.fixture
def place(tmp_path, shared):
    """A list of five clips of three classes, of which one is missing, one is broken and one class has none."""
    for name in ("run/a.mp4", "run/b.mp4", "walk/c.mp4", "v.mp4"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared / "clips/variants/h264_1fps_5frames.mp4", tmp_path / "clips" / name)
    (tmp_path / "clips/run/b.mp4").write_bytes((tmp_path / "clips/run/b.mp4").read_bytes()[:2000])
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/train.txt").write_text(LIST)
    (tmp_path / "lists/val.txt").write_text("v.mp4 1\n")
    (tmp_path / "lists/label_map.txt").write_text("walk\nrun\nswim\n")
    return tmp_path


def test_the_report(run_job, place):
    options = ["--format", "video_list", "--annotations", place / "lists", "--videos", place / "clips"]
    files = ["--output", place / "out/clips.parquet", "--json", place / "out/report.json"]
    (place / "clips/swim.mp4").touch()
    done = run_job("manifest", *options, *files, "--check", "decode")
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["split", "listed", "found", "missing", "unreadable", "duplicated", "unlabelled"]
    assert lines[1:3] == [["train", "4", "2", "1", "1", "0", "0"], ["val", "1", "1", "0", "0", "0", "0"]]
    assert "label: 3 classes, 2 of them incomplete\n  walk: found 1 of 2, 1 missing\n" in done.out
    assert "\n  run: found 2 of 3, 1 unreadable\n" in done.out
    assert "  without a clip in the annotations: swim\n" in done.out
    assert "missing: walk/gone.mp4\n" in done.out and "unreadable: run/b.mp4: " in done.out
    assert done.out.endswith("official counts: none are known for this format\n")
    assert f"unlisted: {place}/clips/swim.mp4\n" in done.out
    report = json.loads((place / "out/report.json").read_text())
    assert report["names"]["missing"] == ["walk/gone.mp4"] and report["counts"]["train"]["unreadable"] == 1
    assert report["by_class"]["label"] == [
        {"class": "swim", "id": 2, **dict.fromkeys(NUMBERS, 0)},
        {"class": "walk", "id": 0, **dict(zip(NUMBERS, (2, 1, 1, 0, 0), strict=True))},
        {"class": "run", "id": 1, **dict(zip(NUMBERS, (3, 2, 0, 1, 0), strict=True))},
    ]
    table = pd.read_parquet(place / "out/clips.parquet").set_index("clip_id")
    assert table["status"].to_dict() == {
        "run/a.mp4": "found",
        "run/b.mp4": "unreadable",
        "walk/c.mp4": "found",
        "walk/gone.mp4": "missing",
        "v.mp4": "found",
    }
    assert table.loc["v.mp4", ["split", "label", "label_name"]].tolist() == ["val", 1, "run"]


def test_only_the_worst_classes_are_shown_and_all_are_in_the_file(run_job, tmp_path):
    (tmp_path / "clips").mkdir()
    rows = [f"{name}.mp4,{name}" for name in "abcdefgh"]
    for name in "abcdefg":
        (tmp_path / f"clips/{name}.mp4").touch()
        rows.append(f"{name}_gone.mp4,{name}")
    rows.append("a.mp4,a")
    table = "".join(f"{number},{row},train\n" for number, row in enumerate(rows))
    (tmp_path / "labels.csv").write_text("clip_id,path,label,split\n" + table)
    options = ["--format", "csv", "--annotations", tmp_path, "--videos", tmp_path / "clips"]
    done = run_job("manifest", *options, "--json", tmp_path / "report.json")
    assert done.code == 0, done.err
    assert "label: 8 classes, 8 of them incomplete, 1 with duplicated clips\n" in done.out
    shown = [line for line in done.out.splitlines() if line.startswith("  ") and ": found" in line]
    assert shown[0] == "  h: found 0 of 1, 1 missing" and len(shown) == 5 and "\n  and 3 more\n" in done.out
    classes = {row["class"]: row for row in json.loads((tmp_path / "report.json").read_text())["by_class"]["label"]}
    assert len(classes) == 8 and not any("unreadable" in row for row in classes.values())  # nobody has looked
    assert classes["a"] == {"class": "a", "id": 0, "listed": 3, "found": 2, "missing": 1, "duplicated": 2}


def test_a_folder_of_fewer_frames_than_its_list_says(run_job, tmp_path):
    for name, frames in (("a", 3), ("b", 2)):
        (tmp_path / name).mkdir()
        for number in range(1, frames + 1):
            Image.new("L", (8, 8)).save(tmp_path / name / f"img_{number:05d}.jpg")
    (tmp_path / "train.txt").write_text("a 3 0\nb 3 0\n")
    (tmp_path / "val.txt").write_text("a 3 0\n")
    done = run_job("manifest", "--format", "video_list", "--annotations", tmp_path, "--check", "open")
    assert done.code == 0 and "unreadable: b: the list says 3 frames, the folder holds 2\n" in done.out
    assert "duplicated: a\n" in done.out  # trained on and validated on


def test_what_is_written_is_a_table_that_can_be_trained_on(run_job, place):
    options = ["--format", "video_list", "--annotations", place / "lists", "--videos", place / "clips"]
    done = run_job("manifest", *options, "--output", place / "clips.csv")
    assert done.code == 0 and "unreadable" not in done.out
    data = Data(format="csv", root=str(place), train="clips.csv", label_column="label_name")
    with pytest.raises(Exception, match="is empty: a row without a path"):
        build_manifest(data, 0)
    table = pd.read_csv(place / "clips.csv")
    table[table["status"] == "found"].to_csv(place / "clips.csv", index=False)
    assert build_manifest(data, 0).coverage == {"train": {"found": 3, "listed": 3}, "val": {"found": 1, "listed": 1}}


def test_repeated_clips_are_told(run_job, place):
    row = "label,youtube_id,time_start,time_end,split\nrun,aaaaaaaaaaa,1,11,train\n"
    (place / "lists/train.csv").write_text(row + row.partition("\n")[2])
    (place / "lists/val.csv").write_text(row)
    done = run_job("manifest", "--format", "kinetics", "--annotations", place / "lists")
    assert done.code == 0, done.err
    assert "duplicated: aaaaaaaaaaa_000001_000011\n" in done.out and "differ from Kinetics-400" in done.out


def test_what_a_training_refuses_does_not_end_the_report(run_job, place):
    (place / "lists/train.txt").write_text(LIST + "".join(f"run/{name}.mp4 1\n" for name in "abcdefgabcdefg"))
    options = ["--format", "video_list", "--annotations", place / "lists", "--videos", place / "clips"]
    done = run_job("manifest", *options, "--json", place / "report.json")
    assert done.code == 0, done.err
    assert "duplicated: run/a.mp4, run/b.mp4, run/c.mp4, run/d.mp4, run/e.mp4 and 2 more; --output " in done.out
    refused = f"{place}/lists/train.txt: line 5 (row 5): path 'run/a.mp4' is listed more than once (and so are 6 more"
    assert f"a training refuses:\n  {refused}: 'run/b.mp4', 'run/c.mp4', ...); list each" in done.out
    report = json.loads((place / "report.json").read_text())
    assert len(report["names"]["duplicated"]) == 7 and report["counts"]["train"]["duplicated"] == 16
    assert [one.startswith(refused) for one in report["refused"]] == [True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "nowhere"], "--format: invalid choice: 'nowhere'"),
        (["--format", "csv", "--annotations", "absent"], "data.root: no folder"),
        (["--format", "hmdb51", "--annotations", ".", "data.split=4"], "data.split"),
        (["--format", "csv", "--annotations", ".", "training.epochs=4"], "this command reads data alone"),
        (["--format", "csv", "--annotations", ".", "data.root=x"], "override data.root: give it by --annotations"),
        (["--format", "csv", "--annotations", ".", "--output", "x.txt"], "ends in neither .csv nor .parquet"),
        (["--format", "davis", "--annotations", ".", "--videos", "."], "--videos: the pictures of davis lie in"),
        (["--format", "ucf101", "--annotations", ".", "data.test=x"], "data.test: format ucf101 reads no such file"),
        (["--format", "csv", "--annotations", ".", "data.labels=x"], "data.labels: format csv reads no such file"),
        (["--format", "hmdb51", "--annotations", ".", "data.val=x"], "data.val: format hmdb51 reads no such file"),
        (["--format", "csv", "--annotations", ".", "data.split=3"], "data.split: format csv has one split"),
        (["--format", "csv", "--annotations", ".", "data.train="], "override 'data.train=': the value is empty"),
    ],
)
def test_wrong_calls_end_in_one_line(run_job, arguments, message):
    done = run_job("manifest", *arguments)
    assert done.code == 2 and done.err.startswith("error: ") and done.err.count("\n") == 1
    assert message in done.err
