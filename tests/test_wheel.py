"""What `pip install .` brings: the command `objadapt` with its declared files and the results app,
far from any checkout.
"""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from ports import free_port

from objadapt import commands, declared

REPOSITORY = Path(__file__).resolve().parents[1]
RELATIVES = REPOSITORY / "platform" / "objadapt_relatives"
NEEDED = ("platform", "jobs", "search_spaces", "dashboards")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, since setuptools leaves folders behind, with the setuptools that is here:
    no index is asked.
    """
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in NEEDED:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "requirements.txt"):
        shutil.copy(REPOSITORY / name, source)
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, source)
    (built,) = folder.glob("objadapt-*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """The folder it is installed into, without its dependencies, which are here."""
    site = tmp_path_factory.mktemp("installed") / "site"
    pip("install", "--target", site, wheel)
    return site


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--no-deps", "--no-index", *arguments[1:]]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def installed(site, tmp_path):
    """`installed("train", "--help")`: the command in an empty folder,
    where nothing but the installed package is found.
    """

    def run(*arguments: str, program: list | None = None) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(site)}
        command = [*(program or [sys.executable, site / "bin" / "objadapt"]), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


def test_declared_files_are_in_the_wheel(wheel):
    held = zipfile.ZipFile(wheel).namelist()
    for folder, place in (
        (declared.CONFIGS, "configs"),
        (declared.SPACES, "search_spaces"),
        (declared.TABLES, "search_spaces/tables"),
    ):
        files = sorted(folder.glob("*.yaml"))
        assert files and {f"objadapt/{place}/{file.name}" for file in files} <= set(held)
    views = {f"dashboards/views/{path.name}" for path in (REPOSITORY / "dashboards" / "views").glob("*.py")}
    assert views and views | {"dashboards/app.py", "dashboards/.streamlit/config.toml"} <= set(held)
    beside = {f"objadapt_relatives/{path.parent.name}/{path.name}" for path in RELATIVES.glob("*/*.yaml")}
    assert beside and beside <= set(held)
    ours = {"objadapt", "objadapt_relatives", "dashboards", held[-1].split("/")[0]}
    assert {name.split("/")[0] for name in held} == ours, "nothing else"


def test_the_command_lists_all_commands(installed):
    done = installed("--help")
    assert done.returncode == 0, done.stderr
    listed = [line.split()[0] for line in done.stdout.splitlines()[2:]]
    assert listed == commands.names() and len(listed) == 19


def test_declared_names_are_found(installed):
    """Each refusal comes after the declared file was read."""
    done = installed("plan", "--config", "toy", "--cpus", "0")
    assert done.returncode == 2 and done.stderr == "error: --cpus: 0 must be above 0\n"
    done = installed("plan", "--config", "nowhere", "--cpus", "2")
    assert done.returncode == 2 and "kinetics400, kinetics400_b16_16f, " in done.stderr and " toy, " in done.stderr
    done = installed("plan", "--config", "kinetics400_b16_16f", "--cpus", "0")  # a file over its base
    assert done.returncode == 2 and done.stderr == "error: --cpus: 0 must be above 0\n"
    done = installed("reproduce", "--help")
    assert done.returncode == 0 and "losses" in done.stdout and "time_interval" in done.stdout
    done = installed("sweep", "nowhere")
    assert done.returncode == 2 and done.stderr.endswith("there are architecture, learning_rate, temperature_margin\n")
    done = installed("sweep", "architecture", "--trials", "0")
    assert done.returncode == 2 and done.stderr == "error: --trials: 0; give at least 1\n"


def test_workers_and_versions_of_an_installed_package(installed, site):
    code = "from objadapt import declared, job; print(declared.INSTALLED, declared.SOURCE, job.commit())"
    assert installed("-c", code, program=[sys.executable]).stdout == f"True {site} unknown\n"


def test_the_app_listens_here_alone(site, tmp_path):
    """Its settings travel with it: without them Streamlit listens on every interface."""
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, site / "bin" / "objadapt", "dashboard", "--port", str(port), tmp_path]
    with open(log, "w") as written:
        environment = os.environ | {"PYTHONPATH": str(site)}
        app = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=written, stderr=written)
    try:
        until = time.monotonic() + 300
        while "server started on" not in log.read_text():
            assert app.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        assert f"server started on 127.0.0.1:{port}" in log.read_text()
    finally:
        app.terminate()
        app.wait()
