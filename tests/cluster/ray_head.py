"""A Ray head node of a test's own: started in a folder, ended by its process id, never by `ray stop`."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from ports import free_ports

RAY = Path(sys.executable).with_name("ray")
STARTUP_TRIES = 120  # a second apart, until the dashboard answers
# else Ray on Linux takes 127.0.0.1 for the machine's outer address, and listens on all of them (see docs/security.md)
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True)
class Head:
    """A running head node with 2 CPUs."""

    gcs: str  # host:port, for ray.init(address=...) and `ray start --address`
    dashboard: str  # URL, for `ray job submit --address`
    process: subprocess.Popen


def end(head: subprocess.Popen) -> None:
    """End a head node and, by its own handler, what it started; `ray stop` would end every cluster of the machine."""
    head.terminate()
    try:
        head.wait(timeout=60)
    except subprocess.TimeoutExpired:
        head.kill()
        head.wait()


def head_command(*more: str) -> tuple[list[str], int, int, Path]:
    """`ray start --head` on 127.0.0.1, the ports of its store and of its dashboard, and the folder of its files."""
    port, dashboard, agent, client = free_ports(4)
    temporary = Path(tempfile.mkdtemp(prefix="ray"))  # short: socket paths below it may have 107 characters
    command = [
        *(str(RAY), "start", "--head", "--block", f"--port={port}", "--node-ip-address=127.0.0.1"),
        *(f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", f"--temp-dir={temporary}"),
        # Ray's default ports for these are fixed, and another Ray of this machine may have them
        *(f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"),
        "--disable-usage-stats",
        *more,
    ]
    return command, port, dashboard, temporary


@contextmanager
def head_node(folder: Path, environment: dict[str, str]) -> Iterator[Head]:
    """A head node that takes jobs, started in a folder (its output: head.log there)."""
    command, port, dashboard, temporary = head_command("--num-cpus=2")
    with open(folder / "head.log", "w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        head = Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", process)
        for _ in range(STARTUP_TRIES):
            # the dashboard answers before the node's agent, which takes the jobs, is there
            command = [RAY, "job", "submit", "--address", head.dashboard, "--no-wait", "--", "true"]
            asked = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
            if asked.returncode == 0:
                break
            assert process.poll() is None, (folder / "head.log").read_text()
            time.sleep(1)
        else:
            pytest.fail((folder / "head.log").read_text())
        yield head
    finally:
        end(process)
        shutil.rmtree(temporary, ignore_errors=True)
