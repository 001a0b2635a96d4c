"""A run on a real MLflow server: the server's password and the environment are written nowhere."""

import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from ports import free_port

from objadapt.runs.run import run_experiment


@pytest.fixture
def server(tmp_path):
    """Port of an MLflow server whose store is in `tmp_path / "server"`."""
    store = tmp_path / "server"
    store.mkdir()
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        f"sqlite:///{store}/server.db",
        "--artifacts-destination",
        str(store / "artifacts"),
    ]
    with open(store / "server.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=store, start_new_session=True)
    try:
        while not answers(f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"):
            assert process.poll() is None, (store / "server.log").read_text()
            time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=120).status == 200
    except (urllib.error.URLError, OSError):
        return False


def contents(*folders: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_neither_the_stores_password_nor_the_environment_is_kept(  # noqa: PLR0913 -- fixtures and parameters
    tiny_plan, held, server, tmp_path, monkeypatch, caplog, capfd
):
    password, variable = secrets.token_hex(12), secrets.token_hex(12)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", variable)
    caplog.set_level("INFO")
    uri = f"http://ann:{password}@127.0.0.1:{server}"
    plan = tiny_plan(f"output={tmp_path}/outputs", "stream.hold=true", f"tracking.uri={uri}")
    summary = run_experiment(plan, "test", held=held)
    assert summary["tracked"] is True and summary["mlflow_uri"] == f"http://…@127.0.0.1:{server}"
    kept = contents(tmp_path / "server", tmp_path / "outputs")
    assert {"server.db", "config.yaml", "records.jsonl", "state.json", "adapter.safetensors"} <= {
        path.name for path in kept
    }
    # so the run is there to be looked into
    assert summary["mlflow_run_id"].encode() in kept[tmp_path / "server/server.db"]
    said = capfd.readouterr()
    for secret in (password, variable):
        assert secret not in caplog.text + said.out + said.err
        assert not [path.name for path, content in kept.items() if secret.encode() in content]
