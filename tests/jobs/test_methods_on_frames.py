"""A method that takes frames, through every command: nothing of it is stored, and what cannot be is one line."""

import csv
import json
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

METHODS = str(Path(__file__).resolve().parents[1] / "training")  # where biased_vit lies
OWN = "method.module=biased_vit"
SMALL = ["tracking.uri=null", "training.epochs=1", "training.warmup_epochs=0"]


@pytest.fixture
def command(run_job, tiny_config, local_ray, tmp_path, monkeypatch):
    """`command(name, argument, ...)`: a job in an output folder of its own."""
    monkeypatch.syspath_prepend(METHODS)
    return run_job


def test_it_is_trained_and_evaluated_and_its_predictions_are_kept(command, tiny_config, tmp_path):
    done = command("train", "--config", tiny_config, OWN, f"output={tmp_path}", *SMALL)
    assert done.code == 0, done.err
    (run,) = (tmp_path / "runs").glob("*-seed*")
    trained = json.loads((run / "summary.json").read_text())
    files = tmp_path / "clips.csv", tmp_path / "again.json"
    done = command("evaluate", run / "last", "--predictions", files[0], "--json", files[1])
    assert done.code == 0, done.err
    found, clips = json.loads(files[1].read_text()), list(csv.DictReader(files[0].open()))
    assert found["top1"] == trained["top1"] and found["features"] == "streamed"
    assert len(clips) == trained["num_val_clips"] and not any(clip["problem"] for clip in clips)
    assert not (tmp_path / "features").exists()


def test_a_table_may_have_a_row_on_frames_beside_rows_from_the_cache(command, tiny_config, tmp_path):
    listed = [
        {"name": "slots"},
        {"name": "linear-probe", "overrides": {"method.name": "linear_probe"}},
        {"name": "bias", "overrides": {"method.module": "biased_vit"}},
    ]
    table = {"caption": "methods", "source": "own", "metrics": {"top1": {}, "adapter_gflops": {}}, "rows": listed}
    (tmp_path / "methods.yaml").write_text(yaml.safe_dump(table))
    where = ["--table", tmp_path / "methods.yaml", "--dataset", tiny_config, "--output", tmp_path / "out"]
    placed = ["--cpus-per-row", "0.5", "stream.decode_cpus=0.5", *SMALL]
    dry = command("reproduce", *where, *placed, "--dry-run")
    assert dry.code == 0 and "3 trainings" in dry.out, dry.err
    done = command("reproduce", *where, *placed, "--json", tmp_path / "found.json")
    assert done.code == 0, done.err + done.out
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["status"] for row in found["rows"]] == ["done"] * 3


def test_a_sweep_searches_the_settings_of_a_method_on_frames(command, tiny_config, tmp_path):
    space = {"sampler": "grid", "parameters": {"method.settings.dropout": {"choice": [0.0, 0.5]}}}
    (tmp_path / "bias.yaml").write_text(yaml.safe_dump(space))
    arguments = ["--config", tiny_config, OWN, f"output={tmp_path}/out", *SMALL]
    done = command("sweep", tmp_path / "bias.yaml", *arguments, "--json", tmp_path / "found.json")
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "found.json").read_text())
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 2
