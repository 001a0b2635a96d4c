"""A job joins the cluster at RAY_ADDRESS; one that does not let it in is one line, with the remedy."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from ray_head import LOOPBACK

pytestmark = pytest.mark.cluster
REPOSITORY = Path(__file__).resolve().parents[2]


def join(environment: dict[str, str], address: str, before: str = "") -> subprocess.CompletedProcess:
    code = f"""
        import sys
        sys.path.insert(0, {str(REPOSITORY / "platform")!r})
        from objadapt import job
        def main():
            import ray
            {before}
            job.start_ray()
            print("nodes", len(ray.nodes()))
        job.run(main)
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment | LOOPBACK | {"RAY_ADDRESS": address},
        capture_output=True,
        text=True,
    )


def test_the_cluster_at_ray_address_is_joined(head, environment):
    done = join(environment, head.gcs)
    assert done.returncode == 0 and "nodes 1" in done.stdout, done.stderr


def test_a_cluster_of_another_version_is_named_with_the_remedy(head, environment):
    done = join(environment, head.gcs, "ray.__version__ = '2.9.0'  # what this process takes itself for")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    said = done.stderr.splitlines()[-1]
    assert (
        said.startswith(f"error: RAY_ADDRESS: no Ray can be joined at {head.gcs} ")
        and "2.9.0" in said
        and "versions" in said
    )


def test_a_cluster_whose_token_one_has_not_is_named_with_the_remedy(head, environment, tmp_path):
    (tmp_path / "token").write_text("0" * 64)
    done = join(environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}, head.gcs)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "RAY_AUTH_TOKEN_PATH" in done.stderr.splitlines()[-1]
