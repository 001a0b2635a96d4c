"""SIGTERM brings a checkpoint and then an end like Ctrl-C's; the same training goes on from there."""

import os
import signal
import threading

import pytest
import torch
from safetensors.torch import load_file

from objadapt.training import checkpoint, trainer, worker
from objadapt.training.ending import checkpoint_on_sigterm
from objadapt.training.trainer import train


class Terminate:
    """A progress callback that sends this process SIGTERM at the n-th batch."""

    def __init__(self, at: int):
        self.calls, self.at = 0, at

    def __call__(self, what, done, total, note=""):
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_a_terminated_training_has_a_checkpoint_and_goes_on_to_the_same_weights(tiny_plan, held, tmp_path):
    settings = ["training.epochs=40", "stream.hold=true"]
    whole, cut = (tiny_plan(f"output={tmp_path}/{name}", *settings) for name in ("whole", "cut"))
    train(whole, held=held)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(cut, show=Terminate(at=2), held=held)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert 2 <= checkpoint.read_state(cut.folder / "last").global_step < 160
    train(cut, held=held)
    one, other = (load_file(plan.folder / "last" / "adapter.safetensors") for plan in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_in_the_background_of_a_shell_ends_too(tiny_plan, held, tmp_path):
    """What is started with `&` ignores SIGINT, which must not make it deaf to SIGTERM."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(
                tiny_plan(f"output={tmp_path}", "training.epochs=40", "stream.hold=true"),
                show=Terminate(at=2),
                held=held,
            )
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_training_that_is_through_before_its_end_was_brought_ends_all_the_same(tmp_path):
    """What comes behind it must not begin; and where SIGINT was ignored, nothing would ever bring the end."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), checkpoint_on_sigterm(tmp_path / "save_now"):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN and not (tmp_path / "save_now").exists()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_node_that_is_announced_to_go_is_left_with_one_checkpoint(tiny_plan, held, tmp_path, monkeypatch):
    plan = tiny_plan(f"output={tmp_path}", "training.epochs=2", "stream.hold=true")
    answers, saved, save = iter([None, None] + 6 * ["soon"]), [], checkpoint.save

    def noted(folder, adapter, optimiser, state, average):
        save(folder, adapter, optimiser, state, average)
        saved.append((folder.name, state.epoch, state.step))

    monkeypatch.setattr(checkpoint, "save", noted)
    monkeypatch.setattr(worker, "ASK_EVERY", 0.0)
    monkeypatch.setattr(
        trainer, "run", lambda task, source, device, _: worker.run(task, source, device, lambda: next(answers))
    )
    train(plan, held=held)
    assert [(epoch, step) for name, epoch, step in saved if name == "last"] == [(0, 3), (1, 0), (2, 0)]


def test_a_thread_that_may_take_no_signals_changes_none(tmp_path):
    before, failed = signal.getsignal(signal.SIGTERM), []

    def inside():
        try:
            with checkpoint_on_sigterm(tmp_path / "save_now"):
                pass
        except ValueError as error:  # what signal.signal raises there
            failed.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert not failed and signal.getsignal(signal.SIGTERM) == before
