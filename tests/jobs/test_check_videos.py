"""jobs/check_videos.py: every broken file is named with a reason, whatever it does to the process that reads it."""

import csv
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from objadapt.commands import check_videos
from objadapt.data import check
from objadapt.data.manifest import Manifest
from objadapt.errors import InputError

SCRIPT = Path(__file__).resolve().parents[2] / "jobs" / "check_videos.py"


def start(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def test_the_hostile_folder(shared, tmp_path):
    done = start(shared / "hostile", "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    rows = {Path(row["path"]).name: row for row in json.loads((tmp_path / "found.json").read_text())["files"]}
    with open(shared / "hostile/manifest.csv", newline="") as file:
        valid = {row["file"]: row["valid"] for row in csv.DictReader(file)}
    assert rows.keys() == valid.keys() and len(rows) == 15
    for name, row in rows.items():
        assert set(row) == {"path", "ok", "decoder", "frames", "reason"}
        if row["ok"]:
            assert (
                valid[name] != "no"
                and row["frames"] >= 1
                and row["decoder"] in ("decord", "pyav")
                and row["reason"] is None
            )
        else:
            assert valid[name] != "yes" and row["reason"] and "\n" not in row["reason"]
            assert f"{row['path']}: {row['reason']}" in done.stdout
    broken = sum(not row["ok"] for row in rows.values())
    assert f"{broken} of 15 videos are broken; 1 other files were not looked at: manifest.csv" in done.stdout


def examine(path, alive):
    """Stands in for a decoder; here at the top, since the readers' processes import it."""
    if path == "crashes":
        os.abort()
    if path == "hangs":
        time.sleep(10**6)
    if path == "long":  # longer than the time without a sign of life
        for _ in range(50):
            time.sleep(0.1)
            alive()
    if path == "raises":
        raise RuntimeError("a bug of the reader")
    return {"path": path, "ok": True, "decoder": "pyav", "frames": 1, "reason": None}


def test_a_decoder_that_crashes_or_hangs_harms_no_other_file():
    paths = ["first", "hangs", "crashes", "second", "raises", "long", "third"]
    rows = {row["path"]: row for row in check.check(paths, examine, seconds=3)}
    assert rows.keys() == set(paths)
    assert [path for path in paths if rows[path]["ok"]] == ["first", "second", "long", "third"]
    assert rows["crashes"]["reason"] == "the decoder crashed"
    assert rows["hangs"]["reason"] == "no answer within 3 s"
    assert "a bug of the reader" in rows["raises"]["reason"]
    assert not multiprocessing.active_children()


def greedy(path, alive):
    """`look` at a file whose decoder asks for twice the memory that there may be."""
    with mock.patch.object(check, "scan", lambda *_: (len(np.empty(2 * check.MEMORY, np.uint8)), "pyav")):
        return check.look(path, alive)


def test_memory_of_a_file_is_bounded_and_the_process_usable_afterwards():
    rows = list(check.check(["one", "two", "three"], greedy))
    assert [row["reason"] for row in rows] == ["decode: takes more than 4 GiB of memory"] * 3


def test_what_path_may_be(tmp_path):
    for name in (
        "b.mp4",
        "deep/er/a.WEBM",
        "notes.txt",
        "a.3gp",
        "._b.mp4",
        ".ipynb_checkpoints/b-checkpoint.mp4",
        "@eaDir/b.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    videos = [str(tmp_path / name) for name in ("a.3gp", "b.mp4", "deep/er/a.WEBM")]
    assert check_videos.videos_at(tmp_path) == (videos, [str(tmp_path / "notes.txt")], 3)
    assert check_videos.videos_at(tmp_path / "notes.txt") == ([str(tmp_path / "notes.txt")], [], 0)

    table = pd.DataFrame(
        {"clip_id": ["x", "y", "z"], "path": ["s3://far/v.mp4", "near.mp4", "s3://far/v.mp4"], "split": "train"}
    )
    table["start_s"], table["end_s"], table["label"] = [0.0, np.nan, 1.0], [1.0, np.nan, 2.0], 0
    Manifest(table, {"label": ["one"]}, {"train": {"found": 3, "listed": 3}}, True).write(tmp_path / "manifest")
    videos, others, hidden = check_videos.videos_at(tmp_path / "manifest")
    assert videos == ["s3://far/v.mp4", "near.mp4"] and not others and not hidden  # a video cut into clips is read once


def test_the_report_names_what_was_not_looked_at():
    rows = [
        {"path": "/d/a.mp4", "ok": True, "reason": None},
        {"path": "/d/b.mp4", "ok": False, "reason": "open: no video stream"},
    ]
    said = check_videos.report(rows, ["/d/notes.txt", "/d/run/a.mxf"], 3, "/d")
    assert said.splitlines() == [
        "/d/b.mp4: open: no video stream",
        "1 of 2 videos are broken; 2 other files were not looked at: notes.txt, run/a.mxf; 3 hidden"
        " files were passed over",
    ]
    assert check_videos.report(rows[:1], [], 0, "/d") == "0 of 1 videos are broken"


def test_nothing_to_look_at(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        check_videos.videos_at(tmp_path / "absent")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="no video file .*, but notes.txt; give"):
        check_videos.videos_at(tmp_path)
    done = start(tmp_path / "absent")
    assert done.returncode == 2 and done.stderr.startswith("error: PATH: ") and done.stderr.count("\n") == 1


def test_help_explains_each_option():
    done = start("--help")
    assert done.returncode == 0 and "PATH" in done.stdout and "--json FILE" in done.stdout and "as JSON" in done.stdout
