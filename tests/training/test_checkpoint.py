"""Checkpoints: what is loaded equals what was saved, a crash at any moment leaves a whole one,
other files are refused.
"""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from objadapt.config_peers import LinearProbe
from objadapt.errors import FullDisk, InputError, full_disk
from objadapt.methods.linear_probe import LinearProbeMethod
from objadapt.methods.method import Method
from objadapt.training import checkpoint


def answer(method: Method, width: int = 4) -> torch.Tensor:
    """Scores of 5 clips of one frame."""
    return method({"cls": torch.randn(5, 1, width)}).logits["label"]


def trained(seed: int = 0, width: int = 4) -> tuple[Method, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    module = LinearProbeMethod(LinearProbe(), {"label": 3}, width)
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        answer(module, width).square().sum().backward()
        optimiser.step()
    return module, optimiser


def state(epoch: int = 1, **fields) -> checkpoint.State:
    return checkpoint.State({"name": "x"}, {"label": ["a", "b"]}, 4, "abc", epoch=epoch, **fields)


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    for (name, value), expected in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name


def test_what_is_loaded_is_what_was_saved(tmp_path):
    module, optimiser = trained()
    metrics, sums, best = {"train/total": 1.5}, {"total": 0.1 + 0.2}, {"epoch": 2, "top1": 0.5}
    saved, folder = state(3, step=5, global_step=17, metrics=metrics, sums=sums, best=best), tmp_path / "run" / "last"
    checkpoint.save(folder, module, optimiser, saved)
    other, its_optimiser = trained(seed=1)
    assert checkpoint.load(folder, other, its_optimiser) == saved == checkpoint.read_state(folder)
    assert_equal(other, module)
    for one, two in ((module, optimiser), (other, its_optimiser)):  # the optimiser goes on alike
        torch.manual_seed(9)
        two.zero_grad()
        answer(one).square().sum().backward()
        two.step()
    assert_equal(other, module)


def test_saving_replaces_the_whole_folder_and_leaves_nothing_beside_it(tmp_path):
    module, optimiser = trained()
    checkpoint.save(tmp_path / "last", module, optimiser, state(1))
    (tmp_path / "last" / "leftover").touch()
    checkpoint.save(tmp_path / "last", module, None, state(2))
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == ["adapter.safetensors", "state.json"]
    assert checkpoint.read_state(tmp_path / "last").epoch == 2


def crash_at(moment: str, tmp_path, monkeypatch) -> None:
    """Save epoch 1 whole; die while epoch 2 is being saved."""
    checkpoint.save(tmp_path / "last", *trained(0), state(1))

    def dies(*arguments, **_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "writing weights":
            patch.setattr(checkpoint, "serialise", dies)
        elif moment == "writing the optimiser":
            patch.setattr(checkpoint.torch, "save", dies)
        elif moment == "between the renames":
            rename = type(tmp_path).rename
            patch.setattr(
                type(tmp_path), "rename", lambda path, to: dies() if path.name == "last.part" else rename(path, to)
            )
        elif moment == "after the renames":
            rmtree = shutil.rmtree
            last_act = lambda path: path.name == "last.old" and path.exists()  # noqa: E731
            patch.setattr(
                checkpoint.shutil, "rmtree", lambda path, **kw: dies() if last_act(path) else rmtree(path, **kw)
            )
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path / "last", *trained(1), state(2))


@pytest.mark.parametrize(
    "moment, epoch",
    [("writing weights", 1), ("writing the optimiser", 1), ("between the renames", 1), ("after the renames", 2)],
)
def test_a_crash_leaves_a_whole_checkpoint(moment, epoch, tmp_path, monkeypatch):
    crash_at(moment, tmp_path, monkeypatch)
    found = checkpoint.newest(tmp_path / "last")
    module, optimiser = trained(5)
    assert checkpoint.load(found, module, optimiser).epoch == epoch
    assert_equal(module, trained(epoch - 1)[0])
    # and the restarted run saves over it as if nothing had happened
    checkpoint.save(tmp_path / "last", *trained(3), state(4))
    assert (
        checkpoint.newest(tmp_path / "last") == tmp_path / "last"
        and checkpoint.read_state(tmp_path / "last").epoch == 4
    )
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_the_only_copy_outlives_a_second_crash(tmp_path, monkeypatch):
    """Once between the renames, then while the next one is being written: the moved-away copy is all there is."""
    crash_at("between the renames", tmp_path, monkeypatch)
    assert not (tmp_path / "last").exists()
    rename = type(tmp_path).rename

    def dies(path, to):
        if path.name == "last.part":
            raise KeyboardInterrupt
        return rename(path, to)

    monkeypatch.setattr(type(tmp_path), "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path / "last", *trained(3), state(4))
    monkeypatch.undo()
    assert checkpoint.read_state(checkpoint.newest(tmp_path / "last")).epoch in (1, 4)


def test_nothing_there_is_not_a_checkpoint(tmp_path):
    assert checkpoint.newest(tmp_path / "last") == tmp_path / "last"
    with pytest.raises(InputError, match="no state.json"):
        checkpoint.read_state(tmp_path / "last")


def damage(folder, what: str) -> None:  # noqa: C901 -- a branch for each damage
    weights, optimiser, its_state = (folder / name for name in ("adapter.safetensors", "optimiser.pt", "state.json"))
    if what == "weights absent":
        weights.unlink()
    elif what == "weights cut off":
        weights.write_bytes(weights.read_bytes()[:-20])
    elif what == "weights are text":
        weights.write_text("hello")
    elif what == "weights are empty":
        weights.write_bytes(b"")
    elif what == "optimiser absent":
        optimiser.unlink()
    elif what == "optimiser cut off":
        optimiser.write_bytes(optimiser.read_bytes()[:-200])
    elif what == "optimiser is empty":
        optimiser.write_bytes(b"")
    elif what == "optimiser is text":
        optimiser.write_text("hello")
    elif what == "optimiser of another model":
        torch.save(torch.optim.AdamW([nn.Parameter(torch.zeros(1))]).state_dict(), optimiser)
    elif what == "optimiser is no state":
        torch.save([1, 2], optimiser)
    elif what == "optimiser runs code":
        torch.save({"state": pytest.raises}, optimiser)
    elif what == "state cut off":
        its_state.write_text(its_state.read_text()[:40])
    elif what == "state is a list":
        its_state.write_text("[1, 2]")
    elif what == "state has other keys":
        its_state.write_text(json.dumps({"epoch": 1, "colour": "red"}))
    elif what == "state is binary":
        its_state.write_bytes(b"\xff\x00\xfe")
    elif what == "other shapes":
        save_file({name: torch.zeros(7) for name in trained()[0].state_dict()}, weights)
    elif what == "other names":
        save_file({"a": torch.zeros(7)}, weights)
    elif what in ("not finite", "whole numbers"):
        own = trained()[0].state_dict()
        broken = {name: value * math.inf if what == "not finite" else value.long() for name, value in own.items()}
        save_file(broken, weights)
    elif what.startswith("state says "):
        key, value = json.loads(what.removeprefix("state says "))
        its_state.write_text(json.dumps(json.loads(its_state.read_text()) | {key: value}))


@pytest.mark.parametrize(
    "what",
    [
        "weights absent",
        "weights cut off",
        "weights are text",
        "weights are empty",
        "optimiser absent",
        "optimiser cut off",
        "optimiser is empty",
        "optimiser is text",
        "optimiser of another model",
        "optimiser is no state",
        "optimiser runs code",
        "state cut off",
        "state is a list",
        "state has other keys",
        "state is binary",
        "other shapes",
        "other names",
        "not finite",
        "whole numbers",
        'state says ["classes", null]',
        'state says ["classes", ["a"]]',
        'state says ["classes", {"label": "ab"}]',
        'state says ["classes", {"label": [1, 2]}]',
        'state says ["epoch", -1]',
        'state says ["epoch", "x"]',
        'state says ["step", true]',
        'state says ["joint_width", 1.5]',
        'state says ["backbone_hash", 3]',
        'state says ["best", []]',
    ],
)
def test_damaged_and_foreign_checkpoints_are_refused_in_one_line(what, tmp_path):
    checkpoint.save(tmp_path / "last", *trained(), state())
    damage(tmp_path / "last", what)
    module, optimiser = trained(1)
    with pytest.raises(InputError, match="^checkpoint ") as caught:
        checkpoint.load(tmp_path / "last", module, optimiser)
    assert "\n" not in str(caught.value) and str(tmp_path / "last") in str(caught.value)


def test_a_full_disk_leaves_the_checkpoint_before_as_it_was(tmp_path, small_disk):
    module, optimiser = trained(width=1000)
    checkpoint.save(small_disk / "last", module, optimiser, state(1))
    files = {path.name: path.read_bytes() for path in (small_disk / "last").iterdir()}
    (small_disk / "other").write_bytes(bytes(130_000))
    with pytest.raises(FullDisk) as caught:
        checkpoint.save(small_disk / "last", *trained(seed=1, width=1000), state(2))
    assert full_disk(caught.value).startswith(f"{small_disk}/last.part/")
    assert {path.name: path.read_bytes() for path in (small_disk / "last").iterdir()} == files
    (small_disk / "other").unlink()
    checkpoint.save(small_disk / "last", *trained(seed=1, width=1000), state(2))
    assert checkpoint.read_state(small_disk / "last").epoch == 2
