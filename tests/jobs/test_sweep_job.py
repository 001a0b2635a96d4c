"""jobs/sweep.py as users call it: what it prints and writes, what it refuses, and a driver killed in the middle."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def space(tmp_path) -> Path:
    """Four learning rates, as a grid."""
    path = tmp_path / "rates.yaml"
    rates = {"training.lr": {"choice": [1e-4, 3e-4, 1e-3, 3e-3]}}
    path.write_text(yaml.safe_dump({"sampler": "grid", "holdout": 0.25, "parameters": rates}))
    return path


def states(folder: Path) -> list[str]:
    """States of the trials of the one sweep below an output folder; none where its study is not there yet.

    Read by SQL: optuna's own look at a store that the driver is just making would race it for the first row.
    """
    found = list(folder.glob("sweeps/*/study.db"))
    if not found:
        return []
    try:
        with contextlib.closing(sqlite3.connect(f"file:{found[0]}?mode=ro", uri=True)) as study:
            return [state for (state,) in study.execute("SELECT state FROM trials ORDER BY number")]
    except sqlite3.OperationalError:  # no table yet, or locked
        return []


def tree(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.mark.slow
def test_a_sweep_whose_driver_was_killed_keeps_what_is_finished_and_repeats_nothing(
    run_job, tiny_config, space, tmp_path
):
    output = tmp_path / "out"
    arguments = [
        str(space),
        "--config",
        str(tiny_config),
        f"output={output}",
        "tracking.uri=null",
        "training.epochs=20",
    ]
    command = [sys.executable, str(REPOSITORY / "jobs" / "sweep.py"), *arguments]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **silent)
    while not ("COMPLETE" in (now := states(output)) and "RUNNING" in now):
        assert driver.poll() is None, "the sweep ended before it could be killed"
        time.sleep(0.2)
    while "RUNNING" in states(output) and not list(output.glob("runs/*/last*/*")):  # well in a second training
        time.sleep(0.1)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    finished = {path.parent: tree(path.parent) for path in output.glob("runs/*/summary.json")}
    cut_off = set(output.glob("runs/*")) - finished.keys()
    assert 1 <= len(finished) < 4

    again = run_job("sweep", *arguments, "--json", tmp_path / "sweep.json")
    assert again.code == 0, again.err
    outcome = json.loads((tmp_path / "sweep.json").read_text())
    assert [trial["state"] for trial in outcome["trials"]] == ["complete"] * 4
    assert sorted(trial["params"]["training.lr"] for trial in outcome["trials"]) == [1e-4, 3e-4, 1e-3, 3e-3]
    assert {folder: tree(folder) for folder in finished} == finished, "a finished run was touched"
    runs = {path.parent.name for path in output.glob("runs/*/summary.json")}
    assert {folder.name for folder in cut_off} <= runs == {trial["run"] for trial in outcome["trials"]} and len(
        runs
    ) == 4
    client = mlflow.MlflowClient(tracking_uri=outcome["mlflow_uri"])
    experiment = client.get_run(outcome["mlflow_run_id"]).info.experiment_id
    everything = client.search_runs([experiment])
    children = [run for run in everything if run.data.tags.get("mlflow.parentRunId") == outcome["mlflow_run_id"]]
    assert {run.info.run_id for run in children} == {trial["mlflow_run_id"] for trial in outcome["trials"]}
    assert len(everything) == 5, "a trial that was cut off did not go on in its own run"
    assert {run.info.status for run in everything} == {"FINISHED"}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(run_job, tiny_config, space, tmp_path):
    done = run_job(
        "sweep", space, "--config", tiny_config, "--dry-run", f"output={tmp_path / 'out'}", "data.fraction=0.5"
    )
    assert done.code == 0, done.err
    assert "judged on 16 held-out ones by max top1" in done.out and "4 in all, sampler grid, pruner none" in done.out
    assert "features 112 clip views" in done.out and "to do    4 trials" in done.out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials", "0"], "--trials: 0; give at least 1"),
        (["--pruner", "asha", "training.validate_every=2"], "--pruner: trials are validated at their end alone"),
        (["--sampler", "nsga2", "--pruner", "median"], "--pruner: nsga2 weighs two objectives"),
        (["data.root=/nowhere"], "data.root: no folder /nowhere"),
        (["method.slotss=3"], "method.slotss: unknown key"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(run_job, tiny_config, space, tmp_path, options, message):
    done = run_job("sweep", space, "--config", tiny_config, f"output={tmp_path}", *options)
    assert done.code == 2 and done.err.startswith("error: ") and done.err.count("\n") == 1
    assert message in done.err


def test_a_space_with_an_unknown_key_is_one_line_and_code_2(run_job, tiny_config, tmp_path):
    (tmp_path / "odd.yaml").write_text("parameters: {method.slotss: {choice: [1]}}")
    done = run_job("sweep", tmp_path / "odd.yaml", "--config", tiny_config)
    assert done.code == 2 and done.err.count("\n") == 1
    assert (
        "odd.yaml: parameters.method.slotss: unknown key of the config; known beside it: name, width, slots" in done.err
    )
