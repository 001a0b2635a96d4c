"""`ray job submit` on a cluster of its own: the package travels with the submitted folder and is installed nowhere."""

import json
import secrets
import shutil
import subprocess
from pathlib import Path

import mlflow
import pytest
from ray_head import RAY, Head
from raylets import wait_for

pytestmark = pytest.mark.cluster
EPOCHS = 12  # so many that the stop comes before the end

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


def start(cluster: Head, environment: dict, folder: Path, *entrypoint: str, wait: bool = True) -> tuple[str, str]:
    """-> (submission id, log so far) of `ray job submit`, run in the folder, as the README says."""
    name = f"test-{secrets.token_hex(4)}"
    command = [
        RAY,
        "job",
        "submit",
        "--address",
        cluster.dashboard,
        "--submission-id",
        name,
        "--working-dir",
        ".",
        "--runtime-env",
        "jobs/runtime_env.yaml",
        *([] if wait else ["--no-wait"]),
        "--",
        *entrypoint,
    ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return name, done.stdout + done.stderr


def status(head: Head, name: str) -> str:
    return head.asked(f"api/jobs/{name}")["status"]


def test_a_submitted_training_that_was_stopped_goes_on_when_submitted_again(
    cluster, environment, submitted_folder, toy_root, tiny_weights, tmp_path
):
    command = (
        "env",
        "OBJADAPT_COMMIT=0123abc",
        "python",
        "jobs/train.py",
        "--config",
        "jobs/configs/toy.yaml",
        "--json",
        str(tmp_path / "summary.json"),
        f"data.root={toy_root}",
        f"output={tmp_path}/outputs",
        f"training.epochs={EPOCHS}",
        "training.batch_size=8",
        "sampling.frames=4",
        "backbone.library=timm",
        "backbone.name=test_vit",
        f"backbone.weights={tiny_weights}",
        "transform.size=32",
        "stream.hold=false",
        "stream.trainer_cpus=0.5",
        "stream.encoders=1",
    )
    name, _ = start(cluster, environment, submitted_folder, *command, wait=False)
    wait_for("a checkpoint", lambda: list(tmp_path.glob("outputs/runs/*-seed*/last/state.json")))
    assert cluster.asked(f"api/jobs/{name}/stop", {}) == {"stopped": True}  # what `ray job stop` asks for, at once
    wait_for("the stop", lambda: status(cluster, name) == "STOPPED")
    log = cluster.asked(f"api/jobs/{name}/logs")["logs"]
    assert "interrupted; the same command goes on from what is finished" in log and f"epoch 1/{EPOCHS} train" in log
    (state,) = tmp_path.glob("outputs/runs/*-seed*/last/state.json")
    stopped = json.loads(state.read_text())
    assert stopped["epoch"] < EPOCHS
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("objadapt").experiment_id])
    assert run.info.status == "KILLED"
    assert [one.step for one in client.get_metric_history(run.info.run_id, "step/total")] == list(
        range(1, stopped["global_step"] + 1)
    )

    name, log = start(cluster, environment, submitted_folder, *command)
    assert status(cluster, name) == "SUCCEEDED", log
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["num_train_clips"] == 32 and summary["num_val_clips"] == 16 and summary["quarantined"] == 0
    assert summary["checkpoint"].startswith(f"{tmp_path}/outputs/runs/toy-seed0-")
    assert (Path(summary["checkpoint"]) / "adapter.safetensors").is_file()
    finished = client.get_run(summary["mlflow_run_id"])
    assert finished.info.run_id == run.info.run_id and finished.data.tags["code_version"] == "0123abc"
    assert finished.info.status == "FINISHED" and finished.data.metrics["final/top1"] == summary["top1"]
    done = json.loads(state.read_text())["global_step"]
    assert [one.step for one in client.get_metric_history(run.info.run_id, "step/total")] == list(range(1, done + 1))
    assert f"run      {tmp_path}/outputs/runs/" in log and "top-1" in log
    assert not list(submitted_folder.rglob("mlflow.db")) and not (submitted_folder / "outputs").exists()


def test_a_relative_output_is_refused_in_the_jobs_log(cluster, environment, submitted_folder, toy_root):
    name, log = start(
        cluster,
        environment,
        submitted_folder,
        "python",
        "jobs/train.py",
        "--config",
        "jobs/configs/toy.yaml",
        f"data.root={toy_root}",
        "output=outputs",
    )
    assert status(cluster, name) == "FAILED", log
    assert "error: output: 'outputs' is relative, and a submitted job runs in a temporary copy of the folder" in log
    assert "exit code 2" in log and "Traceback" not in log


def test_code_and_configs_travel_and_nothing_of_the_users_data(cluster, environment, submitted_folder):
    """A checkout as it looks after a demo: clips and weights lie in it, and an environment."""
    theirs = ["clips/a.mp4", "clips/labels.csv", "frames/00001.jpg", "weights.safetensors", "clips.zip", ".venv/x.py"]
    theirs += ["outputs/demo/toy/videos/0.mp4", "outputs/runs/a/method.py", "notes.json", "venv/lib/y.py"]
    for name in [*theirs, "my_methods/own.py", "my.yaml"]:
        (submitted_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (submitted_folder / name).write_text("")
    listing = "import os; print(*(os.path.join(d, f) for d, _, fs in os.walk('.') for f in fs), sep='\\n')"
    (submitted_folder / "my_methods" / "own.py").write_text(listing)
    name, log = start(cluster, environment, submitted_folder, "python", "my_methods/own.py")
    assert status(cluster, name) == "SUCCEEDED", log
    travelled = {line.removeprefix("./") for line in log.splitlines() if line.startswith("./")}
    assert {"my_methods/own.py", "my.yaml", "jobs/train.py", "jobs/configs/toy.yaml"} <= travelled
    assert "platform/objadapt/backbone/small_clip/weights.safetensors" in travelled
    assert "search_spaces/tables/losses.yaml" in travelled
    assert not travelled & set(theirs) and not any(name.startswith(("tests/", "docs/")) for name in travelled)
