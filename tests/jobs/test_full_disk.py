"""A disk that fills up: one line that names the file, nothing torn, and the same command goes on when there is room."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from objadapt.pipeline.cache_folder import cache_folders

REPOSITORY = Path(__file__).resolve().parents[2]


def grow(disk) -> None:
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)


@pytest.mark.slow
def test_a_training(run_job, tiny_config, local_ray, small_disk, tmp_path):
    command = [
        "--config",
        tiny_config,
        f"output={small_disk}",
        f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
        "stream.hold=true",
    ]
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
def test_an_extraction(tiny_config, small_disk, tmp_path):
    def extract(root) -> subprocess.CompletedProcess:
        """In a process of its own: what fails in Ray Data keeps its actors until its process ends."""
        command = [
            sys.executable,
            REPOSITORY / "jobs" / "extract_features.py",
            "--config",
            tiny_config,
            f"output={tmp_path}",
        ]
        return subprocess.run(
            [*command, f"stream.cache={root}", "stream.clips_per_task=4"], capture_output=True, text=True
        )

    full = extract(small_disk)
    assert full.returncode == 2, full.stderr
    (line,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert f"error: {small_disk}/" in line and "No space left on device; free some" in line
    finished = {path.name: path.stat().st_mtime_ns for path in small_disk.rglob("shards/*.json")}
    assert finished and not list(small_disk.rglob("*.part"))
    grow(small_disk)
    again = extract(small_disk)
    assert again.returncode == 0, again.stderr
    assert extract(tmp_path / "roomy").returncode == 0
    key = next(small_disk.iterdir()).name
    (one,), (other,) = cache_folders(small_disk, key), cache_folders(tmp_path / "roomy", key)
    shards = sorted(path.name for path in (other / "shards").glob("*.npy"))
    assert shards == sorted(path.name for path in (one / "shards").glob("*.npy")) and len(shards) > len(finished)
    for name in shards:
        assert np.array_equal(np.load(one / "shards" / name), np.load(other / "shards" / name)), name
    tables = [pd.read_parquet(folder / "index.parquet") for folder in (one, other)]
    pd.testing.assert_frame_equal(*tables)
