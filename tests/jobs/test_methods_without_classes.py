"""Methods without a classifier, by the real commands: trained and validated by their loss, never asked for classes,
their masks of whole videos.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from objadapt.data import toy
from objadapt.data.davis import read_ids

pytestmark = pytest.mark.slow

METHODS = {
    "ssl_uvos": "method={name: ssl_uvos, clusters: {every: 2, most: 4}}",
    "smtc": "method={name: smtc, kinds: 3, instances: 2, most: 5}",
}


@pytest.fixture(scope="module")
def davis(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    (root / "videos").mkdir()
    toy.write_clip(root, toy.Options(train=16, validation=16, resolution=64, length=4, davis=1), "validation", 0)
    (root / "davis" / "ImageSets" / "2017").mkdir(parents=True)
    (root / "davis" / "ImageSets" / "2017" / "val.txt").write_text("1000000\n")
    return root / "davis"


@pytest.fixture(scope="module", params=METHODS)
def run(request, run_job, tiny_config, local_ray, tmp_path_factory) -> tuple[str, Path, dict]:
    output = tmp_path_factory.mktemp(request.param)
    places = f"output={output}", "tracking.uri=null", f"name={request.param}"
    given = ("stream.hold=true", METHODS[request.param])
    done = run_job("train", "--config", tiny_config, "--json", output / "s.json", *places, *given)
    assert done.code == 0, done.err
    assert "validation clips; no classes" in done.out and "top-1" not in done.out
    summary = json.loads((output / "s.json").read_text())
    return request.param, Path(summary["checkpoint"]).parent, summary


def test_a_run_has_a_loss_and_no_accuracy(run):
    _, folder, summary = run
    assert np.isfinite(summary["loss"]) and np.isfinite(summary["train_loss"]) and summary["num_val_clips"] == 16
    assert not [name for name in summary if "top" in name or "accuracy" in name]
    assert (folder / "last").is_dir() and not (folder / "clips.parquet").exists()
    assert not (folder / "predictions.csv").exists()


def test_it_is_not_evaluated_as_a_classifier(run, run_job):
    name, folder, _ = run
    done = run_job("evaluate", folder / "last")
    assert done.code == 2 and done.err.count("\n") == 1 and f"{name} gives no classes" in done.err, done.err


def test_its_masks_are_of_whole_videos_and_are_carried_by_its_features(run, run_job, davis, tmp_path):
    name, folder, _ = run
    command = "segment", "--checkpoint", folder / "last", "--davis", davis, "--out", tmp_path / "masks"
    done = run_job(*command)
    assert done.code == 0, done.err
    files = sorted((tmp_path / "masks" / "1000000").glob("*.png"))
    assert len(files) == 4 and max(int(read_ids(path).max()) for path in files) <= 5
    again = run_job(*command)
    assert "1 were there" in again.out
    flipped = run_job(*command[:-1], tmp_path / "flipped", "--flip")
    assert flipped.code == 2 and "--flip: " in flipped.err and flipped.err.count("\n") == 1

    carried = run_job("propagate", *command[1:-1], tmp_path / "carried", "--json", tmp_path / "carried.json")
    assert carried.code == 0, carried.err
    found = json.loads((tmp_path / "carried.json").read_text())
    assert found["protocol"] == "official_semi_supervised" and ("smtc" in found) == (name == "smtc")
    assert 0 <= found["plain"]["scores"]["J&F-Mean"] <= 1
    first = sorted((tmp_path / "carried" / "plain" / "1000000").glob("*.png"))
    assert len(first) == 4 and np.array_equal(
        read_ids(first[0]), read_ids(davis / "Annotations_unsupervised" / "480p" / "1000000" / first[0].name)
    )
    refused = run_job("propagate", *command[1:-1], tmp_path / "carried")
    assert refused.code == 2 and "is not empty" in refused.err
    assert pd.DataFrame(found["plain"]["objects"])["sequence"].unique().tolist() == ["1000000"]
