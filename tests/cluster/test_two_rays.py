"""A Ray that somebody starts on the machine in the middle of a training: the training's own Ray is not taken for it."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from ray._private.utils import read_ray_address
from ray_head import LOOPBACK, end, head_command

from objadapt.run_folder import FAILURES
from objadapt.training.trainer import train

pytestmark = pytest.mark.cluster
ADDRESS = Path("/tmp") / "ray" / "ray_current_cluster"  # where Ray's tools look for the Ray that is meant


@pytest.fixture
def head(tmp_path):
    """Starts `ray start --head` when it is called, with Ray's own folder; -> when it was there, a list of one."""
    command, port, _, temporary = head_command("--num-cpus=1")
    command = [word for word in command if not word.startswith("--temp-dir")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started: list[subprocess.Popen] = []
    since: list[float] = []

    def start() -> None:
        started.append(subprocess.Popen(command, env=os.environ | LOOPBACK, **quiet))
        while started[0].poll() is None and not (read_ray_address() or "").endswith(f":{port}"):
            time.sleep(0.2)
        since.append(time.monotonic())

    yield start, since
    end(started[0])
    temporary.rmdir()
    ADDRESS.unlink(missing_ok=True)


def test_a_training_goes_through(tiny_plan, held, head, tmp_path):
    start, since = head
    plan = tiny_plan(f"output={tmp_path}", "stream.hold=true", "stream.num_workers=1", "training.epochs=240")

    def later() -> None:
        while not (plan.folder / "last").exists():  # an epoch is done
            time.sleep(0.1)
        start()

    threading.Thread(target=later, daemon=True).start()
    assert train(plan, held=held)["state"]["epoch"] == 240
    assert since and time.monotonic() - since[0] > 5, "both ran side by side"
    failures = plan.folder / FAILURES
    assert not failures.exists(), failures.read_text()
