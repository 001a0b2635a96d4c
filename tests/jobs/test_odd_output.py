"""An output folder may be called anything: runs, checkpoints, store and artifacts lie in it,
and every job finds them there.
"""

import json
import os
import shlex
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from objadapt.store_uri import sqlite_file

ODD = "50% of #1? {x} %20 it's"


@pytest.mark.slow
def test_train_and_evaluate_in_a_folder_with_an_odd_name(run_job, tiny_config, local_ray, tmp_path):
    output = tmp_path / "in" / ODD
    arguments = [f"output={output}", "tracking.uri=null", "stream.num_workers=1", "training.epochs=1"]
    done = run_job("train", "--config", tiny_config, "--json", output / "summary.json", *arguments)
    assert done.code == 0, done.err
    assert os.listdir(output.parent) == [ODD]
    assert {"runs", "mlflow.db", "mlartifacts"} <= set(os.listdir(output))
    summary = json.loads((output / "summary.json").read_text())
    assert summary["tracked"] is True and sqlite_file(summary["mlflow_uri"]) == output / "mlflow.db"
    run = MlflowClient(tracking_uri=summary["mlflow_uri"]).get_run(summary["mlflow_run_id"])
    assert run.info.status == "FINISHED" and run.data.metrics["final/top1"] == summary["top1"]
    (weights,) = (output / "mlartifacts" / run.info.run_id).glob("artifacts/checkpoints/last/adapter.safetensors")
    assert weights.read_bytes() == (Path(summary["checkpoint"]) / "adapter.safetensors").read_bytes()
    again = run_job("evaluate", summary["checkpoint"])
    assert again.code == 0, again.err


@pytest.mark.slow
def test_a_sweep_in_a_folder_with_an_odd_name(run_job, tiny_config, local_ray, tmp_path):
    output = tmp_path / "in" / ODD
    space = tmp_path / "space.yaml"
    space.write_text(
        "metric: top1\nmode: max\nsampler: grid\nholdout: 0.5\npruner: none\nparameters:\n  training.lr: {choice:"
        " [0.001, 0.01]}\n"
    )
    arguments = [f"output={output}", "tracking.uri=null", "training.epochs=1"]
    done = run_job(
        "sweep", space, "--config", tiny_config, "--trials", "1", "--json", output / "sweep.json", *arguments
    )
    assert done.code == 0, done.err
    assert os.listdir(output.parent) == [ODD]
    (study,) = [
        line.split("127.0.0.1 ")[1].split("  (")[0] for line in done.out.splitlines() if line.startswith("Optuna")
    ]
    assert sqlite_file(shlex.split(study)[0]).is_relative_to(output)
