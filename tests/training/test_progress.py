"""The bar of a job on a terminal, and the board that brings it what other processes do."""

import logging
import os
import pickle
import threading
import time

import pytest
import ray
from ray.exceptions import ActorDiedError, RayError
from terminals import on_a_terminal

from objadapt.training import progress
from objadapt.training.progress import RemoteProgress


@pytest.fixture
def tracebacks(monkeypatch) -> list:
    """What threads ended with."""
    found = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    return found


def until(condition) -> None:
    """Waits for it; what does not come in two minutes on a busy machine does not come at all."""
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come")


def pid_of(progress: RemoteProgress) -> int:
    return ray.get(progress.board.__ray_call__.remote(lambda board: os.getpid()))


def test_a_board_whose_process_dies_is_made_anew_and_the_display_goes_on(local_ray, tracebacks, monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    watching = RemoteProgress()
    with watching as show:
        show("before", 1, 2)
        until(lambda: "before" in terminal.getvalue())
        before = pid_of(watching)
        os.kill(before, 9)

        def made_anew() -> bool:
            try:
                return pid_of(watching) != before
            except RayError:  # unavailable meanwhile
                return False

        until(made_anew)
        until(lambda: show("after", 2, 2) or "after" in terminal.getvalue())
        assert watching.thread.is_alive()
    assert not tracebacks


def test_a_board_that_does_not_answer_costs_the_display_that_while_alone(local_ray, tracebacks, monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    monkeypatch.setattr(progress, "PATIENCE", 0.5)
    watching = RemoteProgress()
    with watching as show:
        show("before", 1, 2)
        until(lambda: "before" in terminal.getvalue())
        pid = pid_of(watching)
        os.kill(pid, 19)  # SIGSTOP
        time.sleep(2)  # several questions go without an answer
        show("after", 2, 2)
        assert watching.thread.is_alive()
        os.kill(pid, 18)  # SIGCONT
        until(lambda: "after" in terminal.getvalue())
    assert not tracebacks


def test_a_board_that_is_gone_ends_the_display_and_nothing_else(local_ray, tracebacks, caplog, monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    caplog.set_level(logging.INFO, progress.log.name)
    watching = RemoteProgress()
    with watching as show:
        show("before", 1, 2)
        until(lambda: "before" in terminal.getvalue())
        ray.kill(watching.board)
        watching.thread.join()
        with pytest.raises(ActorDiedError):
            ray.get(watching.board.read.remote())
        for done in range(5):
            show("after", done, 4)  # a training goes on
        show.say("something")
        pickle.loads(ray.cloudpickle.dumps(show))("as in a worker", 4, 4)
    assert not tracebacks and "after" not in terminal.getvalue()
    assert [one.getMessage() for one in caplog.records if "display has ended" in one.getMessage()] == [
        "the progress display has ended with its process; the training goes on"
    ]


def test_what_a_worker_has_to_say_is_said_on_the_terminal_once(local_ray, caplog, monkeypatch):
    on_a_terminal(monkeypatch)
    caplog.set_level(logging.INFO, progress.log.name)

    @ray.remote(num_cpus=0)
    def work(show):
        show("work", 1, 2)
        show.tell("epoch 1/2")
        show.say("MLflow refuses")

    with RemoteProgress() as show:
        ray.get(work.remote(show))
        until(lambda: "MLflow refuses" in caplog.text)
        ray.get(work.remote(show))  # its line comes at the latest when the display ends
    assert [one.getMessage() for one in caplog.records if one.name == progress.log.name] == [
        "epoch 1/2",
        "MLflow refuses",
    ] * 2
