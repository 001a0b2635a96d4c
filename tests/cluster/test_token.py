"""Ray's token: without it, or with another, a cluster takes no job, shows none and lets no driver in."""

import secrets
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from ray_head import LOOPBACK, RAY

pytestmark = pytest.mark.cluster

DRIVER = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False); print('nodes', len(ray.nodes()))"


@pytest.fixture(params=["no token", "another token"])
def stranger(request, environment, tmp_path) -> dict[str, str]:
    """Variables of somebody who can reach the ports but has not the token; nor is one in the home folder."""
    kept = {name: value for name, value in environment.items() if not name.startswith("RAY_")} | {"HOME": str(tmp_path)}
    if request.param == "no token":
        return kept | {"RAY_AUTH_MODE": "disabled"}
    (tmp_path / "token").write_text(secrets.token_hex(32))
    return kept | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}


def ask(command: list, environment: dict[str, str], folder) -> subprocess.CompletedProcess:
    """Run a client from a neutral folder, with what it takes to reach a head on 127.0.0.1."""
    return subprocess.run(command, cwd=folder, env=environment | LOOPBACK, capture_output=True, text=True)


def test_the_token_opens_the_cluster(head, environment, elsewhere):
    listed = ask([RAY, "job", "list", "--address", head.dashboard], environment, elsewhere)
    assert listed.returncode == 0 and "JobDetails" in listed.stdout, listed.stdout + listed.stderr
    joined = ask([sys.executable, "-c", DRIVER, head.gcs], environment, elsewhere)
    assert joined.returncode == 0 and "nodes 1" in joined.stdout, joined.stderr


def test_a_stranger_can_neither_submit_nor_list_jobs(head, stranger, tmp_path, elsewhere):
    mark = tmp_path / "ran"
    submitted = ask([RAY, "job", "submit", "--address", head.dashboard, "--", "touch", str(mark)], stranger, elsewhere)
    listed = ask([RAY, "job", "list", "--address", head.dashboard], stranger, elsewhere)
    for asked in (submitted, listed):
        said = asked.stdout + asked.stderr
        assert asked.returncode != 0 and "token" in said.lower(), said
        assert "JobDetails" not in said
    assert not mark.exists()


def test_a_stranger_cannot_join_with_a_driver(head, stranger, elsewhere):
    joined = ask([sys.executable, "-c", DRIVER, head.gcs], stranger, elsewhere)
    assert joined.returncode != 0 and "nodes" not in joined.stdout, joined.stdout
    assert "authenticat" in joined.stderr.lower(), joined.stderr


@pytest.mark.parametrize("page", ["api/jobs/", "nodes?view=summary", "api/v0/tasks", "logs"])
def test_the_dashboard_shows_nothing_without_the_token(head, page):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{head.dashboard}/{page}", timeout=60)
    assert refused.value.code == 401
