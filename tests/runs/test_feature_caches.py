"""One extraction for many runs: it goes on where it was cut off, keeps to its limits, and trainings run on it."""

import json
import shutil

import pytest
import torch

from objadapt.errors import InputError
from objadapt.pipeline.cache import open_cache
from objadapt.pipeline.cache_folder import INDEX, list_caches, prune
from objadapt.pipeline.schedule import Segment
from objadapt.pipeline.source import Cached
from objadapt.runs import feature_caches
from objadapt.runs.feature_caches import ensure_features, estimate_features, orders
from objadapt.runs.run import run_experiment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cached(tiny_plan, tmp_path_factory):
    """The tiny experiment on a cache of this module, one view a clip."""
    root = tmp_path_factory.mktemp("caches")
    return lambda *overrides: tiny_plan(f"stream.cache={root}", "stream.views=1", *overrides)


@pytest.fixture(scope="module")
def folder(cached, local_ray):
    return ensure_features([cached()])[0]


def test_plans_share_caches_that_hold_what_all_of_them_need(cached):
    plans = [
        cached(),
        cached("sampling.frames=6", "stream.views=3"),
        cached("data.holdout=0.2"),
        cached("transform.size=48"),
    ]
    first, second = orders(plans)
    assert first.contents.frames == (4, 6) and first.contents.views == 3 and first.contents.train_tested
    assert second.contents.frames == (4,) and not second.contents.train_tested
    expected = estimate_features(plans)
    a_view = (1 + 4) * 64 * 2
    assert expected["views"] == (32 * 3 + 16 + 32) + (32 + 16)
    assert expected["bytes"] == (32 * 3 + 16 + 32) * 10 * a_view + (32 + 16) * 4 * (1 + 9) * 64 * 2
    assert [order.contents.storage for order in orders([cached(), cached("stream.storage=int8")])] == [
        "float16",
        "int8",
    ]
    assert len({order.folder for order in orders([cached(), cached("stream.storage=int8")])}) == 2
    with pytest.raises(InputError, match="stream.cache: no folder given"):
        orders([cached("stream.cache=null")])


def test_plans_that_come_later_make_no_cache_but_share_a_new_one(cached):
    """A table's rows that are left out: nothing is encoded for them alone."""
    now, wider, other = cached(), cached("sampling.frames=6", "stream.views=3"), cached("transform.size=48")
    (only,) = orders([now], later=[wider, other])
    assert only.contents.frames == (4, 6) and only.contents.views == 3, "what is made now serves them"
    assert orders([], later=[wider, other]) == []


def test_a_finished_cache_is_left_alone(cached, folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert ensure_features([cached("seed=4")]) == [folder]
    later = [cached("stream.views=2"), cached("transform.size=48")]
    assert ensure_features([cached("seed=4")], later=later) == [folder], "it is there, so nothing is encoded"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert not list(folder.rglob("*.json.part")) and not list((folder / "shards").glob("*.json"))


def test_what_a_finished_cache_lacks_is_put_beside_it(cached, folder, tmp_path):
    """Nothing is encoded twice, and each run finds the cache that serves it."""
    shutil.copytree(folder, tmp_path / folder.name)
    plans = [cached(f"stream.cache={tmp_path}", f"sampling.frames={frames}") for frames in (4, 6, 3)]
    assert estimate_features(plans)["missing_bytes"] == 48 * 9 * (1 + 4) * 64 * 2
    folders = ensure_features(plans)
    assert folders == [tmp_path / folder.name, tmp_path / f"{folder.name}-2"]
    opened = [open_cache(tmp_path, plan.cache_key, plan.contents) for plan in plans]
    assert [cache.contents.frames for cache in opened] == [(4,), (3, 6), (3, 6)]
    assert ensure_features(plans[::-1]) == folders[::-1] and estimate_features(plans)["missing_views"] == 0
    assert {one["folder"] for one in list_caches(tmp_path)} == set(map(str, folders))


def test_the_estimate_is_what_is_written(cached, folder):
    expected = estimate_features([cached()])
    assert expected["missing_bytes"] == expected["missing_views"] == 0
    arrays = sum(path.stat().st_size for path in (folder / "shards").glob("*.npy"))
    assert 0 <= arrays - expected["bytes"] <= 200 * len(list((folder / "shards").glob("*.npy")))  # headers


def test_an_extraction_that_was_cut_off_goes_on_without_doing_anything_again(cached, folder, tmp_path, monkeypatch):
    """As after a kill: some shards are whole, one has no rows beside it, one is a half-written part."""
    plan = cached(f"stream.cache={tmp_path}")
    stop_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        ensure_features([plan])
    monkeypatch.undo()
    unfinished = tmp_path / plan.cache_key
    whole = {path: path.stat().st_mtime_ns for path in (unfinished / "shards").glob("*.json")}
    assert 3 <= len(whole) < 12
    with pytest.raises(InputError, match="is unfinished"):
        open_cache(tmp_path, plan.cache_key, plan.contents)
    kept = {path.with_suffix(".npy"): path.with_suffix(".npy").stat().st_mtime_ns for path in whole}
    done = []
    assert ensure_features([plan], lambda what, now, total, note: done.append((now, total))) == [unfinished]
    # shards there at the start: what was under way at the interrupt may still have been finished
    found = done[0][0] // 4 - 1
    assert (
        found >= len(whole) and [now for now, _ in done] == list(range(4 * found + 4, 49, 4)) and done[-1] == (48, 48)
    )
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for name in ("index.parquet", "shards.parquet"):
        assert (unfinished / name).read_bytes() == (folder / name).read_bytes()
    assert not [path for path in unfinished.rglob("*") if path.suffix in (".part",)]


def stop_after(monkeypatch, blocks):
    """Ctrl-C once so many blocks are written."""
    true, count = feature_caches.extract, iter(range(1000))

    def extract(*arguments):
        def show(*_):
            if next(count) == blocks:
                raise KeyboardInterrupt

        true(*arguments[:-1], show)

    monkeypatch.setattr(feature_caches, "extract", extract)


def test_broken_videos_are_in_the_index_with_their_reasons(tiny_plan, toy_root, tmp_path, local_ray):
    data = shutil.copytree(toy_root, tmp_path / "data")
    videos = sorted((data / "videos").glob("*.mp4"))
    videos[0].write_bytes(b"no video")
    videos[40].write_bytes(videos[40].read_bytes()[:300])
    plan = tiny_plan(f"data.root={data}", f"stream.cache={tmp_path / 'cache'}", "stream.views=2")
    (folder,) = ensure_features([plan])
    cache = open_cache(folder.parent, plan.cache_key, plan.contents)
    broken = cache.index[~cache.index["valid"]]
    assert set(broken["clip_id"]) == {videos[0].stem, videos[40].stem} and (broken["reason"].str.len() > 0).all()
    assert len(cache.index) == 2 * 32 + 16 and (broken["offset"] == -1).all()
    source = Cached(
        cache, plan.manifest.table["clip_id"].tolist(), plan.labels, plan.schedule, 0, 2, plan.config.sampling
    )
    batches = [batch for segment in (Segment("train", 0, 4), Segment("val", 0, 2)) for batch in source.batches(segment)]
    dropped = {int(row) for batch in batches for row in batch["row"][~batch["valid"]] if row >= 0}
    assert {plan.manifest.table["clip_id"][row] for row in dropped} == set(broken["clip_id"])
    summary = run_experiment(plan, "test")
    assert summary["quarantined"] == 2 and summary["num_train_clips"] + summary["num_val_clips"] == 46


def test_limits_and_pruning(cached, folder, tmp_path):
    need = estimate_features([cached()])["bytes"]
    plan = cached(f"stream.cache={tmp_path / 'small'}")
    with pytest.raises(InputError, match="--limit-gb: .* GB of features"):
        ensure_features([plan], limit_bytes=need - 1)
    assert not (tmp_path / "small").exists()
    copy = shutil.copytree(folder, tmp_path / "caches" / folder.name)
    (tmp_path / "caches" / "mine").mkdir()
    (tmp_path / "caches" / "mine" / "thesis.txt").write_text("keep")
    (one,) = list_caches(tmp_path / "caches")
    assert (
        one["key"] == folder.name
        and one["finished"]
        and one["bytes"] == sum(p.stat().st_size for p in copy.rglob("*") if p.is_file())
    )
    for keys in (["mine"], ["../caches"], [folder.name, "no-such"], ["."]):
        with pytest.raises(InputError, match="--prune: .* is not a feature cache"):
            prune(tmp_path / "caches", keys)
    assert prune(tmp_path / "caches", [folder.name]) == one["bytes"]
    assert [path.name for path in (tmp_path / "caches").iterdir()] == ["mine"]


def test_a_folder_that_is_no_cache_is_not_written_into(cached, tmp_path):
    plan = cached(f"stream.cache={tmp_path}")
    (tmp_path / plan.cache_key).mkdir()
    (tmp_path / plan.cache_key / "thesis.txt").write_text("keep")
    with pytest.raises(InputError, match="not a feature cache"):
        ensure_features([plan])


def test_training_on_a_cache_gives_what_training_on_held_features_gives(cached, folder, tiny_plan, tmp_path):
    """The features differ in float16's last digits at most, the order of clips not at all."""
    cold = run_experiment(cached(f"output={tmp_path}/cached"), "test")
    warm = run_experiment(tiny_plan(f"output={tmp_path}/held", "stream.hold=true", "stream.views=1"), "test")
    assert cold["train_loss"] == pytest.approx(warm["train_loss"], rel=1e-3)
    assert (cold["num_train_clips"], cold["num_val_clips"]) == (warm["num_train_clips"], warm["num_val_clips"])
    assert cold["identity"] != warm["identity"]
    again = json.loads((cached(f"output={tmp_path}/cached").folder / "summary.json").read_text())
    assert again == cold


def test_int8_costs_half_and_says_what_it_lost(cached, tmp_path, folder, local_ray):
    plan = cached("stream.storage=int8", f"stream.cache={tmp_path}")
    (small,) = ensure_features([plan])
    full, cache = (
        open_cache(folder.parent, folder.name, cached().contents),
        open_cache(tmp_path, plan.cache_key, plan.contents),
    )
    sizes = [sum(path.stat().st_size for path in one.rglob("*.npy")) for one in (folder, small)]
    assert sizes[1] < 0.6 * sizes[0]
    places = full.index[full.index["valid"]].index.to_numpy()
    exact, lossy = (
        torch.cat([part.flatten() for part in one.read(places, 4)]).double().numpy() for one in (full, cache)
    )
    relative = (((exact - lossy) ** 2).sum() / (exact**2).sum()) ** 0.5
    assert full.int8_error == 0 and cache.int8_error == pytest.approx(relative, rel=0.02) and 0 < relative < 0.02
    assert (full.index[["clip_id", "view", "kind"]] == cache.index[["clip_id", "view", "kind"]]).all().all()
    assert INDEX in {path.name for path in small.iterdir()}
