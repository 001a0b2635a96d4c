"""What a step costs: counted exactly, every method alike, in one process without Ray."""

import json
import os
import subprocess
import sys

import mlflow
import pytest
import torch
from torch import nn

from objadapt.capacity.steps import Measured
from objadapt.capacity.steps_report import as_text, as_values, cost_figure
from objadapt.evaluation.cost import saved_by


def test_saved_activations_are_counted_once_and_without_parameters():
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    given = torch.randn(5, 8)
    answer, saved = saved_by(lambda: network(given), network)
    assert saved == 4 * 5 * (8 + 16)  # its input, and what ReLU gave, which the next layer keeps, too
    assert answer.shape == (5, 4)
    network.requires_grad_(False)
    assert saved_by(lambda: network(given), network)[1] == 0


def measured(name: str, step: float, inputs: str = "frames") -> Measured:
    parts = {"backbone": 0.5 * step, "forward": 0.25 * step, "backward": 0.2 * step, "optimiser": 0.05 * step}
    steps, cached = [step, 1.2 * step, 0.9 * step], [0.5 * step, 0.1 * step, 0.8 * step]
    without = cached if inputs == "features" else None
    return Measured(name, inputs, 10**6, 10**7, 3.5, 2_000_000, None, parts, steps, without, [step / 4])


def test_ratios_are_to_the_first_and_stand_beside_the_papers():
    rows = as_values([measured("object_centric", 0.1, "features"), measured("st_adapter-both", 0.2)])
    assert [row["step_ratio"] for row in rows] == [1, 2] and [row["throughput_ratio"] for row in rows] == [1, 0.5]
    assert rows[0]["cached_step_ms"] == pytest.approx(50) and rows[1]["cached_step_ms"] is None
    assert [row["paper_training_ratio"] for row in rows] == [1.0, 1.5]
    other = as_values([measured("evl", 0.1), measured("object_centric", 0.1, "features"), measured("linear_probe", 1)])
    assert [row["paper_training_ratio"] for row in other] == [1.0, pytest.approx(1 / 1.5), None]
    text = as_text(rows)
    assert "st_adapter-both" in text and " 2.00    1.5          - " in text
    assert len(cost_figure(rows).axes) == 2


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """The command on the small CLIP, as a user runs it."""
    folder = tmp_path_factory.mktemp("benchmark")
    methods = "object_centric,linear_probe,st_adapter,evl,timesformer"
    command = [sys.executable, "jobs/benchmark.py", "--config", "toy", "--methods", methods, "--turns", "1"]
    command += [
        "--json",
        f"{folder}/cost.json",
        "--figure",
        f"{folder}/cost.png",
        "sampling.frames=4",
        f"output={folder}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "RAY_ADDRESS": "127.0.0.1:1"})
    assert done.returncode == 0, done.stderr
    assert (folder / "cost.png").stat().st_size > 5000
    return json.loads((folder / "cost.json").read_text()) | {"out": done.stdout, "folder": folder}


def test_the_command_measures_methods_side_by_side_without_ray(found):
    rows = {row["method"]: row for row in found["rows"]}
    assert list(rows) == ["object_centric", "linear_probe", "st_adapter", "evl", "timesformer"]
    assert found["backbone"] == "small_clip (small_clip), its own weights"
    for row in rows.values():
        assert row["step_ms"] > 0 and row["clips_per_second"] > 0 and row["gflops"] > 0
        assert row["total_parameters"] >= row["tunable_parameters"]
    assert rows["timesformer"]["total_parameters"] > rows["st_adapter"]["total_parameters"]


def test_the_numbers_go_to_mlflow(found):
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{found['folder']}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("objadapt").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["backbone"] == found["backbone"]
    for row in found["rows"]:
        assert run.data.metrics[f"{row['method']}/step_ms"] == pytest.approx(row["step_ms"])
    assert "figures/cost.png" in [f"{one.path}" for one in client.list_artifacts(run.info.run_id, "figures")]


def test_frozen_features_keep_few_activations_and_adapters_inside_keep_many(found):
    saved = {row["method"]: row["saved_bytes"] for row in found["rows"]}
    assert saved["linear_probe"] < saved["object_centric"] < saved["st_adapter"] < saved["timesformer"]
    gflops = {row["method"]: row["gflops"] for row in found["rows"]}
    assert gflops["linear_probe"] < gflops["object_centric"] < gflops["timesformer"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "st_adaptor"], "--methods: st_adaptor: no such method; did you mean st_adapter?"),
        (["--clips", "1"], "--clips: 1 is too few; give at least 2"),
        (["--figure", "cost.txt"], "--figure: cost.txt: unknown suffix; use .png, .pdf, .svg"),
        (["--methods", "aim-both"], "--methods: aim-both: no such method; there are"),
        (["--turns", "0"], "--turns: 0 is too few; give at least 1"),
        (["--video", "absent.mp4"], "--video: no file absent.mp4"),
        (["backbone.library=timm", "backbone.name=vit_tiny"], "backbone.name: 'vit_tiny' is no timm model"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(run_job, arguments, message):
    done = run_job("benchmark", *arguments)
    assert done.code == 2 and done.err.startswith(f"error: {message}") and done.err.count("\n") == 1, done.err
