"""A training worker that fails: everybody hears of it, what fails in the same way twice is not tried a third time."""

import logging
from pathlib import Path

import pytest
import ray
import ray.train
from ray.exceptions import ActorDiedError, NodeDiedError, RayTaskError

from objadapt.errors import InputError
from objadapt.pipeline.schedule import Schedule
from objadapt.pipeline.source import Stored
from objadapt.run_folder import FAILURES
from objadapt.training import checkpoint
from objadapt.training.ray_train import RESTARTS, WindowStreams, failure_kinds, train_on_workers
from objadapt.training.task import Task
from objadapt.training.trainer import train


def fails(mark: Path, times: int, message: str):
    """A progress callback that raises at the second batch of each of the first `times` attempts; pickled by value."""
    folder, calls = str(mark), []

    def show(what, done, total, note=""):
        from pathlib import Path

        calls.append(1)
        if len(calls) == 2 and len(attempts := list(Path(folder).iterdir())) < times:
            (Path(folder) / str(len(attempts))).touch()
            raise ValueError(message.format(len(attempts)))

    return show


@pytest.fixture
def two_workers(tiny_plan, local_ray, tmp_path):
    (tmp_path / "attempts").mkdir()
    return tiny_plan(f"output={tmp_path}/out", "stream.hold=true", "stream.num_workers=2", "training.batch_size=12")


@pytest.mark.slow
def test_the_same_failure_is_told_and_not_tried_a_third_time(two_workers, held, tmp_path, caplog):
    # a number that changes makes no new failure
    show = fails(tmp_path / "attempts", 99, "clip {} is not what I thought")
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(ray.train.TrainingFailedError, match="clip 1 is not what I thought"),
    ):
        train(two_workers, show=show, held=held)
    assert len(list((tmp_path / "attempts").iterdir())) == 2
    said = [record.getMessage() for record in caplog.records]
    told = [line for line in said if "ValueError: clip" in line]
    assert told == [f"training worker 0 failed: ValueError: clip {attempt} is not what I thought" for attempt in (0, 1)]
    assert any("goes on from the last checkpoint" in line for line in said) and any(
        "is not tried again" in line for line in said
    )
    kept = (two_workers.folder / FAILURES).read_text()
    assert kept.count("Traceback") >= 2 and "in show" in kept


@pytest.mark.slow
def test_a_failure_that_does_not_come_again_is_survived(two_workers, held, tmp_path, caplog):
    result = train(two_workers, show=fails(tmp_path / "attempts", 1, "once"), held=held)
    assert result["state"]["epoch"] == two_workers.config.training.epochs
    assert "training worker 0 failed: ValueError: once" in caplog.text


def second_fails(mark: Path, kind: type[Exception]):
    """Work in which the first worker waits for the second one, which raises; pickled by value."""
    folder = str(mark)

    def work(task, source, device, preemption):
        from pathlib import Path

        from torch import distributed

        if distributed.get_rank() == 1:
            (Path(folder) / str(len(list(Path(folder).iterdir())))).touch()
            raise kind("the second fails")
        distributed.barrier()

    return work


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "attempts"), [(InputError, 1), (FloatingPointError, 1), (KeyError, 2)])
def test_an_error_of_one_worker_ends_the_other_that_waits_for_it(two_workers, held, tmp_path, caplog, kind, attempts):
    plan = two_workers
    plan.folder.mkdir(parents=True)
    stored = Stored(held, None, plan.manifest.table["clip_id"].tolist(), plan.labels, plan.config)
    with pytest.raises(ray.train.TrainingFailedError if kind is KeyError else kind, match="the second fails"):
        train_on_workers(
            Task.of(plan, plan.folder), None, stored, plan.placed, second_fails(tmp_path / "attempts", kind)
        )
    assert len(list((tmp_path / "attempts").iterdir())) == attempts
    assert ("training worker 1 failed: KeyError: 'the second fails'" in caplog.text) == (kind is KeyError)


def test_after_a_restart_fewer_windows_are_left(tiny_plan, monkeypatch, tmp_path):
    plan = tiny_plan(f"output={tmp_path}", "stream.num_workers=2", "stream.clips_per_task=1")
    monkeypatch.setattr(Schedule.windows, "__defaults__", (16,))  # an epoch of 4 batches of 8 clips is two windows
    task = Task.of(plan, plan.folder)
    names = [f"window-{number}" for number, _ in enumerate(task.remaining().windows())]
    windows = WindowStreams(lambda schedule: schedule, task)
    assert list(windows.streams(names, 2)) == names and len(names) > 3
    state = checkpoint.State(
        plan.config.model_dump(mode="json"), plan.manifest.classes, plan.joint_width, plan.backbone_hash, epoch=1
    )
    checkpoint.save(plan.folder / "last", plan.method(), None, state)
    left = windows.streams(names, 2)
    assert 0 < len(left) < len(names) and [len(one) for one in left.values()] == [
        len(one) for one in task.remaining(2).windows()
    ]


def test_kinds_of_failures():
    closed = RuntimeError("[third_party/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:50331")
    assert (
        failure_kinds({0: ValueError("step 3\nmore")})
        == failure_kinds({1: ValueError("step 12")})
        == {"ValueError: step #"}
    )
    assert failure_kinds({0: ValueError("a"), 1: KeyError("a")}) == {"ValueError: a", "KeyError: 'a'"}
    assert failure_kinds({0: ValueError("a")}) != failure_kinds({0: TypeError("a")})
    assert failure_kinds({0: RuntimeError("")}) == {"RuntimeError"}
    for lost in (ActorDiedError(), NodeDiedError("gone")):
        assert failure_kinds({1: lost}) == failure_kinds({0: RuntimeError("follows from it"), 1: lost}) == set()
    assert failure_kinds({0: closed}) == failure_kinds({0: closed, 1: ActorDiedError()}) == set()
    assert failure_kinds({0: closed, 1: ValueError("a")}) == {"ValueError: a"}  # which ended the connection
    of_a_task = RayTaskError("decode()", "Traceback:\n  File\nValueError: bad block 7", ValueError("bad block 7"))
    assert failure_kinds({0: of_a_task}) == {"ValueError: bad block #"}
    assert RESTARTS > 1
