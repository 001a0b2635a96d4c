"""The Ray that jobs start on one machine takes connections from that machine alone."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray  # noqa: F401  (brings psutil)

pytestmark = pytest.mark.cluster

PLATFORM = Path(__file__).resolve().parents[2] / "platform"
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
DRIVER = """
import sys
import ray, ray.data
from objadapt import job
job.start_ray(2)
assert ray.data.range(4).map(lambda row: row).count() == 4
print("ready", flush=True)
sys.stdin.readline()
"""


def listening(pid: int) -> list[tuple[str, str]]:
    """(process, address) of all sockets on which a process, or what it started, takes connections."""
    driver = psutil.Process(pid)
    return [
        (process.name(), connection.laddr.ip)
        for process in [driver, *driver.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_the_local_ray_listens_on_127_0_0_1_alone():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = str(PLATFORM)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert driver.stdout.readline() == "ready\n"
        found = listening(driver.pid)
    finally:
        driver.communicate("\n")
    assert {"gcs_server", "raylet"} <= {process for process, _ in found} and len(found) >= 6
    assert not [one for one in found if one[1] not in LOOPBACK]
