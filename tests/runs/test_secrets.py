"""A run on a real MLflow server: the server's password and the environment are written nowhere."""

import secrets
from pathlib import Path

import pytest
from mlflow_server import start_server, stop_server
from ports import free_port

from objadapt.runs.run import run_experiment


@pytest.fixture
def server(tmp_path):
    """Port of an MLflow server whose store is in `tmp_path / "server"`."""
    store = tmp_path / "server"
    store.mkdir()
    port = free_port()
    process = start_server(port, store)
    try:
        yield port
    finally:
        stop_server(process, port)


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
