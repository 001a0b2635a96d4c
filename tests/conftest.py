"""Shared fixtures: the data pack, one local Ray, a tiny experiment that needs nothing from outside,
jobs run in-process.

The tiny experiment streams a toy data set of 48 clips through timm's 0.3 M-parameter test ViT with random weights, so
what these tests show is that all parts agree, never how well something learns.
"""

import contextlib
import io
import itertools
import os
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
import ray
import yaml
from ports import free_port
from tiny_weights import draw

from objadapt import job, torchvision_compat  # noqa: F401
from objadapt.config import Experiment
from objadapt.config_file import load_config
from objadapt.data import toy
from objadapt.data.manifest import build_manifest
from objadapt.plan import Plan, plan
from objadapt.training.trainer import hold_features

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real videos, DAVIS sequences, hostile files and weights; see its README."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the checkout: real videos and weights are not in the repository")
    return folder


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 200 kB; what is larger meets a full disk. `mount -o remount,size=...` makes it grow."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="session")
def local_ray(bucket_environment):
    """The one Ray of the session, started as jobs start it; it costs seconds, and two would fight for the cores."""
    methods = REPOSITORY / "tests" / "training"  # a method of these tests' own; workers find it as a user's
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(methods), **bucket_environment}):
        job.start_ray()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def bucket_environment() -> dict[str, str]:
    """Where Ray's workers look for buckets: ports of this machine, on which the fixtures `s3` and `gs` listen."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_ACCESS_KEY_ID": "objadapt-tests",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-environment",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{free_port()}",
        "NO_GCE_CHECK": "true",  # of Google's machines, where credentials would come from
    }


@pytest.fixture
def buckets(bucket_environment, monkeypatch):
    """The module that starts bucket servers; credentials and addresses are in the environment."""
    import bucket_server  # it costs a second, which other tests need not pay

    for name, value in bucket_environment.items():
        monkeypatch.setenv(name, value)
    return bucket_server


@pytest.fixture
def s3(buckets, bucket_environment):
    """An empty bucket on an S3 server of this machine."""
    with buckets.serve_s3(bucket_environment) as bucket:
        yield bucket


@pytest.fixture
def gs(buckets, bucket_environment):
    """An empty bucket on a server of this machine that talks as Google Cloud Storage does."""
    with buckets.serve_gs(bucket_environment) as bucket:
        yield bucket


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory) -> Path:
    """Object Actions with 2 training clips and 1 validation clip an action: 12 frames of 64 x 64."""
    root = tmp_path_factory.mktemp("toy") / "data"
    options = toy.Options(train=32, validation=16, resolution=64, length=12, davis=0)
    assert list(toy.make(root, options, workers=1))[-1] == (48, 48)
    return root


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    """Random weights of timm's test_vit: J = 64, patches of 16 pixels."""
    path = tmp_path_factory.mktemp("weights") / "test_vit.pt"
    draw(path)
    return path


@pytest.fixture(scope="session")
def tiny_config(toy_root, tiny_weights, tmp_path_factory) -> Path:
    """A config file: 4 frames of 32 x 32 a clip, 2 epochs of 4 batches, trained in the driver's process."""
    folder = tmp_path_factory.mktemp("tiny")
    tree = {
        "name": "tiny",
        "output": str(folder / "outputs"),
        "data": {"root": str(toy_root)},
        "sampling": {"frames": 4},
        "transform": {"size": 32},
        "backbone": {"library": "timm", "name": "test_vit", "weights": str(tiny_weights)},
        "method": {"slots": {"number": 3}},
        "training": {"epochs": 2, "batch_size": 8, "lr": 1e-3, "warmup_epochs": 1},
        "stream": {"num_workers": 0, "clips_per_task": 4},
        "tracking": {"uri": f"sqlite:///{folder}/mlflow.db", "experiment": "tests"},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="session")
def tiny_plan(tiny_config) -> Callable[..., Plan]:
    """`tiny_plan("key=value", ...)`: the tiny experiment with overrides,
    brought together with its data and backbone.
    """

    def make(*overrides: str) -> Plan:
        config: Experiment = load_config(tiny_config, overrides)
        return plan(config, build_manifest(config.data, config.seed))

    return make


@pytest.fixture(scope="session")
def held(tiny_plan, local_ray) -> list[ray.ObjectRef]:
    """Features of the tiny experiment (2 views a training clip), encoded once for all trainings that need no stream."""
    return hold_features(tiny_plan("stream.hold=true", "stream.views=2"))


@dataclass(frozen=True)
class Finished:
    """A job that has ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def run_job() -> Callable[..., Finished]:
    """`run_job("train", "--config", path, ...)`: jobs/train.py in this process,
    as `python jobs/train.py ...` would run it.
    """

    def run(name: str, *arguments: str | Path) -> Finished:
        script, code = REPOSITORY / "jobs" / f"{name}.py", 0
        out, err = io.StringIO(), io.StringIO()
        argv = [str(script), *map(str, arguments)]
        path = [str(script.parent), *sys.path]  # where python looks first when it runs a script
        with mock.patch.object(sys, "argv", argv), mock.patch.object(sys, "path", path):
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    runpy.run_path(str(script), run_name="__main__")
                except SystemExit as end:
                    code = end.code or 0
        return Finished(code, out.getvalue(), err.getvalue())

    return run


@dataclass(frozen=True)
class Trained:
    """A training that went the whole way through jobs/train.py."""

    job: Finished
    json: Path  # what --json wrote
    output: Path


@pytest.fixture(scope="session")
def trained(run_job, tiny_config, local_ray, tmp_path_factory) -> Trained:
    """The tiny experiment by jobs/train.py with one Ray Train worker and the default MLflow store."""
    output = tmp_path_factory.mktemp("trained")
    arguments = [f"output={output}", "tracking.uri=null", "stream.num_workers=1", "name=tiny-run"]
    done = run_job("train", "--config", tiny_config, "--json", output / "summary.json", *arguments)
    assert done.code == 0, done.err
    return Trained(done, output / "summary.json", output)


def pytest_addoption(parser):
    parser.addoption("--share", metavar="K/N", help="of the slow and cluster tests only the K-th of N shares, by file")


def pytest_collection_modifyitems(config, items):
    """Leave out the other shares: CI has an hour, and takes another share with each commit."""
    if not (share := config.getoption("--share")):
        return
    which, shares = map(int, share.split("/"))
    long = [item for item in items if item.get_closest_marker("slow") or item.get_closest_marker("cluster")]
    counted = Counter(item.location[0] for item in long)
    files = sorted(counted, key=lambda path: (-counted[path], path))  # dealt in turn, those with many tests first
    others = {item for item in long if files.index(item.location[0]) % shares != which % shares}
    config.hook.pytest_deselected(items=list(others))
    items[:] = [item for item in items if item not in others]


def pytest_terminal_summary(terminalreporter):
    """Seconds by folder, fixtures included, where several folders were tested."""
    seconds: dict[str, float] = {}
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if hasattr(report, "duration") and hasattr(report, "nodeid"):
            place = Path(report.nodeid.partition("::")[0]).parent.as_posix()
            seconds[place] = seconds.get(place, 0.0) + report.duration
    if len(seconds) > 1:
        terminalreporter.section("seconds by folder")
        for place, spent in sorted(seconds.items(), key=lambda item: -item[1]):
            terminalreporter.write_line(f"{spent:8.1f}  {place}")
