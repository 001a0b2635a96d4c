"""Ray starts wherever its user has no short TMPDIR, no home and no name.

Where none can be had, one line says what to do.
"""

import http.server
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import pytest
from ports import free_port

from objadapt import ray_start
from objadapt.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]
OWN = ("RAY_", "TMPDIR")


@pytest.fixture(autouse=True)
def no_other_places(monkeypatch):
    for name in [name for name in os.environ if name.startswith(OWN)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def short() -> Path:
    """A folder with a path that is short enough."""
    folder = Path(tempfile.mkdtemp(prefix="o", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def long(short) -> Path:
    folder = short / ("x" * 90)
    folder.mkdir()
    return folder


def test_a_short_folder_is_left_to_ray(short, monkeypatch):
    assert ray_start._folders() == {}
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.setenv(name, str(short))
        assert ray_start._folders() == {} and os.environ.get("TMPDIR", str(short)) == str(short)


def test_a_long_tmpdir_gives_way_to_a_short_one_and_keeps_what_is_large(long, short, monkeypatch, caplog):
    monkeypatch.setattr(ray_start, "PLACES", (str(short),))
    monkeypatch.setenv("TMPDIR", str(long))
    assert ray_start._folders() == {"_temp_dir": f"{short}/ray", "object_spilling_directory": str(long)}
    assert os.environ["TMPDIR"] == str(short) == tempfile.gettempdir()  # of everything that Ray starts
    assert "too long" in caplog.text and f"{short}/ray" in caplog.text


def test_a_long_tmpdir_beside_a_short_folder_of_rays_own(long, short, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    assert ray_start._folders() == {"object_spilling_directory": str(long)} and os.environ["TMPDIR"] == str(short)


@pytest.mark.parametrize("place", ["/proc/1", "relative/folder", "/dev/null/x"])
def test_a_folder_that_cannot_be_written_gives_way(place, short, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_start, "PLACES", (str(short),))
    monkeypatch.setenv("RAY_TMPDIR", place)
    assert ray_start._folders() == {"_temp_dir": f"{short}/ray"} and not list(tmp_path.iterdir())


def test_another_users_folder_gives_way_to_ones_own(short, monkeypatch):
    (short / "ray").write_text("in the way, as a folder of another user's is")
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    assert ray_start._folders() == {"_temp_dir": f"{short}/ray-{os.getuid()}"}


def test_without_any_folder_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setattr(ray_start, "PLACES", ("/proc/1", "/dev/null"))
    monkeypatch.setenv("TMPDIR", "/proc/2")
    with pytest.raises(InputError, match="^RAY_TMPDIR: .*/proc/2/ray cannot be written.* at most 31 bytes"):
        ray_start._folders()


def test_the_longest_socket_fits_below_the_longest_folder(short):
    """The names that Ray 2.60 gives; a process id has up to 7 digits."""
    below = "/session_2026-11-25_15-39-51_198071_4194304/sockets/dash_TaskEventsHead"
    assert len(below) <= ray_start.BELOW
    folder = short / ("x" * (ray_start.SOCKET_PATH - ray_start.BELOW - len(str(short)) - 1))
    place = Path(f"{folder}{below}")
    place.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(place))


def test_a_home_that_cannot_be_written_gives_a_token_of_this_process_alone(monkeypatch, tmp_path):
    for home in ("/proc/nope", "/dev/null"):
        monkeypatch.setenv("HOME", home)
        monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
        ray_start._have_token()
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    ray_start._have_token()
    assert "RAY_AUTH_TOKEN" not in os.environ  # Ray's own, in the home folder
    monkeypatch.setenv("HOME", "/proc/nope")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray_start._have_token()
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.fixture
def other_server():
    """Port of a server that speaks HTTP."""

    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_an_address_where_no_ray_answers_is_one_line_in_seconds(other_server, monkeypatch):
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    cases = {
        f"127.0.0.1:{free_port()}": "Connection refused",
        f"ray://127.0.0.1:{free_port()}": "Connection refused",
        f"ray://127.0.0.1:{other_server}": "something else than Ray",
        "nosuchhost.invalid:6379": "not known|resolution",
        "some words": "HOST:PORT",
        "host": "HOST:PORT",
        "http://127.0.0.1:8265": "HOST:PORT",
    }
    for address, said in cases.items():
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match=f"^RAY_ADDRESS: no Ray can be joined at {address} .*({said})") as caught:
            ray_start._refuse_dead(address)
        assert "\n" not in str(caught.value) and "; " in str(caught.value)


def started(environment: dict, *before: str, body: str = "") -> subprocess.CompletedProcess:
    """A job that starts Ray and runs a task on it, in a process of its own."""
    code = f"""
        import sys
        sys.path.insert(0, {str(REPOSITORY / "platform")!r})
        from objadapt import job
        def main():
            {body}
            job.start_ray(1)
            import getpass, os, ray, ray.train
            @ray.remote(num_cpus=0.1)
            def task():
                return getpass.getuser()
            print("works", ray.get(task.remote()), ray._private.worker._global_node.get_session_dir_path())
        job.run(main)
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    command = [*before, sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(
        command,
        env={name: value for name, value in (kept | environment).items() if value is not None},
        cwd="/",
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_ray_starts_under_a_long_tmpdir(long):
    done = started({"TMPDIR": str(long)})
    assert done.returncode == 0 and "works" in done.stdout and f"{ray_start.PLACES[0]}/ray" in done.stdout, done.stderr
    assert done.stderr.count("too long") == 1 and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("home", [None, "/"])
def test_ray_starts_for_a_user_without_name_and_home(home, tmp_path):
    """As in a container under `--user 12345`; here the capability to read lets that user reach Python."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.getuid() != 0:
        pytest.skip("only root, with util-linux's setpriv, can become a user without a name")
    nameless = [
        setpriv,
        "--reuid=12345",
        "--regid=12345",
        "--clear-groups",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    ]
    without = {
        "HOME": home,
        "USER": None,
        "LOGNAME": None,
        "RAY_TMPDIR": str(tmp_path / "absent" / secrets.token_hex(4)),
    }
    done = started(without, *nameless)
    assert done.returncode == 0 and "works uid12345" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_ray_raises_is_one_line_and_exit_code_2(other_server):
    done = started({"RAY_ADDRESS": f"ray://127.0.0.1:{other_server}"})
    assert done.returncode == 2 and done.stderr.startswith("error: RAY_ADDRESS: ") and done.stderr.count("\n") == 1
    done = started({}, "bash", "-c", 'ulimit -n 60; exec "$0" "$@"')
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ulimit -n: 60 open files are too few"), done.stderr


@pytest.mark.slow
def test_a_ray_that_does_not_come_up_is_one_line_and_exit_code_2():
    done = started({}, "bash", "-c", 'ulimit -v 3000000; exec "$0" "$@"')  # kB, too little for its processes
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith("error: Ray does not start here") and said.endswith("/ray/session_latest/logs"), said


def test_a_dashboard_that_is_too_slow_is_said_in_words():
    said = "The last 20 lines of /r/logs/dashboard.log (it contains the error message from the dashboard): INFO [<class"
    refused = str(ray_start._refusal(RuntimeError(said), None, "/r"))
    assert refused == (
        "Ray does not start here (its dashboard did not come up in time, see /r/logs/dashboard.log);"
        " try again when this machine is less busy"
    )
