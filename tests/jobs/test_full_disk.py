"""A disk that fills up: one line that names the file, nothing torn, and the same command goes on when there is room."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest

from objadapt.pipeline.cache import cache_folders


def grow(disk) -> None:
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)


def test_a_training(run_job, tiny_config, local_ray, small_disk, tmp_path):
    command = ["--config", tiny_config, f"output={small_disk}", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "stream.hold=true"]
    full = run_job("train", *command)
    assert full.code == 2, full.err
    (line,) = [line for line in full.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {small_disk}/runs/tiny-seed0-") and "No space left on device; free some" in line
    assert not list(small_disk.glob("runs/*/summary.json"))
    grow(small_disk)
    again = run_job("train", "--json", tmp_path / "summary.json", *command)
    assert again.code == 0, again.err
    assert json.loads((tmp_path / "summary.json").read_text())["epochs"] == 2
    assert not list(small_disk.rglob("*.part"))


@pytest.mark.slow
def test_an_extraction(run_job, tiny_config, local_ray, small_disk, tmp_path):
    def extract(root):
        return run_job("extract_features", "--config", tiny_config, f"output={tmp_path}", f"stream.cache={root}", "stream.clips_per_task=4")

    full = extract(small_disk)
    assert full.code == 2, full.err
    (line,) = [line for line in full.err.splitlines() if line.startswith("error: ")]
    assert f"error: {small_disk}/" in line and "No space left on device; free some" in line
    finished = {path.name: path.stat().st_mtime_ns for path in small_disk.rglob("shards/*.json")}
    assert finished and not list(small_disk.rglob("*.part"))
    grow(small_disk)
    again = extract(small_disk)
    assert again.code == 0, again.err
    assert extract(tmp_path / "roomy").code == 0
    key = next(small_disk.iterdir()).name
    (one,), (other,) = cache_folders(small_disk, key), cache_folders(tmp_path / "roomy", key)
    shards = sorted(path.name for path in (other / "shards").glob("*.npy"))
    assert shards == sorted(path.name for path in (one / "shards").glob("*.npy")) and len(shards) > len(finished)
    for name in shards:
        assert np.array_equal(np.load(one / "shards" / name), np.load(other / "shards" / name)), name
    tables = [pd.read_parquet(folder / "index.parquet") for folder in (one, other)]
    pd.testing.assert_frame_equal(*tables)
