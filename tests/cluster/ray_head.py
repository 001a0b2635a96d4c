"""A Ray head node of a test's own: started in a folder, ended by its process id, never by `ray stop`."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import ray  # noqa: F401  (brings psutil)
from ports import free_ports

RAY = Path(sys.executable).with_name("ray")
STARTUP = 300  # seconds until the dashboard must answer; busy machines are slow
# else Ray on Linux takes 127.0.0.1 for the machine's outer address, and listens on all of them (see docs/security.md)
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True)
class Head:
    """A running head node with 2 CPUs."""

    gcs: str  # host:port, for ray.init(address=...) and `ray start --address`
    dashboard: str  # URL, for `ray job submit --address`
    process: subprocess.Popen
    token: str

    def asked(self, page: str, body: dict | None = None) -> dict:
        """What the dashboard's REST API answers to this cluster's own user; a client process takes seconds for that."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.dashboard}/{page}", data, headers)) as answer:
            return json.load(answer)


def end(head: subprocess.Popen) -> None:
    """End a head node and what it started; `ray stop` would end every cluster of the machine."""
    below = psutil.Process(head.pid).children(recursive=True) if head.poll() is None else []
    for process in below:  # by its own handler, the head would wait half a minute for some of them
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    head.kill()
    head.wait()
    psutil.wait_procs(below, timeout=10)


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
    token = Path(environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    head = Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", process, token)
    until = time.monotonic() + STARTUP
    try:
        while True:
            try:  # the dashboard answers before the node's agent, which takes the jobs, is there
                head.asked("api/jobs/", {"entrypoint": "true"})
                break
            except OSError:
                assert process.poll() is None, (folder / "head.log").read_text()
                if time.monotonic() > until:
                    pytest.fail((folder / "head.log").read_text())
                time.sleep(0.5)
        yield head
    finally:
        end(process)
        shutil.rmtree(temporary, ignore_errors=True)
