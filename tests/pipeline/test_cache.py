"""The cache gives back what the stream gives, for every T it was declared for, and refuses what it cannot vouch for."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from objadapt.errors import InputError
from objadapt.pipeline.cache import open_cache
from objadapt.pipeline.cache_folder import RECORD, Contents
from objadapt.pipeline.schedule import Segment
from objadapt.pipeline.shards import to_int8
from objadapt.pipeline.source import Cached, Streamed
from objadapt.runs.feature_caches import ensure_features


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def with_frames(tiny_plan, root):
    """`with_frames(T, ...)`: the tiny experiment on the cache of this module, 12 clips a batch."""

    def make(frames, *overrides):
        common = [f"stream.cache={root}", "stream.views=2", "training.batch_size=12", "method.temporal=none"]
        return tiny_plan(*common, f"sampling.frames={frames}", *overrides)

    return make


@pytest.fixture(scope="module")
def folder(with_frames, local_ray):
    """The cache: T = 3, 4 and 6, two views, test views of training clips."""
    (folder,) = ensure_features([with_frames(4), with_frames(6), with_frames(3, "data.holdout=0.5")])
    return folder


def source(plan, folder, **more):
    cache = open_cache(folder.parent, plan.cache_key, plan.contents)
    ids = plan.manifest.table["clip_id"].tolist()
    return Cached(cache, ids, plan.labels, plan.schedule, 0, plan.config.stream.views, plan.config.sampling, **more)


@pytest.mark.parametrize("frames", [3, 4, 6])
def test_cached_batches_equal_streamed_ones(folder, with_frames, frames):
    plan = with_frames(frames)
    schedule = dataclasses.replace(
        plan.schedule, segments=(Segment("train", 0, 3), Segment("train", 1, 3), Segment("val", 1, 2))
    )
    streamed = Streamed([plan.stream(schedule).iterator()], plan.labels, schedule, 0, prefetch_batches=1)
    cached, drawn, kept = source(plan, folder), {}, {}
    for segment in schedule.segments:
        for one, other in zip(streamed.batches(segment), cached.batches(segment), strict=True):
            assert one.keys() == other.keys()
            for name in one:
                assert one[name].shape == other[name].shape and one[name].dtype == other[name].dtype, name
            for name in ("row", "valid", "labels", "short", "decoder", "reason"):
                assert torch.equal(one[name], other[name]), name
            for place in torch.nonzero(one["row"] >= 0).flatten():
                key = segment.kind, int(one["row"][place])
                for name in ("patches", "cls"):
                    drawn[(*key, int(one["view"][place]), name)] = one[name][place]
                    kept[(*key, int(other["view"][place]), name)] = other[name][place]
            assert all((other[name][~one["valid"]] == 0).all() for name in ("patches", "cls"))
    assert drawn.keys() == kept.keys(), "both views of each training clip, in whichever order"
    for key, value in drawn.items():  # blocks of other neighbours differ in float16's last digits
        torch.testing.assert_close(kept[key], value, atol=4e-3, rtol=4e-3)


def test_a_batch_is_contiguous_and_backwards_is_the_reverse(folder, with_frames):
    """Patches and cls are copied once, each to where a step (or a copy to a GPU) takes it from."""
    plan = with_frames(4)
    segment = Segment("val", 0, plan.schedule.val_steps())
    for one, other in zip(
        source(plan, folder).batches(segment), source(plan, folder, reverse=True).batches(segment), strict=True
    ):
        for name in ("patches", "cls"):
            assert one[name].is_contiguous() and other[name].is_contiguous()
            assert torch.equal(one[name].flip(1), other[name]) and not torch.equal(one[name], other[name])


def test_views_take_turns_seeds_share_them_and_each_has_an_order_of_its_own(folder, with_frames):
    def clips(plan, epoch):
        batches = source(plan, folder).batches(Segment("train", epoch, 3))
        return {
            int(row): patches
            for batch in batches
            for row, patches in zip(batch["row"], batch["patches"], strict=False)
            if row >= 0
        }

    first, second, third, of_seed_5 = (
        clips(with_frames(4), 0),
        clips(with_frames(4), 1),
        clips(with_frames(4), 2),
        clips(with_frames(4, "seed=5"), 0),
    )
    assert len(first) == 32 and first.keys() == second.keys() == third.keys()
    assert all(torch.equal(first[row], third[row]) for row in first)
    assert not any(torch.equal(first[row], second[row]) for row in first)
    as_in_seed_0 = sum(torch.equal(first[row], of_seed_5[row]) for row in first)
    assert 6 <= as_in_seed_0 <= 26, "of 32 clips about half begin with the other view"
    assert all(torch.equal(of_seed_5[row], first[row]) or torch.equal(of_seed_5[row], second[row]) for row in first)
    with_one_view = clips(with_frames(4, "stream.views=1"), 1)
    assert all(
        torch.equal(with_one_view[row], first[row]) or torch.equal(with_one_view[row], second[row]) for row in first
    )
    assert all(
        torch.equal(clips(with_frames(4, "stream.views=1", "seed=5"), 0)[row], with_one_view[row]) for row in first
    )


@pytest.mark.slow
@pytest.mark.parametrize("override", ["data.fraction=0.5", "data.holdout=0.5", "seed=3"])
def test_parts_of_the_data_set_are_read_from_the_same_cache(folder, with_frames, override):
    whole, part = with_frames(3), with_frames(3, override)
    assert whole.cache_key == part.cache_key
    val = list(source(part, folder).batches(Segment("val", 0, part.schedule.val_steps())))
    table = part.manifest.table
    seen = [table["clip_id"][row] for batch in val for row in batch["row"].tolist() if row >= 0]
    assert sorted(seen) == sorted(table.loc[table["split"] == "val", "clip_id"])
    assert all(batch["valid"][batch["row"] >= 0].all() for batch in val)
    if override == "data.holdout=0.5":  # what is read are test views of clips that others train on
        index = source(part, folder).cache.index
        kept, clips = index[index["clip_id"].isin(seen)], whole.manifest.table
        assert set(kept["kind"]) == {"train", "test"} and set(clips.loc[clips["split"] == "val", "clip_id"]).isdisjoint(
            seen
        )
        streamed = Streamed(
            [part.stream(dataclasses.replace(part.schedule, segments=(Segment("val", 0, 2),))).iterator()],
            part.labels,
            part.schedule,
            0,
            prefetch_batches=1,
        )
        torch.testing.assert_close(
            val[0]["cls"], next(streamed.batches(Segment("val", 0, 2)))["cls"], atol=4e-3, rtol=4e-3
        )


def test_backwards_is_the_same_frames_in_reverse(folder, with_frames):
    plan, segment = with_frames(6), Segment("val", 0, 2)
    for one, other in zip(
        source(plan, folder).batches(segment), source(plan, folder, reverse=True).batches(segment), strict=False
    ):
        assert torch.equal(one["patches"].flip(1), other["patches"]) and torch.equal(one["cls"].flip(1), other["cls"])
    train = Segment("train", 0, 3)
    for one, other in zip(
        source(plan, folder).batches(train), source(plan, folder, reverse=True).batches(train), strict=False
    ):
        assert torch.equal(one["patches"], other["patches"])


@pytest.mark.slow
def test_short_clips_are_repeated_or_quarantined_by_who_reads(tiny_plan, toy_root, root, local_ray):
    def long(policy):  # 12 frames a clip
        more = ["method.temporal=none", "sampling.frames=16", f"sampling.short_clips={policy}"]
        return tiny_plan(f"stream.cache={root / 'long'}", "stream.views=1", *more)

    (folder,) = ensure_features([long("repeat")])
    assert long("quarantine").cache_key == folder.name
    repeated = next(source(long("repeat"), folder).batches(Segment("val", 0, 2)))
    assert repeated["valid"].all() and repeated["short"].all()
    dropped = next(source(long("quarantine"), folder).batches(Segment("val", 0, 2)))
    assert not dropped["valid"].any() and not dropped["short"].any() and (dropped["patches"] == 0).all()
    assert bytes(dropped["reason"][0].numpy()).startswith(b"sampling|too few frames for uniform sampling of 16")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / folder.name)


def truncate(folder):
    path = sorted((folder / "shards").glob("*.npy"))[1]
    path.write_bytes(path.read_bytes()[:-10])


def flip_a_byte(folder):
    path = sorted((folder / "shards").glob("*.npy"))[1]
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def lose_a_file(folder):
    sorted((folder / "shards").glob("*.npy"))[0].unlink()


def lose_the_index(folder):
    (folder / "index.parquet").unlink()


def spoil_the_index(folder):
    (folder / "index.parquet").write_bytes(b"no table")


def spoil_the_record(folder):
    (folder / RECORD).write_text("{}")


def change_the_record(**values):
    def change(folder):
        (folder / RECORD).write_text(json.dumps(json.loads((folder / RECORD).read_text()) | values))

    return change


@pytest.mark.parametrize(
    "damage, reason",
    [
        (truncate, "is damaged: 000001.npy has .* bytes, not"),
        (flip_a_byte, "is damaged: the checksum of 000001.npy is wrong"),
        (lose_a_file, "is damaged: 000000.npy is missing"),
        (lose_the_index, "is unfinished"),
        (spoil_the_index, "is damaged .*index.parquet"),
        (spoil_the_record, "not a feature cache"),
        (change_the_record(key="0123456789ab"), "was made for other settings"),
        (change_the_record(format=99), r"newer objadapt \(format 99\); this one reads up to 2; use objadapt >= "),
        (change_the_record(format="two"), "damaged, its format is 'two'"),
        (shutil.rmtree, r"no cache .* \(there is none\)"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_damaged_and_foreign_caches_are_refused(copy, with_frames, damage, reason):
    plan = with_frames(4)
    open_cache(copy.parent, plan.cache_key, plan.contents)
    damage(copy)
    with pytest.raises(InputError, match=reason):
        open_cache(copy.parent, plan.cache_key, plan.contents)


def test_what_it_was_not_declared_for_is_refused(folder, with_frames):
    for plan, reason in (
        (with_frames(5), "it holds T = 3, 4, 6, not 5"),
        (with_frames(4, "stream.views=3"), "it holds 2 augmented views a training clip, not 3"),
        (with_frames(4, "stream.storage=int8"), "its storage is float16, not int8"),
        (with_frames(4, "evaluation.temporal_clips=2"), "its temporal_clips is 1, not 2"),
    ):
        assert plan.cache_key == folder.name
        with pytest.raises(InputError, match=reason):
            open_cache(folder.parent, plan.cache_key, plan.contents)
    for override in ("transform.size=48", "transform.min_scale=0.9", "sampling.mode=dense", "transform.flip=true"):
        other = with_frames(4, override)
        with pytest.raises(
            InputError, match=f"no cache {other.cache_key} .* made for other settings or videos: {folder.name}"
        ):
            open_cache(folder.parent, other.cache_key, other.contents)


def test_other_videos_under_the_same_ids_are_refused(folder, with_frames, toy_root, tmp_path):
    elsewhere = shutil.copytree(toy_root, tmp_path / "toy")
    same = with_frames(4, f"data.root={elsewhere}")
    assert same.cache_key == folder.name and same.identity == with_frames(4).identity
    for video in (elsewhere / "videos").iterdir():
        video.write_bytes(video.read_bytes() + bytes(8))
    other = with_frames(4, f"data.root={elsewhere}")
    assert other.identity != same.identity and other.manifest.table["clip_id"].equals(same.manifest.table["clip_id"])
    with pytest.raises(InputError, match=f"no cache {other.cache_key} "):
        open_cache(folder.parent, other.cache_key, other.contents)


@given(arrays(np.float16, (3, 7), elements=st.floats(-100, 100, width=16)))
@settings(deadline=None)
def test_int8_is_within_half_a_step(features):
    stored, scale = to_int8(features)
    exact = features.astype(np.float64)
    step = scale.astype(np.float64)[:, None]
    # the scale is rounded to float16 (11 bits), so the largest number may be clipped by that much
    assert (
        np.abs(stored * step - exact)
        <= 0.5 * step + np.abs(exact).max(axis=1, keepdims=True) * 2.0**-10 + 127 * 2.0**-24
    ).all()
    assert stored.dtype == np.int8 and scale.dtype == np.float16


def test_parts_lie_side_by_side():
    contents = Contents((4, 8, 16), 1, 1, 1)
    assert contents.frames_stored == 28
    assert [np.arange(28)[contents.part(frames)].tolist() for frames in (4, 8, 16)] == [
        list(range(4)),
        list(range(4, 12)),
        list(range(12, 28)),
    ]


def test_the_index_lists_every_view_once(folder):
    index = pd.read_parquet(folder / "index.parquet")
    assert not index.duplicated(["clip_id", "kind", "view"]).any()
    assert index.groupby("kind").size().to_dict() == {"test": 48, "train": 64}
