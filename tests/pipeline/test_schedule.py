"""The schedule: every clip once an epoch, in the same global batches for any number of workers,
and again after a restart.
"""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objadapt.pipeline.schedule import PADDING, WINDOW_BLOCKS, Schedule, Segment, clips_a_block


@st.composite
def schedules(draw, balanced: bool | None = None) -> Schedule:
    """Any layout: a block may be a part of a worker's share of the batch, or span several batches."""
    workers, block, share = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 6))
    clips, classes = draw(st.integers(0, 60)), draw(st.integers(1, 7))
    seed = draw(st.integers(0, 5))
    rng = np.random.default_rng(seed)
    rows = rng.permutation(200)[:clips].astype(np.int64)
    quota = None
    batch = workers * share
    if balanced is not False and (balanced or draw(st.booleans())):
        batch, quota = batch * 2, 2
    return Schedule(
        train_rows=rows,
        train_labels=rng.integers(-1, classes, clips),
        val_rows=np.arange(300, 300 + draw(st.integers(0, 25))),
        val_views=draw(st.integers(1, 6)),
        batch_size=batch,
        workers=workers,
        block=block,
        seed=seed,
        clips_per_class=quota,
    )


def alike(schedule: Schedule, **changes) -> Schedule:
    fields = {name: getattr(schedule, name) for name in schedule.__dataclass_fields__}
    return Schedule(**fields | changes)


def dealt(schedule: Schedule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, views, training), each [steps, workers, clips of a worker]:
    blocks of the list dealt to the workers in turn.
    """
    columns, parts = schedule.locate(np.arange(len(schedule))), [[] for _ in range(schedule.workers)]
    at = 0
    for number, (start, size) in enumerate(schedule.blocks()):
        assert start == at and 0 < size <= schedule.block
        parts[number % schedule.workers] += range(start, start + size)
        at += size
    assert at == len(schedule)
    places = np.array(parts, dtype=np.int64).reshape(schedule.workers, -1, schedule.share).swapaxes(0, 1)
    return tuple(column[places] for column in columns)


@given(schedules(balanced=False), st.integers(0, 3))
def test_every_clip_once_an_epoch_and_padding_only_at_the_end(schedule, epoch):
    rows, views = schedule.clips(Segment("train", epoch, schedule.train_steps()))
    assert len(rows) == schedule.train_steps() * schedule.batch_size < len(schedule.train_rows) + schedule.batch_size
    real = rows[: len(schedule.train_rows)]
    assert sorted(real) == sorted(schedule.train_rows) and (rows[len(real) :] == PADDING).all()
    assert (views == epoch).all()


@given(schedules())
def test_every_validation_clip_once_in_every_view(schedule):
    rows, views = schedule.clips(Segment("val", 0, schedule.val_steps()))
    assert len(rows) == schedule.val_steps() * schedule.batch_size
    seen = Counter((row, view) for row, view in zip(rows.tolist(), views.tolist(), strict=False) if row != PADDING)
    assert seen == Counter((row, view) for row in schedule.val_rows.tolist() for view in range(schedule.val_views))
    assert (rows[len(schedule.val_rows) * schedule.val_views :] == PADDING).all()


@settings(deadline=None)
@given(schedules(), st.integers(1, 3), st.integers(1, 3))
def test_the_workers_parts_make_the_batch_of_one_worker(schedule, epochs, every):
    whole = schedule.for_training(epochs, every)
    alone = alike(whole, workers=1)
    for segment in whole.segments:
        one = alone.worker_clips(segment, 0)
        parts = [whole.worker_clips(segment, worker) for worker in range(schedule.workers)]
        assert len(one) == segment.steps and all(len(part) == segment.steps for part in parts)
        for step, (rows, views) in enumerate(one):
            assert rows.shape == (schedule.batch_size,)
            np.testing.assert_array_equal(np.concatenate([part[step][0] for part in parts]), rows)
            np.testing.assert_array_equal(np.concatenate([part[step][1] for part in parts]), views)


@settings(deadline=None)
@given(schedules(), st.integers(1, 3), st.data())
def test_blocks_dealt_in_turn_give_each_worker_its_clips(schedule, epochs, data):
    """What the stream does with positions is what held features do with `worker_clips`; from any restart on, too."""
    epoch = data.draw(st.integers(0, epochs - 1))
    step = data.draw(st.integers(0, schedule.train_steps()))
    resumed = schedule.for_training(epochs, data.draw(st.integers(1, 3)), epoch, step)
    rows, views, training = dealt(resumed)
    at = 0
    for segment in resumed.segments:
        parts = [resumed.worker_clips(segment, worker) for worker in range(schedule.workers)]
        for number in range(segment.steps - segment.skip):
            for worker, part in enumerate(parts):
                np.testing.assert_array_equal(rows[at, worker], part[number][0])
                np.testing.assert_array_equal(views[at, worker], part[number][1])
                assert (training[at, worker] == (segment.kind == "train")).all()
            at += 1
    assert at == len(rows) == len(resumed) // schedule.batch_size


@settings(deadline=None)
@given(schedules(), st.integers(1, 4), st.integers(1, 3), st.data())
def test_a_restart_is_the_exact_tail_of_the_list(schedule, epochs, every, data):
    whole = schedule.for_training(epochs, every)
    epoch, step = data.draw(st.integers(0, epochs - 1)), data.draw(st.integers(0, schedule.train_steps()))
    tail = schedule.for_training(epochs, every, epoch, step)
    for expected, got in zip(dealt(whole), dealt(tail), strict=True):
        np.testing.assert_array_equal(got, expected[len(expected) - len(got) :])
    before = epoch * schedule.train_steps() + step  # training steps that are not asked for again
    validations = sum(segment.kind == "val" and segment.number < epoch for segment in whole.segments)
    assert len(whole) - len(tail) == (before + validations * schedule.val_steps()) * schedule.batch_size


@settings(deadline=None)
@given(schedules(), st.data())
def test_any_positions_in_any_order_are_located_alike(schedule, data):
    """A decode task gets a handful of positions and must find the same clips as one that gets all."""
    whole = schedule.for_training(2, 1)
    if not len(whole):
        return
    positions = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=20)))
    for everything, some in zip(whole.locate(np.arange(len(whole))), whole.locate(positions), strict=True):
        np.testing.assert_array_equal(some, everything[positions])


@given(schedules(balanced=True), st.integers(0, 2))
def test_class_balanced_batches(schedule, epoch):
    """Groups of Q clips of one class, the last group of a class padded.

    Every clip once, those without label at the end.
    """
    rows, _ = schedule.clips(Segment("train", epoch, schedule.train_steps()))
    assert sorted(rows[rows != PADDING]) == sorted(schedule.train_rows) and len(rows) % schedule.batch_size == 0
    label = dict(zip(schedule.train_rows.tolist(), schedule.train_labels.tolist(), strict=False))
    quota, sizes = schedule.clips_per_class, Counter(schedule.train_labels[schedule.train_labels >= 0].tolist())
    groups = sum(-(-size // quota) for size in sizes.values())
    seen = Counter()
    for group in rows[: groups * quota].reshape(-1, quota).tolist():
        names = {label[row] for row in group if row != PADDING}
        assert len(names) == 1 and -1 not in names  # a group never straddles two batches: Q divides the batch
        seen[names.pop()] += 1
    assert seen == {name: -(-size // quota) for name, size in sizes.items()}
    assert all(row == PADDING or label[row] == -1 for row in rows[groups * quota :].tolist())
    assert len(rows) < groups * quota + int((schedule.train_labels < 0).sum()) + schedule.batch_size


@pytest.mark.parametrize("quota", [None, 4])
def test_seed_and_epoch_determine_the_order(quota):
    def order(seed, epoch):
        schedule = Schedule(np.arange(64), np.arange(64) % 8, np.arange(0), 1, 16, 2, 4, seed, quota)
        return schedule.clips(Segment("train", epoch, schedule.train_steps()))[0].tolist()

    assert order(0, 0) == order(0, 0) and order(3, 7) == order(3, 7)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@settings(deadline=None)
@given(schedules(), st.integers(1, 5), st.integers(0, 3))
def test_stored_views_come_in_an_order_of_each_clip_and_all_within_as_many_epochs(schedule, stored, first):
    """The same on any number of workers and after a restart.

    Validation and the list for a stream are left as they are.
    """
    seen, alone = {}, alike(schedule, workers=1)
    for epoch in range(first, first + stored):
        segment = Segment("train", epoch, schedule.train_steps())
        (whole,) = [alone.worker_clips(segment, 0, stored)]
        parts = [schedule.worker_clips(segment, worker, stored) for worker in range(schedule.workers)]
        late = alone.worker_clips(Segment("train", epoch, segment.steps, skip=segment.steps // 2), 0, stored)
        for step, (rows, views) in enumerate(whole):
            np.testing.assert_array_equal(np.concatenate([part[step][0] for part in parts]), rows)
            np.testing.assert_array_equal(np.concatenate([part[step][1] for part in parts]), views)
            for row, view in zip(rows.tolist(), views.tolist(), strict=False):
                seen.setdefault(row, []).append(view)
        for one, other in zip(late, whole[segment.steps // 2 :], strict=True):
            np.testing.assert_array_equal(one[1], other[1])
    seen.pop(PADDING, None)
    assert seen.keys() == set(schedule.train_rows.tolist())
    assert all(sorted(views) == list(range(stored)) for views in seen.values())
    validation = Segment("val", 0, schedule.val_steps())
    for one, other in zip(alone.worker_clips(validation, 0, stored), alone.worker_clips(validation, 0), strict=True):
        np.testing.assert_array_equal(one[1], other[1])


def test_each_seed_draws_which_stored_view_comes_first_without_favour():
    def first(seed, clips=4000):
        schedule = Schedule(np.arange(clips), np.zeros(clips, int), np.arange(0), 1, 100, 1, 4, seed)
        batches = schedule.worker_clips(Segment("train", 0, schedule.train_steps()), 0, 4)
        return dict(
            zip(
                np.concatenate([rows for rows, _ in batches]).tolist(),
                np.concatenate([views for _, views in batches]).tolist(),
                strict=False,
            )
        )

    one, other = first(0), first(1)
    for views in (one, other):
        counts = np.bincount(list(views.values()), minlength=4)
        assert (abs(counts - 1000) < 5 * math.sqrt(4000 * 0.25 * 0.75)).all(), counts
    same = sum(one[row] == other[row] for row in one)
    assert abs(same - 1000) < 5 * math.sqrt(4000 * 0.25 * 0.75), "two seeds agree as often as chance has it"
    fewer = first(0, clips=1000)
    assert all(one[row] == view for row, view in fewer.items()), (
        "a clip's order is its own, however many others there are"
    )


def test_validation_comes_when_it_is_asked_for_and_after_the_last_epoch():
    schedule = Schedule(np.arange(10), np.zeros(10, int), np.arange(10, 14), 1, 4, 1, 2, 0)
    kinds = [(segment.kind, segment.number) for segment in schedule.for_training(5, 2).segments]
    assert kinds == [
        ("train", 0),
        ("train", 1),
        ("val", 1),
        ("train", 2),
        ("train", 3),
        ("val", 3),
        ("train", 4),
        ("val", 4),
    ]
    without = alike(schedule, val_rows=np.arange(0))
    assert {segment.kind for segment in without.for_training(5, 2).segments} == {"train"}


@given(schedules(), st.integers(1, 4))
def test_held_features_hold_each_view_once(schedule, views):
    held = schedule.for_holding(views)
    rows, numbers, training = held.locate(np.arange(len(held)))
    there = rows != PADDING
    seen = Counter(zip(rows[there].tolist(), numbers[there].tolist(), training[there].tolist(), strict=False))
    expected = [(row, view, True) for row in schedule.train_rows.tolist() for view in range(views)]
    expected += [(row, view, False) for row in schedule.val_rows.tolist() for view in range(schedule.val_views)]
    assert seen == Counter(expected)


@settings(deadline=None)
@given(schedules(), st.integers(1, 5), st.integers(1, 60), st.data())
def test_windows_are_the_list_in_parts(schedule, epochs, blocks, data):
    """Ray plans a whole data set at once, so a long list is streamed in parts: nothing is lost or turned around."""
    epoch, step = data.draw(st.integers(0, epochs - 1)), data.draw(st.integers(0, schedule.train_steps()))
    whole = schedule.for_training(epochs, 2, epoch, step)
    parts = list(whole.windows(blocks))
    one_step = schedule.workers * -(-schedule.share // schedule.block)  # a window holds a step at the least
    assert all(len(part.blocks()) <= max(blocks, one_step) for part in parts)
    if parts:
        for column, windows in zip(dealt(whole), zip(*map(dealt, parts), strict=False), strict=True):
            np.testing.assert_array_equal(np.concatenate(windows), column)


@pytest.mark.parametrize(
    "batch_size, workers, limit, clips, block",
    [
        (64, (1, 1), 32, 1200, 32),
        (64, (2, 2), 32, 240_000, 32),
        (64, (32, 32), 32, 1200, 2),  # a small epoch is parted as finely as its batches
        (64, (32, 32), 32, 240_000, 12),  # 120,000 tasks become 20,000
        (64, (32, 32), 32, 2_000_000, 32),  # one window would still be too long: the epoch is streamed in several
        (37, (1, 1), 32, 240_000, 12),  # no even part but 1
        (48, (1, 4), 32, 1200, 4),
    ],
)
def test_an_epoch_is_no_more_tasks_than_ray_plans_quickly(batch_size, workers, limit, clips, block):
    assert clips_a_block(batch_size, workers, limit, clips) == block
    least, most = workers
    rows = np.arange(clips)
    schedule = Schedule(rows, rows * 0, rows[:0], 1, batch_size, most, block, 0).for_training(2, 1)
    assert all(len(window.blocks()) <= WINDOW_BLOCKS for window in schedule.windows())
