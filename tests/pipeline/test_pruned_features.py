"""Pruned features from a cache are those of the stream, under a key of their own; without pruning keys stay."""

import dataclasses
import hashlib
import json

import pytest
import torch

from objadapt.pipeline.cache import FEATURES, open_cache
from objadapt.pipeline.schedule import Segment
from objadapt.pipeline.source import Cached, Streamed
from objadapt.runs.feature_caches import ensure_features


def test_without_pruning_a_key_is_what_it_was(tiny_plan):
    """By the formula with which caches were made before there was any."""
    plan = tiny_plan("stream.cache=features")
    transform = plan.config.transform.model_dump(exclude={"size", "flip", "random_erasing"}) | {
        "size": plan.crop,
        "flip": plan.flip,
    }
    sampling = {"mode": "uniform", "decoder": "auto"}
    clips = plan.manifest.features_hash
    parts = [FEATURES, plan.backbone_hash, plan.config.backbone.precision, transform, sampling, clips]
    expected = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    assert plan.cache_key == expected
    large = ("stream.cache=features", "transform.size=64")
    keys = {tiny_plan(*large, f"backbone.pruning={r}").cache_key for r in (0, 4, 8)}
    assert len(keys) == 3 and tiny_plan(*large, "backbone.pruning=0").cache_key == tiny_plan(*large).cache_key


@pytest.mark.slow
@pytest.mark.parametrize("frames", [4, 6])
def test_a_cache_of_several_t_holds_what_each_streams(tiny_plan, local_ray, tmp_path_factory, frames):
    """Pruning looks along a clip, so the frames of another T, which lie beside it, must not count."""
    root = tmp_path_factory.getbasetemp() / "pruned"
    common = [f"stream.cache={root}", "transform.size=64", "backbone.pruning=8", "training.batch_size=12"]
    plans = {t: tiny_plan(*common, "method.temporal=none", f"sampling.frames={t}") for t in (4, 6)}
    (folder,) = ensure_features(list(plans.values()))
    plan = plans[frames]
    segment = Segment("val", 1, 2)
    schedule = dataclasses.replace(plan.schedule, segments=(segment,))
    cache, ids = open_cache(root, plan.cache_key, plan.contents), plan.manifest.table["clip_id"].tolist()
    cached = Cached(cache, ids, plan.labels, schedule, 0, 1, plan.config.sampling)
    streamed = Streamed([plan.stream(schedule).iterator()], plan.labels, schedule, 0, prefetch_batches=1)
    for one, other in zip(cached.batches(segment), streamed.batches(segment), strict=True):
        assert torch.equal(one["row"], other["row"])
        real = one["row"] >= 0  # of padding nothing is stored
        torch.testing.assert_close(one["patches"][real], other["patches"][real], atol=4e-3, rtol=4e-3)
