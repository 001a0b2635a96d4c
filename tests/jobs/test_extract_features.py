"""jobs/extract_features.py: declared lengths are stored once and trained on, listed and pruned.

Bad input is one line.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def extracted(run_job, tiny_config, local_ray, tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    done = run_job(
        "extract_features",
        "--config",
        tiny_config,
        "--frames",
        "4,6",
        "--json",
        root / "summary.json",
        f"stream.cache={root}/features",
        f"output={root}/outputs",
        "stream.views=1",
    )
    assert done.code == 0, done.err
    return root, json.loads((root / "summary.json").read_text())


def test_what_is_stored_is_told_and_trained_on(extracted, run_job, tiny_config):
    root, summary = extracted
    assert (summary["clips"], summary["clip_views"], summary["quarantined"], summary["decoded_by_pyav"]) == (
        48,
        48,
        0,
        48,
    )
    for frames in (4, 6):
        more = [
            f"stream.cache={root}/features",
            f"output={root}/outputs",
            "stream.views=1",
            f"sampling.frames={frames}",
        ]
        done = run_job("train", "--config", tiny_config, "--json", root / "trained.json", *more)
        assert done.code == 0, done.err
        assert json.loads((root / "trained.json").read_text())["num_train_clips"] == 32
    refused = run_job("train", "--config", tiny_config, *more, "sampling.frames=5")
    assert refused.code == 2 and "it holds T = 4, 6, not 5" in refused.err and refused.err.count("\n") == 1


def test_list_and_prune(extracted, run_job, tiny_config):
    root, summary = extracted
    extra = [f"stream.cache={root}/features", f"output={root}/outputs", "transform.size=48", "stream.views=1"]
    expected = run_job(
        "extract_features", "--config", tiny_config, "--dry-run", "--json", root / "expected.json", *extra
    )
    assert expected.code == 0 and "48 clip views" in expected.out
    assert json.loads((root / "expected.json").read_text())["missing_views"] == 48
    listed = run_job("extract_features", "--cache", f"{root}/features", "--list", "--json", root / "list.json")
    (one,) = json.loads((root / "list.json").read_text())["caches"]
    assert listed.code == 0 and one["key"] in listed.out and "4,6" in listed.out and one["bytes"] >= summary["bytes"]
    refused = run_job("extract_features", "--cache", f"{root}/features", "--prune", "elsewhere")
    assert refused.code == 2 and "is not a feature cache" in refused.err
    copy = root / "copy" / one["key"]
    copy.mkdir(parents=True)
    (copy / "cache.json").write_text((root / "features" / one["key"] / "cache.json").read_text())
    pruned = run_job("extract_features", "--cache", root / "copy", "--prune", one["key"])
    assert pruned.code == 0 and not copy.exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "stream.cache: no folder given"),
        (["--frames", "4,x", "stream.cache=features"], "--frames: '4,x' is not a list of numbers"),
        (["--frames", "0", "stream.cache=features"], "sampling.frames"),
        (["--list"], "--cache: say which folder"),
        (["--limit-gb", "0.000001", "stream.cache={folder}"], "--limit-gb: "),
    ],
)
def test_wrong_input_is_one_line(run_job, tiny_config, arguments, message, tmp_path, local_ray):
    arguments = [argument.format(folder=tmp_path) for argument in arguments]
    done = run_job("extract_features", "--config", tiny_config, *arguments)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1 and "Traceback" not in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])  # the latter is what `ray job stop` sends
def test_an_extraction_that_was_ended_is_completed_by_the_same_command(tiny_config, tmp_path, end):
    """When some shards are whole: they stay as they are, and the rest is put beside them."""
    script, cache = REPOSITORY / "jobs" / "extract_features.py", tmp_path / "features"
    places = [f"stream.cache={cache}", f"output={tmp_path}/outputs", "stream.views=20"]
    command = [
        sys.executable,
        str(script),
        "--config",
        str(tiny_config),
        "--json",
        str(tmp_path / "summary.json"),
        *places,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "log", "w") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            while len(shards(cache)) < 3:
                assert driver.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.05)
        finally:
            driver.send_signal(end)
            driver.wait()
    if end == signal.SIGTERM:
        said = (tmp_path / "log").read_text().splitlines()
        assert driver.returncode == 130 and said[-1].startswith("interrupted; the same command goes on"), said
        assert re.search(r"INFO kept [\d,]+ of 656 clip views in /", said[-2])
    whole = shards(cache)
    assert not list(cache.glob("*/index.parquet")), "the kill came too late to show anything"

    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert again.returncode == 0, again.stderr
    arrays = {path: path.stat().st_mtime_ns for path in cache.glob("*/shards/*.npy")}
    assert len(arrays) == (20 * 32 + 16) // 4 and {path: arrays[path] for path in whole} == whole
    assert json.loads((tmp_path / "summary.json").read_text())["clip_views"] == 20 * 32 + 16
    assert len(list(cache.glob("*/index.parquet"))) == 1 and not list(cache.rglob("*.part"))


def shards(cache: Path) -> dict[Path, int]:
    """Arrays of finished shards (their rows are written last), and when they were written."""
    finished = [path.with_suffix(".npy") for path in cache.glob("*/shards/*.json")]
    return {path: path.stat().st_mtime_ns for path in finished}
