"""Batches from held features equal those off the stream.

What does not fit into the object store is refused beforehand.
"""

import dataclasses

import pytest
import ray
import torch

from objadapt.errors import InputError
from objadapt.pipeline.schedule import Segment
from objadapt.pipeline.source import Held, Streamed, clip_bytes, hold

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def padded(tiny_plan):
    """Batches of 12 of 32 training and 16 validation clips."""
    return tiny_plan("training.batch_size=12", "stream.hold=true", "stream.views=2")


def held_batches(held, plan, segment, worker=0, views=2):
    return list(Held(held, plan.labels, plan.schedule, worker, views).batches(segment))


def by_clip(batches) -> dict[tuple[int, int], dict]:
    """(row, view) -> features of a clip."""
    return {
        (int(row), int(batch["view"][at])): {name: batch[name][at] for name in ("patches", "cls")}
        for batch in batches
        for at, row in enumerate(batch["row"])
        if row >= 0
    }


def test_held_batches_equal_streamed_ones(held, padded):
    """The stream draws view e in epoch e; of what is held, each clip has the same views in an order of its own."""
    schedule = padded.schedule.for_training(epochs=2, validate_every=2)
    source = Streamed([padded.stream(schedule).iterator()], padded.labels, schedule, 0, prefetch_batches=1)
    streamed = {segment: list(source.batches(segment)) for segment in schedule.segments}
    kept = {segment: held_batches(held, padded, segment) for segment in schedule.segments}
    for segment in schedule.segments:
        assert len(streamed[segment]) == len(kept[segment]) == segment.steps
        for one, other in zip(streamed[segment], kept[segment], strict=False):
            assert one.keys() == other.keys()
            for name in one:
                assert one[name].shape == other[name].shape and one[name].dtype == other[name].dtype, name
            assert all(torch.equal(one[name], other[name]) for name in ("row", "valid", "labels", "short"))
            assert all((other[name][~one["valid"]] == 0).all() for name in ("patches", "cls"))
    *epochs, validation = schedule.segments
    for segments in (epochs, [validation]):
        drawn, stored = (by_clip(batch for one in segments for batch in some[one]) for some in (streamed, kept))
        assert drawn.keys() == stored.keys()
        for clip, features in drawn.items():
            for name, value in features.items():  # blocks of other neighbours differ in float16's last digits
                torch.testing.assert_close(stored[clip][name], value, atol=4e-3, rtol=4e-3)
    with pytest.raises(RuntimeError, match="the stream ended at step 0"):
        next(source.batches(Segment("val", 0, 2)))


def test_views_are_taken_in_turn_and_are_different_augmentations(held, padded):
    epochs = [held_batches(held, padded, Segment("train", epoch, 3)) for epoch in range(3)]

    def clips(epoch):
        return {
            int(row): patches
            for batch in epochs[epoch]
            for row, patches in zip(batch["row"], batch["patches"], strict=False)
            if row >= 0
        }

    first, second, third = clips(0), clips(1), clips(2)
    assert first.keys() == second.keys() == third.keys() and len(first) == 32
    assert [b["row"].tolist() for b in epochs[0]] != [b["row"].tolist() for b in epochs[2]]  # shuffled anew
    assert all(torch.equal(first[row], third[row]) for row in first)  # of two views, the first again
    assert not any(torch.equal(first[row], second[row]) for row in first)


def test_workers_share_a_global_batch_of_the_same_clips(held, tiny_plan):
    plan = tiny_plan("training.batch_size=12", "stream.num_workers=2", "stream.hold=true")
    segment = Segment("train", 0, 3)
    alone = held_batches(held, tiny_plan("training.batch_size=12"), segment)
    shares = [held_batches(held, plan, segment, worker) for worker in (0, 1)]
    for step, batch in enumerate(alone):
        for name in batch:
            assert torch.equal(batch[name], torch.cat([shares[0][step][name], shares[1][step][name]])), name


def test_labels_are_the_manifests_and_padding_has_none(held, padded):
    for batch in held_batches(held, padded, Segment("train", 0, 3)):
        for row, labels in zip(batch["row"].tolist(), batch["labels"], strict=False):
            assert labels.tolist() == ([-1] if row < 0 else [padded.manifest.table["label"][row]])


def test_a_stream_in_parts_is_the_stream(padded, held):
    schedule = padded.schedule.for_training(epochs=1, validate_every=1)
    windows = list(schedule.windows(blocks=1))
    assert [[(one.kind, one.left) for one in window.segments] for window in windows] == [[("train", 1)]] * 3 + [
        [("val", 1)]
    ] * 2
    source = Streamed(
        (padded.stream(window).iterator() for window in windows), padded.labels, schedule, 0, prefetch_batches=1
    )
    for segment in schedule.segments:
        rows = [batch["row"].tolist() for batch in source.batches(segment)]
        assert rows == [batch["row"].tolist() for batch in held_batches(held, padded, segment)]


def test_clips_in_other_places_than_scheduled_are_not_trained_on(padded, local_ray):
    schedule = padded.schedule.for_training(epochs=2, validate_every=2)
    late = dataclasses.replace(schedule, segments=schedule.segments[1:])
    source = Streamed([padded.stream(late).iterator()], padded.labels, schedule, 0, prefetch_batches=1)
    with pytest.raises(RuntimeError, match="other clips than scheduled at step 0 of 3 of train 0"):
        next(source.batches(schedule.segments[0]))


def test_what_would_fill_the_object_store_is_refused_before_anything_is_decoded(local_ray, tmp_path):
    mark = str(tmp_path / "decoded")

    def decode(block):
        open(mark, "w").close()
        return block

    dataset = ray.data.range(4).map_batches(decode)
    room = min(node["Resources"]["object_store_memory"] for node in ray.nodes())
    with pytest.raises(
        InputError, match=r"stream\.hold: 10 clip views need .* GB, .*stream\.views.*stream\.hold=false"
    ):
        hold(dataset, clips=10, clip_bytes=int(room / 10))
    assert not (tmp_path / "decoded").exists()


def test_the_size_told_beforehand_is_that_of_the_blocks(held, padded):
    told = clip_bytes(padded.config.sampling.frames, padded.patch_tokens, padded.joint_width)
    blocks = Held(held, padded.labels, padded.schedule, 0, 2).blocks
    clips = sum(len(block["row"]) for block in blocks)
    measured = sum(column.nbytes for block in blocks for column in block.values())
    assert measured == pytest.approx(told * clips, rel=0.02)
