"""Motion layers by the commands: trained on files without labels or flow, then masks of whole sequences, scored."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from objadapt.data import toy

pytestmark = pytest.mark.slow


def davis_folder(root: Path) -> Path:
    """Object Actions with two DAVIS sequences of 4 frames of 64 x 64."""
    options = toy.Options(train=16, validation=16, resolution=64, length=4, davis=2)
    (root / "videos").mkdir(parents=True)
    for number in range(2):
        toy.write_clip(root, options, "validation", number)
    sets = root / "davis" / "ImageSets" / "2017"
    sets.mkdir(parents=True)
    (sets / "val.txt").write_text("1000000\n1000001\n")
    return root / "davis"


def test_it_is_trained_and_its_masks_are_scored(run_job, tiny_config, local_ray, tmp_path):
    own = ["method.name=motion_layers", "method.layers=3", "method.width=16", "transform.size=64"]
    small = ["tracking.uri=null", "training.epochs=1", "training.warmup_epochs=0", "stream.hold=false"]
    done = run_job("train", "--config", tiny_config, f"output={tmp_path}", *own, *small)
    assert done.code == 0, done.err
    (run,) = (tmp_path / "runs").glob("*-seed*")
    summary = json.loads((run / "summary.json").read_text())
    assert np.isfinite(summary["loss"]) and "top1" not in summary
    masks, davis = tmp_path / "masks", davis_folder(tmp_path / "toy")
    done = run_job("segment", "--checkpoint", run / "last", "--davis", davis, "--out", masks)
    assert done.code == 0, done.err
    found = [np.array(Image.open(path)) for path in sorted(masks.glob("*/*.png"))]
    assert found and {int(one) for ids in found for one in np.unique(ids)} <= {1, 2, 3}
    done = run_job("score_davis", "--predictions", masks, "--davis", davis)
    assert done.code == 0, done.err


def test_pruned_tokens_are_cached_under_a_key_of_their_own_and_refused_inside_the_vit(
    run_job, tiny_config, local_ray, tmp_path
):
    """The same run from a cache and streamed: what is pruned is the same."""
    cached, streamed = (
        ["tracking.uri=null", "training.epochs=1", "transform.size=64", "backbone.pruning=4"] for _ in range(2)
    )
    cached += [f"stream.cache={tmp_path}/features", f"output={tmp_path}/cached"]
    done = run_job("extract_features", "--config", tiny_config, *cached)
    assert done.code == 0, done.err
    plain = ["transform.size=64", f"stream.cache={tmp_path}/features", f"output={tmp_path}/plain"]
    assert run_job("extract_features", "--config", tiny_config, *plain).code == 0
    assert len(list((tmp_path / "features").glob("*/cache.json"))) == 2
    done = run_job("train", "--config", tiny_config, *cached)
    assert done.code == 0, done.err
    refused = run_job("train", "--config", tiny_config, f"output={tmp_path}", "method.name=aim", *streamed)
    assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
    assert "backbone.pruning: method.name=aim takes frames and works on all their tokens" in refused.err
