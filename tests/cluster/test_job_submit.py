"""`ray job submit` on a cluster of its own: the package travels with the submitted folder and is installed nowhere."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mlflow
import pytest

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).resolve().parents[2]
RAY = Path(sys.executable).with_name("ray")
STARTUP_TRIES = 120  # a second apart, until the dashboard answers


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def end(head: subprocess.Popen) -> None:
    """End a head node and, by its own handler, what it started; `ray stop` would end every cluster of the machine."""
    head.terminate()
    try:
        head.wait(timeout=60)
    except subprocess.TimeoutExpired:
        head.kill()
        head.wait()


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """A shell's variables that say nothing of this repository or of another Ray, and a token of this cluster's own."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "OBJADAPT_", "MLFLOW_", "PYTHON", "PYTEST_"))}
    return kept | {
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",  # as in an activated environment
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
    }


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder outside the repository, where the cluster is started."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def cluster(environment, elsewhere):
    """Address of the dashboard of a head node with 2 CPUs."""
    command = [sys.executable, "-c", "import objadapt"]
    missing = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    if missing.returncode == 0:
        pytest.skip("objadapt is installed in this environment, so the test could not tell whether the submitted folder is used")
    assert "No module named 'objadapt'" in missing.stderr
    port, dashboard = free_ports(2)
    temporary = Path(tempfile.mkdtemp(prefix="ray"))  # short: socket paths below it may have 107 characters
    command = [
        RAY, "start", "--head", "--block", "--num-cpus=2", f"--port={port}", f"--dashboard-port={dashboard}",
        "--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1", f"--temp-dir={temporary}", "--disable-usage-stats",
    ]  # fmt: skip
    with open(elsewhere / "head.log", "w") as log:
        head = subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{dashboard}"
        for _ in range(STARTUP_TRIES):
            # the dashboard answers before the node's agent, which takes the jobs, is there
            command = [RAY, "job", "submit", "--address", address, "--no-wait", "--", "true"]
            asked = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True)
            if asked.returncode == 0:
                break
            assert head.poll() is None, (elsewhere / "head.log").read_text()
            time.sleep(1)
        else:
            pytest.fail((elsewhere / "head.log").read_text())
        yield address
    finally:
        end(head)
        shutil.rmtree(temporary, ignore_errors=True)


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
