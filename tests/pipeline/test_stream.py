"""The stream gives each clip's features in its place, the same every time, to each worker its own,
at the consumer's pace.
"""

import dataclasses
import os
import shutil
import threading
import time

import numpy as np
import pytest
import ray
import torch

from objadapt.backbone import build_backbone
from objadapt.backbone.features import encode_frames
from objadapt.data.clip import read_clip
from objadapt.data.probe import DecodeError
from objadapt.data.transforms import test_transform, train_transform
from objadapt.pipeline import decoding, stream
from objadapt.pipeline.quarantine import decode_reason
from objadapt.pipeline.schedule import PADDING, Segment


def columns(dataset: ray.data.Dataset) -> dict[str, np.ndarray]:
    """All rows of a stream in order, as one array a column."""
    blocks = [block for block in dataset.iterator().iter_batches(batch_size=None, batch_format="numpy")]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


@ray.remote
class Occupy:
    """Holds resources, as training workers do."""

    def ready(self) -> bool:
        return True


def frames_by_hand(plan, row: int, view: int, training: bool) -> np.ndarray:
    """One view of one clip as method and formats say, uint8 [T, S, S, 3]; DecodeError where there is none."""
    clip, settings = plan.manifest.table.loc[row], plan.config
    if training:
        rng = np.random.default_rng([settings.seed, 1, row, view])
        read = read_clip(clip.path, clip.start_s, clip.end_s, settings.sampling, rng)
        return train_transform(read.frames, plan.crop, settings.transform, plan.flip, rng)
    crops = settings.evaluation.spatial_crops
    read = read_clip(
        clip.path, clip.start_s, clip.end_s, settings.sampling, None, view // crops, settings.evaluation.temporal_clips
    )
    frames = read.frames[::-1] if settings.evaluation.reverse else read.frames
    return test_transform(frames, plan.crop, view % crops, crops)


@pytest.fixture(scope="module")
def uneven(tiny_plan):
    """32 training and 2 x 3 views of 16 validation clips in batches of 12: the last batch of each segment is padded."""
    return tiny_plan("training.batch_size=12", "evaluation.temporal_clips=2", "evaluation.spatial_crops=3")


@pytest.fixture(scope="module")
def streamed(uneven, local_ray):
    """(schedule, columns) of one epoch and its validation."""
    schedule = uneven.schedule.for_training(epochs=1, validate_every=1)
    return schedule, columns(uneven.stream(schedule))


def test_features_are_those_of_the_clips_one_by_one_in_the_order_of_the_schedule(uneven, streamed):
    schedule, got = streamed
    train, validation = (schedule.clips(segment) for segment in schedule.segments)
    rows, views = (np.concatenate(pair) for pair in zip(train, validation, strict=False))
    assert len(rows) == 36 + 96 and (rows == PADDING).sum() == 4
    assert got["row"].tolist() == rows.tolist()
    assert got["valid"].tolist() == (rows != PADDING).tolist()
    present = got["valid"]
    assert got["view"][present].tolist() == views[present].tolist()
    assert not got["short"].any() and not got["reason"].any()
    encoder = build_backbone(uneven.config.backbone)
    for place in np.flatnonzero(present):
        frames = frames_by_hand(uneven, int(rows[place]), int(views[place]), training=place < 36)
        patches, cls = encode_frames(encoder, torch.from_numpy(frames.copy())[None])
        assert patches[0].shape == got["patches"][place].shape == (4, 4, 64)
        np.testing.assert_allclose(got["patches"][place], patches[0].numpy(), atol=4e-3, rtol=4e-3)
        np.testing.assert_allclose(got["cls"][place], cls[0].numpy(), atol=4e-3, rtol=4e-3)


def test_views_of_a_clip_differ(streamed):
    schedule, got = streamed
    validation = got["cls"][36:].reshape(16, 6, -1).astype(np.float64)
    assert (
        np.abs(validation[:, :1] - validation[:, 3:4]).max(axis=(1, 2)) > 0.05
    ).mean() > 0.8  # another temporal clip


def test_the_same_stream_again_is_the_same_to_the_last_bit(uneven, streamed):
    schedule, first = streamed
    again = columns(uneven.stream(schedule))
    for name, values in first.items():
        assert values.tobytes() == again[name].tobytes(), name


@pytest.mark.slow
def test_another_seed_is_another_order_and_other_crops(tiny_plan, local_ray):
    def decoded(seed):
        plan = tiny_plan(f"seed={seed}")
        schedule = plan.schedule.for_training(epochs=2, validate_every=2)
        return columns(stream.decoded_stream(schedule, plan.manifest.table, plan.config, plan.crop, plan.flip))

    one, other = decoded(0), decoded(1)
    assert one["row"][:32].tolist() != other["row"][:32].tolist() != one["row"][32:64].tolist()
    assert one["row"][64:].tolist() == other["row"][64:].tolist()
    assert np.array_equal(one["frames"][64:], other["frames"][64:])  # validation knows no seed
    by_row = [
        {row: frames.tobytes() for row, frames in zip(got["row"][:32].tolist(), got["frames"], strict=False)}
        for got in (one, other)
    ]
    assert sorted(by_row[0]) == sorted(by_row[1])
    assert sum(by_row[0][row] == by_row[1][row] for row in by_row[0]) < 4  # the same clips, cut otherwise


@pytest.mark.slow
def test_two_workers_get_exactly_their_clips(tiny_plan, local_ray):
    plan = tiny_plan("training.batch_size=12", "stream.num_workers=2", "stream.clips_per_task=4", "sampling.frames=2")
    schedule = dataclasses.replace(
        plan.schedule, train_rows=plan.schedule.train_rows[:29], val_rows=plan.schedule.val_rows[:13]
    )
    schedule = schedule.for_training(epochs=2, validate_every=1)
    assert schedule.block == 3  # 2 blocks a worker and step, dealt out in turn
    dataset = stream.decoded_stream(schedule, plan.manifest.table, plan.config, plan.crop, plan.flip)
    got: dict[int, list] = {}

    def consume(worker: int, shard: ray.data.DataIterator):
        batches = shard.iter_batches(batch_size=6, batch_format="numpy")
        got[worker] = [(batch["row"].tolist(), batch["view"].tolist()) for batch in batches]

    shards = dataset.streaming_split(2, equal=True)
    threads = [threading.Thread(target=consume, args=pair) for pair in enumerate(shards)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in (0, 1):
        wanted = [batch for segment in schedule.segments for batch in schedule.worker_clips(segment, worker)]
        assert len(wanted) == len(got[worker]) == 2 * (3 + 2)
        for (rows, views), (got_rows, got_views) in zip(wanted, got[worker], strict=False):
            assert got_rows == rows.tolist()
            assert [v for v, row in zip(got_views, rows, strict=False) if row >= 0] == [
                v for v, row in zip(views.tolist(), rows, strict=False) if row >= 0
            ]


def test_a_run_cut_off_goes_on_with_the_same_clips(tiny_plan, local_ray):
    plan = tiny_plan()
    full = plan.schedule.for_training(epochs=2, validate_every=1)
    rest = plan.schedule.for_training(epochs=2, validate_every=1, epoch=1, step=3)
    place = (plan.manifest.table, plan.config, plan.crop, plan.flip)
    decoded = [columns(stream.decoded_stream(schedule, *place)) for schedule in (full, rest)]
    tail = len(rest)
    assert tail == 8 + 16
    for name in ("row", "view", "frames"):
        assert np.array_equal(decoded[0][name][-tail:], decoded[1][name]), name


def test_broken_files_are_named_in_their_places_and_all_others_are_there(
    shared, toy_root, tiny_plan, tmp_path, local_ray
):
    for name in ("train/broken", "train/whole", "val/whole"):
        (tmp_path / name).mkdir(parents=True)
    for path in sorted((shared / "hostile").iterdir()):
        if path.suffix != ".csv":
            shutil.copy(path, tmp_path / "train/broken")
    for number, path in enumerate(sorted((toy_root / "videos").iterdir())[:12]):
        shutil.copy(path, tmp_path / ("val" if number > 9 else "train") / "whole")
    (tmp_path / "train/whole/cut.mp4").write_bytes(b"")
    plan = tiny_plan("data.format=class_folders", f"data.root={tmp_path}")
    schedule = plan.schedule.for_training(epochs=1, validate_every=1)
    got = columns(plan.stream(schedule))
    rows = np.concatenate([schedule.clips(segment)[0] for segment in schedule.segments])
    assert got["row"].tolist() == rows.tolist()
    broken = 0
    for place, row in enumerate(rows):
        if row == PADDING:
            continue
        try:
            frames_by_hand(plan, int(row), int(got["view"][place]), training=place < len(rows) - 8)
            assert got["valid"][place], plan.manifest.table.loc[row].path
        except DecodeError as error:
            broken += 1
            assert not got["valid"][place]
            assert decode_reason(got["reason"][place]) == (error.stage, " ".join(error.reason.split()))
    assert broken >= 10 and (got["valid"].sum() + broken) == (rows != PADDING).sum()


@pytest.mark.slow
def test_decoding_goes_on_beside_the_encoders_whatever_they_occupy(tiny_plan, tmp_path, local_ray, monkeypatch):
    """Ray Data would run a decode step inside the encoders' processes where both ask for the same resources."""
    marks = str(tmp_path)

    class MarkedDecode(decoding.DecodeBlock):
        def __call__(self, block):
            open(f"{marks}/decode-{os.getpid()}", "w").close()
            return super().__call__(block)

    class MarkedEncode(stream.Encode):
        def __call__(self, block):
            open(f"{marks}/encode-{os.getpid()}", "w").close()
            return super().__call__(block)

    monkeypatch.setattr(stream, "DecodeBlock", MarkedDecode)
    monkeypatch.setattr(stream, "Encode", MarkedEncode)
    plan = tiny_plan("stream.decode_cpus=0.5", "stream.encoder_cpus=0.5")
    got = columns(plan.stream(plan.schedule.for_training(epochs=1, validate_every=1)))
    assert got["valid"].all()
    processes = {
        kind: {path.name.partition("-")[2] for path in tmp_path.glob(f"{kind}-*")} for kind in ("decode", "encode")
    }
    assert len(processes["encode"]) == 1 and processes["decode"] and not processes["decode"] & processes["encode"]


@pytest.mark.slow
def test_no_step_asks_for_more_than_the_placement_was_checked_for(tiny_plan, local_ray):
    """Else two workers, an encoder and a decode task on 2 CPUs pass the check and then wait for ever."""
    plan = tiny_plan("stream.num_workers=2", "stream.clips_per_task=2")
    occupant = Occupy.options(num_cpus=ray.cluster_resources()["CPU"] - 1).remote()  # 1 CPU is left for 0.5 + 0.5
    ray.get(occupant.ready.remote())
    assert columns(plan.stream(plan.schedule.for_training(epochs=1, validate_every=1)))["valid"].all()
    ray.kill(occupant)


@pytest.mark.slow
def test_a_slow_consumer_holds_the_decoders_back(tiny_plan, tmp_path, local_ray, monkeypatch):
    """Decoded clips that nobody has asked for stay bounded, however long the stream is."""
    plan = tiny_plan("training.batch_size=4", "transform.size=160", "sampling.frames=8")
    steps, block_bytes = 240, 4 * 8 * 160 * 160 * 3  # 590 MB in all
    schedule = dataclasses.replace(
        plan.schedule, segments=tuple(Segment("train", epoch, 8) for epoch in range(steps // 8))
    )
    assert schedule.block == 4 and len(schedule) == 4 * steps
    counted = str(tmp_path)

    class Counting(decoding.DecodeBlock):
        """Leaves a file for each block it has decoded."""

        def __call__(self, block):
            with open(f"{counted}/{block['id'][0]}", "w"):
                return super().__call__(block)

    monkeypatch.setattr(stream, "DecodeBlock", Counting)
    options = stream.configure_data_context()
    before = options.resource_limits
    limit = 20 * block_bytes
    monkeypatch.setattr(options, "resource_limits", before.copy(object_store_memory=limit))
    dataset = stream.decoded_stream(schedule, plan.manifest.table, plan.config, plan.crop, plan.flip)
    batches = iter(dataset.iterator().iter_batches(batch_size=4, batch_format="numpy", prefetch_batches=0))
    first = [next(batches) for _ in range(2)]
    assert all(batch["valid"].all() for batch in first)
    done = -1
    while done != (done := len(list(tmp_path.iterdir()))):  # until the decoders rest
        time.sleep(4)
    assert 2 <= done <= 60, f"{done} of {steps} blocks decoded while 2 were asked for"
    rest = sum(1 for _ in batches)
    assert rest == steps - 2 and len(list(tmp_path.iterdir())) == steps
