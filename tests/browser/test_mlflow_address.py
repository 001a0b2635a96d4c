"""The MLflow line that jobs end with, as printed: its command serves the store, its address shows the runs."""

import shlex
import subprocess
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_server import answers
from playwright.sync_api import expect
from ports import free_port

from objadapt.tracking import page_of

pytestmark = pytest.mark.slow


def test_the_address_opens_on_the_experiments_runs(store, chromium, tmp_path):
    uri = f"sqlite:///{store}/mlflow.db"
    (experiment,) = [one for one in MlflowClient(tracking_uri=uri).search_experiments() if one.name != "Default"]
    command, then, address = page_of(uri, experiment.name).partition("    then ")
    assert then, command
    runs = MlflowClient(tracking_uri=uri).search_runs([experiment.experiment_id], max_results=100)
    tables = {run.info.run_name for run in runs if "table" in run.data.tags}
    port = free_port()
    with (tmp_path / "log").open("w") as log:
        ui = subprocess.Popen([*shlex.split(command), "--port", str(port)], stdout=log, stderr=log)
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    try:
        until = time.monotonic() + 180
        while not answers(port, "/health", 2):
            assert ui.poll() is None and time.monotonic() < until, Path(tmp_path / "log").read_text()
            time.sleep(0.5)
        page = context.new_page()
        page.goto(address.replace(":5000/", f":{port}/"))
        for name in sorted(tables)[:2]:
            expect(page.get_by_text(name, exact=True).first).to_be_visible()
        expect(page.get_by_text(experiment.name, exact=True).first).to_be_visible()
        assert f"#/experiments/{experiment.experiment_id}/runs" in page.url
    finally:
        context.close()
        ui.terminate()
        ui.wait()
