"""A cluster of these tests' own, with its own token, started where nothing of this repository is seen."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_head import LOOPBACK, RAY, Head, head_node


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """A shell's variables that say nothing of this repository or of another Ray, and a token of this cluster's own."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "OBJADAPT_", "MLFLOW_", "PYTHON", "PYTEST_"))
    }
    return kept | {
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",  # as in an activated environment
        "RAY_JOB_STOP_WAIT_TIME_S": "60",  # for the checkpoint; a stopped job is killed after 3 s otherwise
        "RAY_raylet_start_wait_time_s": "300",  # as long as these tests wait for it; Ray gives up after 60
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
    }


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory) -> Path:
    """A folder outside the repository, where the cluster is started."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="session")
def head(environment, elsewhere) -> Iterator[Head]:
    """A head node with 2 CPUs that listens on 127.0.0.1 alone, so that no other node can join it."""
    with head_node(elsewhere, environment | LOOPBACK) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(environment, elsewhere, request) -> Head:
    """The head node, on which the package is not installed."""
    command = [sys.executable, "-c", "import objadapt"]
    missing = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    if missing.returncode == 0:
        pytest.skip(
            "objadapt is installed in this environment, so the test could not tell whether the submitted folder is used"
        )
    assert "No module named 'objadapt'" in missing.stderr
    return request.getfixturevalue("head")
