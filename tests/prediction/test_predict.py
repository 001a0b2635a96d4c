"""objadapt predict on a trained run: what the evaluation said, over time, without Ray, and nothing overwritten."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from objadapt.data.manifest import Manifest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run_folder(trained) -> Path:
    return Path(json.loads(trained.json.read_text())["checkpoint"]).parent


@pytest.fixture(scope="module")
def said(run_folder, run_job, tmp_path_factory) -> tuple[pd.DataFrame, dict, Path]:
    """Rows, JSON and folder of the validation clips, one of them long and one broken."""
    folder = tmp_path_factory.mktemp("videos")
    table = Manifest.read(run_folder / "manifest").table
    for path in table.loc[table["split"] == "val", "path"]:
        shutil.copy(path, folder)
    (folder / "below").mkdir()
    (folder / "below" / "broken.mp4").write_bytes(b"no video")
    (folder / "notes.txt").write_text("left alone")
    write_long(folder / "below" / "long.mp4")
    files = folder.parent / f"{folder.name}.csv", folder.parent / f"{folder.name}.json"
    done = run_job("predict", "--checkpoint", run_folder, folder, "--predictions", files[0], "--predictions", files[1])
    assert done.code == 0, done.err
    assert "17 of 18 videos predicted, 1 could not be read" in done.out
    assert f"{folder}/below/broken.mp4: open: " in done.out
    return pd.read_csv(files[0], keep_default_na=False), json.loads(files[1].read_text()), folder


def write_long(path: Path, frames: int = 100) -> None:
    """A square moves across grey, 24 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            picture = np.full((48, 64, 3), 90, np.uint8)
            picture[10:20, number % 50 : number % 50 + 12] = (220, 30, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_a_clip_s_answer_is_that_of_the_evaluation(said, run_folder):
    evaluated = pd.read_csv(run_folder / "predictions.csv")
    names = said[1]["classes"]["label"]
    answers = {Path(one["path"]).name: one for one in said[1]["videos"]}
    for _, clip in evaluated.iterrows():
        answer = answers[Path(clip["path"]).name]
        assert len(answer["windows"]) == 1 and answer["problem"] is None
        expected = [clip[f"label: {name}"] for name in names]
        assert answer["heads"]["label"]["probabilities"] == pytest.approx(expected, abs=1e-3)
        assert answer["heads"]["label"]["top"][0] == clip["top1"]
    assert len(evaluated) == 16


def test_the_whole_is_the_mean_of_windows_as_long_as_a_training_clip(said):
    (long,) = [one for one in said[1]["videos"] if one["path"].endswith("long.mp4")]
    assert said[1]["window_s"] == pytest.approx(1.0, abs=0.3)  # 12 frames of toy video
    assert long["frames"] == 100 and long["seconds"] == pytest.approx(100 / 24, abs=1e-4)
    assert len(long["windows"]) > 3 and long["windows"][-1]["end_s"] == pytest.approx(100 / 24, abs=1e-4)
    rows = said[0][said[0]["path"] == long["path"]]
    assert rows["part"].tolist() == ["whole", *map(str, range(1, len(rows)))]
    best = long["heads"]["label"]
    assert best["top"] == rows.iloc[0][[f"top{rank}" for rank in range(1, 6)]].tolist()
    assert sum(best["probabilities"]) == pytest.approx(1, abs=1e-4)
    values = rows[[f"probability{rank}" for rank in range(1, 6)]].astype(float).to_numpy()
    assert (np.diff(values, axis=1) <= 0).all()
    shares = [dict(zip(one["heads"]["label"]["top"], one["heads"]["label"]["top_probabilities"], strict=True))
              for one in long["windows"]]  # fmt: skip
    first = best["top"][0]
    if all(first in one for one in shares):
        assert np.mean([one[first] for one in shares]) == pytest.approx(best["top_probabilities"][0], abs=1e-5)


def test_a_broken_video_has_its_row_and_its_reason(said):
    rows, tree, folder = said
    (broken,) = [one for one in tree["videos"] if one["problem"]]
    assert broken["path"] == f"{folder}/below/broken.mp4" and broken["windows"] == []
    (row,) = rows[rows["problem"] != ""].to_dict("records")
    assert row["problem"] == broken["problem"] and row["top1"] == ""
    paths = [one["path"] for one in tree["videos"]]
    assert paths == sorted(paths) and len(paths) == 18


def test_a_folder_of_frames_has_frames_and_no_seconds(run_folder, run_job, tmp_path):
    """It does not say when its frames were taken; their numbers stood there as seconds."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(10):
        Image.fromarray(np.full((48, 64, 3), 20 * number, np.uint8)).save(folder / f"{number:05d}.jpg")
    files = tmp_path / "said.csv", tmp_path / "said.json"
    call = ["predict", "--checkpoint", run_folder, folder, "--window", "4", "--step", "3", "--overlay", tmp_path / "o"]
    done = run_job(*call, "--predictions", files[0], "--predictions", files[1])
    assert done.code == 0, done.err
    assert "frames  10 frames, mean of 3 windows" in done.out and "frames    3 to 6  " in done.out
    assert " s  " not in done.out
    rows = pd.read_csv(files[0])
    assert rows["start_s"].isna().all() and rows["end_s"].isna().all()
    assert rows[["start_frame", "end_frame"]].to_numpy().tolist() == [[0, 10], [0, 4], [3, 7], [6, 10]]
    (video,) = json.loads(files[1].read_text())["videos"]
    assert video["seconds"] is None and video["frames"] == 10
    assert [one["start_s"] for one in video["windows"]] == [None] * 3
    assert (tmp_path / "o" / "frames.mp4").exists()


def test_nothing_is_overwritten_and_no_readable_video_is_an_error(said, run_folder, run_job, tmp_path):
    folder = said[2]
    (tmp_path / "there.csv").write_text("mine")
    done = run_job("predict", "--checkpoint", run_folder, folder, "--predictions", tmp_path / "there.csv")
    assert done.code == 2 and "there.csv is there already" in done.err
    shutil.copy(folder / "below" / "broken.mp4", tmp_path)
    for extra in ([], ["--overlay", tmp_path]):
        done = run_job("predict", "--checkpoint", run_folder, tmp_path / "broken.mp4", *extra)
        assert done.code == 2 and done.err.count("\n") == 1, done.err
        assert ("none could be read" in done.err) == (not extra) and ("is there already" in done.err) == bool(extra)
    assert (tmp_path / "there.csv").read_text() == "mine" and (tmp_path / "broken.mp4").read_bytes() == b"no video"


def test_the_overlay_is_the_video_with_objects_and_the_answer_below(said, run_folder, run_job, tmp_path):
    video = said[2] / "below" / "long.mp4"
    call = [
        "predict",
        "--checkpoint",
        run_folder,
        video,
        "--overlay",
        tmp_path / "seen",
        "--window",
        "2",
        "--step",
        "1",
    ]
    done = run_job(*call)
    assert done.code == 0, done.err
    assert "mean of 4 windows" in done.out and done.out.count(" s  ") >= 4
    with av.open(str(tmp_path / "seen" / "long.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 100 and frames[0].shape[1] == 480 and frames[0].shape[0] > 360 + 3 * 24
    picture, below = frames[50][:360], frames[50][360:]
    assert np.ptp(picture.reshape(-1, 3).astype(int), axis=0).max() > 60, "slots have colours of their own"
    dark, light = (below.max(axis=2) < 90).sum(), (below.min(axis=2) > 240).sum()
    assert dark > 200 and light > below.shape[0] * 100, "words on paper"
    again = run_job(*call)
    assert again.code == 2 and "long.mp4 is there already" in again.err


def test_it_needs_neither_ray_nor_a_data_set(said, run_folder, tmp_path):
    """By an exported folder, which is a checkpoint, too; in a fresh process, in which Ray cannot be imported."""
    program = """
import json, sys
sys.modules["ray"] = sys.modules["mlflow"] = None
from objadapt import commands
if __name__ == "__main__":
    for call in json.loads(sys.argv[1]):
        sys.argv = ["objadapt", *call]
        commands.main()
"""
    (tmp_path / "program.py").write_text(program)
    state = json.loads((run_folder / "last" / "state.json").read_text())
    video = str(said[2] / "below" / "long.mp4")
    weights = f"backbone.weights={state['config']['backbone']['weights']}"
    calls = [
        ["export", "--checkpoint", str(run_folder), "--output", "exported"],
        ["predict", "--checkpoint", "exported", video, "--predictions", "out.csv", weights],
    ]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "platform")}
    command = [sys.executable, "program.py", json.dumps(calls)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    expected = said[0][said[0]["path"] == video].reset_index(drop=True)
    for column in ("part", "start_s", "end_s", "top1"):
        assert rows[column].astype(str).tolist() == expected[column].astype(str).tolist()
