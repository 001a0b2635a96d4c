"""What the table discovery says of masks: segments counted, k-means at as many, protocols apart, all against loops."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from objadapt.config_file import load_config
from objadapt.data.davis import davis_sequences, read_ids
from objadapt.evaluation.mask_baselines import kmeans_masks
from objadapt.evaluation.object_masks import upsample
from objadapt.evaluation.segmentation import score_soft_sequence
from objadapt.evaluation.slots_on_sequences import attention_of, score_masks
from objadapt.metric import METRICS
from objadapt.runs.discovery_test import discovery_metrics, run_discovery_test, segments_of, untrained_discovery
from objadapt.runs.object_test import ObjectTest, tokens_of, untrained
from objadapt.tables.rows import Place
from objadapt.tables.scores import scores_of
from objadapt.training import checkpoint

GRID, FRAMES = (3, 4), 5


@pytest.fixture
def run(tiny_plan, shared, tmp_path):
    """A plan of SSL-UVOS with a checkpoint and the tokens of two of DAVIS's sequences, which are random."""
    made = tiny_plan("method={name: ssl_uvos, clusters: {every: 2, threshold: 0.02, most: 4}}", f"output={tmp_path}")
    found = [
        dataclasses.replace(one, frames=one.frames[:FRAMES], annotations=one.annotations[:FRAMES])
        for one in davis_sequences(shared / "davis")[:2]
    ]
    test = ObjectTest(shared / "davis", tuple(found), "0" * 12, discovery=True)
    folder = test.features(made)
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for one in found:
        tokens = torch.randn(FRAMES, GRID[0] * GRID[1], made.joint_width, generator=generator).half()
        np.save(folder / f"{one.name}.npy", tokens.numpy())
    (folder / "grid.json").write_text(json.dumps({one.name: list(GRID) for one in found}))
    method = made.method()
    config = made.config.model_dump(mode="json")
    state = checkpoint.State(config, made.manifest.classes, made.joint_width, made.backbone_hash)
    checkpoint.save(made.folder / "last", method, None, state)
    return test, made


def test_segments_are_those_that_are_strongest_somewhere():
    soft = torch.zeros(2, 3, 1, 2)
    soft[0, 0], soft[1, 0, 0, 0], soft[1, 2, 0, 1] = 1, 1, 1
    assert segments_of(soft).tolist() == [[True, False, False], [True, False, True]]


def test_a_run_is_set_beside_k_means_with_as_many_segments(run):
    test, made = run
    found, method = run_discovery_test(test, made), made.method().eval()
    checkpoint.load(made.folder / "last", method)
    per_frame, beside, counts = [], [], []
    for sequence, patches, grid in tokens_of(test, made):
        truth = [read_ids(path) for path in sequence.annotations]
        soft = attention_of(method, patches, grid)
        owners = soft.flatten(2).argmax(dim=1)
        counts += [len(frame.unique()) for frame in owners]
        clusters = kmeans_masks(patches, len(owners.unique()), 0).unflatten(2, grid)
        beside.append(score_masks(clusters, truth))
        cut = (upsample(one[None], truth[0].shape)[0].half().numpy() for one in soft)
        per_frame.append(score_soft_sequence(truth, cut))
    assert found["segments"] == pytest.approx(np.mean(counts)) and found["seconds"] > 0
    for kind, scores in (("per_frame", per_frame), ("k-means", beside)):
        expected = [(one.j.mean(axis=1) + one.f.mean(axis=1)) / 2 for one in scores]
        assert found[kind]["scores"]["J&F-Mean"] == pytest.approx(np.mean(np.concatenate(expected)))
    (made.folder / f"discovery-{test.key}.json").write_text(json.dumps(found | {"seconds": 7.0}))
    assert run_discovery_test(test, made)["seconds"] == 7.0, "what is done is not done again"


def test_differences_to_k_means_are_paired_by_sequence(run):
    test, made = run
    found = run_discovery_test(test, made)
    rows = [row | {"J&F-Mean": row["J&F-Mean"] + 0.1} for row in found["k-means"]["objects"]]
    official = {"scores": {"J&F-Mean": found["k-means"]["scores"]["J&F-Mean"] + 0.1}, "objects": rows}
    test.result(made).write_text(json.dumps(official))
    place = Place(None, None, 0, made, test=test)  # pyright: ignore[reportArgumentType]  # of a run alone
    gain = scores_of(METRICS["over_kmeans"], place, {})
    assert isinstance(gain, pd.Series) and gain.to_numpy() == pytest.approx(np.full(len(test.sequences), 0.1))
    assert discovery_metrics(found, official)["over_kmeans"] == pytest.approx(0.1)
    per_frame = scores_of(METRICS["per_frame_jf"], place, {})
    assert per_frame is not None and per_frame.mean() == pytest.approx(found["per_frame"]["scores"]["J&F-Mean"])
    assert place.scored, "both results are there"
    (made.folder / f"discovery-{test.key}.json").unlink()
    assert not place.scored and scores_of(METRICS["over_kmeans"], place, {}) is None


def test_masks_without_training_are_looked_at_alike(run):
    test, made = run
    ceiling, grid = untrained_discovery(test, made, "ceiling"), untrained_discovery(test, made, "grid")
    assert "k-means" not in ceiling and "seconds" not in ceiling and ceiling["segments"] <= 2
    assert grid["segments"] == 4 and discovery_metrics(grid, untrained(test, made, "grid")).keys() == {
        "per_frame_jf",
        "segments",
        "mask_seconds",
        "kmeans_jf",
        "over_kmeans",
    }


def test_the_config_of_a_method_without_labels_asks_for_none():
    for name in ("ssl_uvos", "smtc"):
        method = load_config(None, [f"method.name={name}"]).method
        assert method.learns_from_labels is None and not method.classifies
    assert load_config(None, []).method.classifies
