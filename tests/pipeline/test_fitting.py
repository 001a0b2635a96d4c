"""Settings that follow from the clips: what is chosen, why, and that it counts as if it had been set."""

import shutil
from collections import namedtuple

import numpy as np
import pytest

from objadapt.config_file import load_config, validate
from objadapt.declared import CONFIGS
from objadapt.errors import InputError
from objadapt.pipeline.fitting import FEWEST_STEPS, LARGEST_BATCH, fit_features, fit_training
from objadapt.pipeline.schedule import Schedule

AUTO = ("training.batch_size=auto", "training.epochs=auto", "stream.hold=auto")


@pytest.mark.parametrize("clips", [1, 2, 9, 53, 55, 300, 1000, 100_000])
def test_an_epoch_has_enough_steps_and_a_training_enough_epochs(clips):
    fitted, said = fit_training(load_config(None, AUTO), clips)
    batch, epochs = fitted.training.batch_size, fitted.training.epochs
    steps = -(-clips // batch)
    assert 2 <= batch <= LARGEST_BATCH and (steps >= FEWEST_STEPS or batch == 2)
    assert 20 <= epochs <= 300 and (epochs in (20, 300) or 500 <= epochs * steps < 500 + steps)
    assert said[0].startswith(f"batch    {batch}: {clips} training clips make {steps} step")
    assert said[1] == f"epochs   {epochs}: {epochs * steps:,} steps in all"


def test_padded_groups_of_a_class_make_steps():
    """They were told, and fitted, as half as many."""
    settings = load_config(None, [*AUTO, "training.clips_per_class=4"])
    labels = np.repeat(np.arange(150), 2)
    fitted, said = fit_training(settings, 300, labels)
    batch, epochs = fitted.training.batch_size, fitted.training.epochs
    steps = Schedule(
        train_rows=np.arange(300),
        train_labels=labels,
        val_rows=np.arange(0),
        val_views=1,
        batch_size=batch,
        workers=1,
        block=1,
        seed=0,
        clips_per_class=4,
    ).train_steps()
    assert said[0].startswith(f"batch    {batch}: 300 training clips make {steps} step")
    assert said[1] == f"epochs   {epochs}: {epochs * steps:,} steps in all" and 500 <= epochs * steps < 500 + steps


def test_what_workers_and_classes_share_evenly():
    settings = load_config(None, [*AUTO, "stream.num_workers=3", "training.clips_per_class=2"])
    fitted, _ = fit_training(settings, 200)
    assert fitted.training.batch_size == 24
    validate(fitted.model_dump())  # it may be written, and read again


def test_pairs_to_mix_and_repeats_are_whole():
    asked = ["stream.num_workers=3", "training.mixup=0.2", "training.clips_per_class=2"]
    fitted, _ = fit_training(load_config(None, [*AUTO, *asked]), 200)
    assert fitted.training.batch_size == 24
    fitted, said = fit_training(load_config(None, [*AUTO, "training.repeats=3", "stream.views=3"]), 55)
    assert fitted.training.batch_size == 24 and said[0].startswith("batch    24: 55 training clips make 7 steps")
    validate(fitted.model_dump())


def test_what_is_set_is_kept_and_nothing_said():
    settings = load_config(None, ["training.batch_size=12", "training.epochs=7"])
    assert fit_training(settings, 55) == (settings, []) and fit_features(settings, 100, 10**6) == (settings, [])
    batch_alone, said = fit_training(load_config(None, ["training.batch_size=auto"]), 55)
    assert (batch_alone.training.batch_size, batch_alone.training.epochs, len(said)) == (8, 30, 1)


def test_features_are_held_cached_or_streamed(tmp_path):
    settings = load_config(None, [*AUTO, f"output={tmp_path}"])
    held, said = fit_features(settings, 240, 10**6)
    assert (held.stream.hold, held.stream.cache) == (True, None) and "240 clip views, 0.24 GB" in said[0]
    cached, said = fit_features(settings, 1200, 10**6)
    assert (cached.stream.hold, cached.stream.cache) == (False, f"{tmp_path}/features") and "1,200" in said[0]
    streamed, said = fit_features(settings, 10**9, 10**9)
    assert (streamed.stream.hold, streamed.stream.cache) == (False, None) and "anew in each epoch" in said[0]
    frames, said = fit_features(settings, 240, 0)
    assert frames.stream.hold is False and "takes frames" in said[0]
    named, _ = fit_features(load_config(None, [*AUTO, "stream.cache=there"]), 240, 10**6)
    assert (named.stream.hold, named.stream.cache) == (False, "there")


def test_a_cache_that_was_filled_does_not_change_the_choice(tmp_path, monkeypatch):
    """The same command again goes on with its run, also where its features have taken a quarter of the disk."""
    disk, size = 5 * 10**9, 1_200 * 10**6
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(disk - taken))
    settings, taken = load_config(None, [*AUTO, f"output={tmp_path}"]), 0
    first = fit_features(settings, 1200, 10**6)
    (tmp_path / "features" / "key" / "shards").mkdir(parents=True)
    with open(tmp_path / "features" / "key" / "shards" / "00000.npy", "wb") as shard:
        shard.truncate(size)  # a sparse file: it takes no disk
    taken = size
    assert fit_features(settings, 1200, 10**6) == first and first[0].stream.cache == f"{tmp_path}/features"


def test_a_config_with_auto_is_written_and_read_as_it_was_asked_for():
    settings = load_config(None, AUTO)
    tree = settings.model_dump(mode="json")
    assert tree["training"]["batch_size"] == tree["training"]["epochs"] == tree["stream"]["hold"] == "auto"
    assert validate(tree) == settings
    for wrong in ("training.batch_size=0", "training.batch_size=many", "training.epochs=0", "stream.hold=maybe"):
        with pytest.raises(InputError, match=wrong.partition("=")[0]):
            load_config(None, [wrong])


def test_a_plan_has_numbers_and_the_identity_of_one_where_they_were_set(tiny_plan, tmp_path):
    auto = tiny_plan(*AUTO, f"output={tmp_path}")
    assert (
        auto.config.training.batch_size == 4 and auto.config.training.epochs == 63 and auto.config.stream.hold is True
    )
    assert len(auto.fitted) == 3 and auto.schedule.train_steps() == 8
    same = tiny_plan("training.batch_size=4", "training.epochs=63", "stream.hold=true", f"output={tmp_path}")
    assert auto.identity == same.identity and same.fitted == ()
    assert "batch_size: 4\n" in auto.config.to_yaml()


def test_who_names_no_config_has_that_of_own_videos(run_job, tmp_path):
    (tmp_path / "clips").mkdir()
    done = run_job("train", f"data.root={tmp_path}/clips", f"output={tmp_path}/out")
    assert done.code == 2 and "no train folder" in done.err, done.err
    own = load_config(CONFIGS / "own_videos.yaml")
    assert own.data.format == "class_folders" and own.stream.hold == "auto"
