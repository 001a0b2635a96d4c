"""`ray job submit` on a cluster of its own: the package travels with the submitted folder and is installed nowhere."""

import json
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from ray_head import RAY

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def submitted_folder(tmp_path_factory) -> Path:
    """A copy of the tracked files, without `.git`."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: no list of tracked files")
    folder = tmp_path_factory.mktemp("submitted") / "objadapt"
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


def submit(cluster: str, environment: dict, folder: Path, *entrypoint: str) -> tuple[str, str]:
    """-> (status, log) of `ray job submit`, run in the folder, as the README says."""
    name = f"test-{secrets.token_hex(4)}"
    command = [RAY, "job", "submit", "--address", cluster, "--submission-id", name, "--working-dir", ".",
               "--runtime-env", "jobs/runtime_env.yaml", "--", *entrypoint]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    asked = subprocess.run(
        [sys.executable, "-c", "import sys; from ray.job_submission import JobSubmissionClient as Client;"
         "print(Client(sys.argv[1]).get_job_status(sys.argv[2]).value)", cluster, name],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    return asked.stdout.strip() or asked.stderr, done.stdout + done.stderr


def test_a_submitted_training_ends_in_the_shared_folder(cluster, environment, submitted_folder, toy_root, tiny_weights, tmp_path):
    status, log = submit(
        cluster, environment, submitted_folder,
        "python", "jobs/train.py", "--config", "jobs/configs/toy.yaml", "--json", str(tmp_path / "summary.json"),
        f"data.root={toy_root}", f"output={tmp_path}/outputs", "training.epochs=1", "training.batch_size=8", "sampling.frames=4",
        "backbone.library=timm", "backbone.name=test_vit", f"backbone.weights={tiny_weights}", "transform.size=32",
        "stream.hold=false", "stream.trainer_cpus=0.5", "stream.encoders=1",
    )  # fmt: skip
    assert status == "SUCCEEDED", log
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["num_train_clips"] == 32 and summary["num_val_clips"] == 16 and summary["quarantined"] == 0
    assert summary["checkpoint"].startswith(f"{tmp_path}/outputs/runs/toy-seed0-")
    assert (Path(summary["checkpoint"]) / "adapter.safetensors").is_file()
    run = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/outputs/mlflow.db").get_run(summary["mlflow_run_id"])
    assert run.info.status == "FINISHED" and run.data.metrics["final/top1"] == summary["top1"]
    assert f"run      {tmp_path}/outputs/runs/" in log and "top1" in log
    assert not list(submitted_folder.rglob("mlflow.db")) and not (submitted_folder / "outputs").exists()


def test_a_relative_output_is_refused_in_the_jobs_log(cluster, environment, submitted_folder, toy_root, tiny_weights):
    status, log = submit(
        cluster, environment, submitted_folder,
        "python", "jobs/train.py", "--config", "jobs/configs/toy.yaml", f"data.root={toy_root}", "output=outputs",
    )  # fmt: skip
    assert status == "FAILED", log
    assert "error: output: 'outputs' is relative, and a submitted job runs in a temporary copy of the folder" in log
    assert "exit code 2" in log and "Traceback" not in log
