"""A Ray cluster of several raylets on this machine, and its processes by title: what the fault tests start and kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ports import free_ports
from ray._private.services import node_ip_address_from_perspective
from ray.cluster_utils import Cluster

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 240  # seconds until a wait is given up as hopeless; not a limit on speed


def node(**resources) -> dict:
    """Arguments of `Cluster.add_node`.

    The address is said because a Ray of the test session, on 127.0.0.1, would give its own.
    """
    return {"node_ip_address": node_ip_address_from_perspective(), **resources}


@contextmanager
def cluster_of(head: dict, *nodes: dict) -> Iterator[Cluster]:
    """A head node and others, each with its own raylet; each is what `node` gives."""
    dashboard = {"include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": free_ports(1)[0]}
    cluster = Cluster(initialize_head=True, head_node_args=dashboard | head)
    try:
        for node in nodes:
            cluster.add_node(**node)
        yield cluster
    finally:
        cluster.shutdown()


def raylet(node: "ray._private.node.Node") -> int:
    """Process id of a node's raylet."""
    return node.all_processes["raylet"][0].process.pid


def processes(title: str, *raylets: int) -> list[int]:
    """Ids of the processes of these raylets whose title begins so, such as `ray::RayTrainWorker`."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it ended just now
            continue
        if command.startswith(title) and parent in raylets:
            found.append(int(folder.name))
    return found


def wait_for(what: str, condition: Callable[[], object], driver: subprocess.Popen | None = None):
    """The condition's first true value; fails where it never comes, or where the driver ends before."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if value := condition():
            return value
        assert driver is None or driver.poll() is None, f"the job ended before: {what}"
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE} s in vain: {what}")


@contextmanager
def job(cluster: Cluster, log: Path, name: str, *arguments: str | Path) -> Iterator[subprocess.Popen]:
    """jobs/NAME.py as a driver of its own on the cluster; ended with the test."""
    command = [sys.executable, str(REPOSITORY / "jobs" / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "OMP_NUM_THREADS": "1"}
    with open(log, "w") as out:
        driver = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        yield driver
    finally:
        if driver.poll() is None:
            os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
