"""Orders in which a clip may come more than once an epoch: how often, in which batch, under which augmentation."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objadapt.pipeline.schedule import AGAIN, PADDING, Schedule, Segment


def schedule(labels: list[int], batch: int = 8, workers: int = 1, **more) -> Schedule:
    rows = np.arange(100, 100 + len(labels))
    return Schedule(rows, np.array(labels, np.int64), np.arange(0), 1, batch, workers, batch // workers, 3, **more)


def epoch(one: Schedule, number: int) -> tuple[np.ndarray, np.ndarray]:
    return one.clips(Segment("train", number, one.train_steps()))


@settings(deadline=None)
@given(st.lists(st.integers(-1, 4), min_size=1, max_size=60), st.integers(0, 3), st.sampled_from([1, 2, 4]))
def test_a_balanced_epoch_has_as_many_places_for_each_class(labels, number, repeats):
    one = schedule(labels, balanced=True, repeats=repeats)
    rows, views = epoch(one, number)
    there = rows != PADDING
    assert there.sum() == len(labels) * repeats and len(rows) % 8 == 0
    label = dict(zip(one.train_rows.tolist(), labels, strict=True))
    of_class = Counter(label[row] for row in rows[there].tolist())
    assert of_class.pop(-1, 0) == repeats * labels.count(-1)
    assert not of_class or max(of_class.values()) - min(of_class.values()) <= repeats
    for name in of_class:  # none comes a round more than another of its class
        times = [int((rows == row).sum()) for row in one.train_rows.tolist() if label[row] == name]
        assert max(times) - min(times) <= repeats
    pairs = list(zip(rows[there].tolist(), views[there].tolist(), strict=True))
    assert len(set(pairs)) == len(pairs), "never the same augmentation twice"
    assert not np.array_equal(rows, epoch(one, number + 1)[0]) or len(set(labels)) < 2 or len(labels) < 8


def test_balanced_epochs_show_all_clips_of_a_large_class_in_time():
    one = schedule([0] * 40 + [1] * 4, balanced=True)
    seen = Counter(row for number in range(20) for row in epoch(one, number)[0].tolist())
    assert set(seen) >= set(one.train_rows.tolist())
    frequent = [seen[row] for row in range(100, 140)]
    assert np.mean(frequent) == pytest.approx(20 * 22 / 40) and min(frequent) >= 3


@pytest.mark.parametrize("repeats", [2, 4])
def test_repeats_of_a_clip_are_in_one_batch_under_other_augmentations(repeats):
    one = schedule([0] * 13, repeats=repeats)
    rows, views = epoch(one, 5)
    assert one.train_steps() == -(-13 * repeats // 8) == len(rows) // 8
    for batch, looks in zip(rows.reshape(-1, 8), views.reshape(-1, 8), strict=True):
        for row in set(batch[batch != PADDING].tolist()):
            assert sorted(looks[batch == row]) == [5 + AGAIN * number for number in range(repeats)]
        pairs = batch.reshape(-1, 2)
        assert ((pairs[:, 0] != pairs[:, 1]) | (pairs == PADDING).any(axis=1)).all(), "neighbours may be mixed"
    assert Counter(rows[rows != PADDING].tolist()) == dict.fromkeys(one.train_rows.tolist(), repeats)


@settings(deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=40), st.sampled_from([1, 2]), st.booleans(), st.integers(1, 7))
def test_two_workers_get_what_one_gets_and_stored_views_differ(labels, repeats, balanced, stored):
    alone, two = (schedule(labels, workers=n, balanced=balanced, repeats=repeats) for n in (1, 2))
    segment = Segment("train", 4, alone.train_steps(), skip=alone.train_steps() // 2)
    whole, parts = alone.worker_clips(segment, 0, stored), [two.worker_clips(segment, n, stored) for n in (0, 1)]
    looks = alone.first_looks(segment, 0)
    for step, (rows, views) in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[step][0] for part in parts]), rows)
        np.testing.assert_array_equal(np.concatenate([part[step][1] for part in parts]), views)
        assert ((views >= 0) & (views < stored)).all() and len(looks[step]) == len(rows)
        for row in set(rows[rows != PADDING].tolist()) if not balanced and stored >= repeats else ():
            assert len(set(views[rows == row].tolist())) == repeats


def test_each_clip_is_looked_at_for_the_first_time_once():
    one = schedule([0] * 9 + [1] * 3, balanced=True, repeats=2)
    segment = Segment("train", 0, one.train_steps())
    rows, first = epoch(one, 0)[0], np.concatenate(one.first_looks(segment, 0))
    seen = Counter(rows[first & (rows != PADDING)].tolist())
    assert set(seen) == set(rows[rows != PADDING].tolist()) and set(seen.values()) == {1}
