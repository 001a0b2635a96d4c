"""Trainings that share a stream find what each finds alone; one that fails, or is ahead, changes nothing for others."""

import json
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from objadapt.pipeline.schedule import Segment
from objadapt.run_folder import RECORDS
from objadapt.runs.run import run_experiment
from objadapt.training.shared_stream import Turns, together, train_together

ROWS = {
    "full": [],
    "no-losses": ["method.losses.distillation.weight=0", "method.losses.temporal.weight=0"],
    "drops": ["method.dropout=0.5"],
    "probe": ["method.name=linear_probe", "training.lr=0.01"],
}
STREAMED = ["stream.num_workers=0", "stream.clips_per_task=4"]


def plans_in(tiny_plan, folder, names=tuple(ROWS)):
    place = [f"output={folder}", f"tracking.uri=sqlite:///{folder}/mlflow.db", *STREAMED]
    return [tiny_plan(f"name={name}", *place, *ROWS[name]) for name in names]


def result_of(plan) -> dict:
    """Numbers of a finished run, without times."""
    found = json.loads((plan.folder / "result.json").read_text())
    found["state"]["metrics"] = {
        name: value for name, value in found["state"]["metrics"].items() if "wait" not in name and "second" not in name
    }
    return found


def weights_of(plan) -> dict[str, torch.Tensor]:
    (path,) = (plan.folder / "last").rglob("*.safetensors")
    return load_file(path)


def share(plans, **others) -> dict[int, tuple]:
    works = [partial(_work, plan) for plan in plans]
    return {number: (result, error) for number, result, error in train_together(plans, works, **others)}


def _work(plan, turns: Turns) -> dict:
    return run_experiment(plan, "c0ffee", held=turns)


@pytest.fixture(scope="module")
def alone(tiny_plan, local_ray, tmp_path_factory):
    plans = plans_in(tiny_plan, tmp_path_factory.mktemp("alone"))
    for plan in plans:
        run_experiment(plan, "c0ffee")
    return plans


@pytest.fixture(scope="module")
def shared(tiny_plan, local_ray, tmp_path_factory):
    plans = plans_in(tiny_plan, tmp_path_factory.mktemp("shared"))
    ends = share(plans)
    assert all(error is None for _, error in ends.values()), ends
    return plans, ends


def same(plan, other) -> None:
    assert plan.identity == other.identity
    assert result_of(plan) == result_of(other)
    weights, others = weights_of(plan), weights_of(other)
    assert weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.slow
def test_rows_that_share_a_stream_are_bit_for_bit_those_trained_alone(alone, shared):
    plans, _ = shared
    for plan, other in zip(plans, alone, strict=True):
        same(plan, other)
    assert not result_of(plans[0])["state"]["metrics"] == result_of(plans[1])["state"]["metrics"]


@pytest.mark.slow
def test_each_row_is_told_what_it_cost_by_itself(shared):
    plans, ends = shared
    assert len({together(plan) for plan in plans}) == 1
    assert all(result["device_hours"] > 0 and result["seconds"] > 0 for result, _ in ends.values())


@pytest.mark.slow
def test_a_row_that_fails_leaves_the_others_at_work(tiny_plan, local_ray, alone, tmp_path):
    plans = plans_in(tiny_plan, tmp_path, ("full", "probe"))

    def fails(turns: Turns) -> None:
        for _ in zip(range(3), turns.batches(Segment("train", 0, 4)), strict=False):
            pass
        raise FloatingPointError("diverged")

    works = [partial(_work, plans[0]), fails, partial(_work, plans[1])]
    ends = {number: error for number, _, error in train_together([plans[0], *plans], works)}
    assert ends[0] is None and ends[2] is None and str(ends[1]) == "diverged"
    same(plans[0], alone[0])
    same(plans[1], alone[3])


class Halt(Exception):
    pass


@pytest.mark.slow
def test_a_row_cut_off_goes_on_in_a_shared_stream_with_one_that_begins(tiny_plan, local_ray, alone, tmp_path):
    plans = plans_in(tiny_plan, tmp_path, ("full", "drops"))

    def halt(epoch: int, _) -> None:
        if epoch == 1:
            raise Halt

    with pytest.raises(Halt):
        run_experiment(plans[0], "c0ffee", on_validation=halt)
    ends = share(plans)
    assert all(error is None for _, error in ends.values()), ends
    same(plans[0], alone[0])
    same(plans[1], alone[2])
    assert (plans[0].folder / RECORDS).exists()


@pytest.mark.slow
def test_an_error_of_the_stream_is_told_by_every_row(tiny_plan, local_ray, tmp_path):
    plans = plans_in(tiny_plan, tmp_path, ("full", "probe"))

    def broken(*_) -> None:
        raise RuntimeError("the stream broke off")

    ends = share(plans, show=broken)
    assert [str(error) for _, error in ends.values()] == ["the shared stream ended: the stream broke off"] * 2


def test_rows_of_other_clips_frames_batches_or_seeds_have_a_stream_of_their_own(tiny_plan):
    others = ["seed=1", "sampling.frames=2", "training.batch_size=16", "training.epochs=3", "transform.size=64"]
    keys = {together(tiny_plan(*override)) for override in ([], *([one] for one in others))}
    assert len(keys) == 1 + len(others)
    assert together(tiny_plan("training.lr=0.1", "method.slots.number=2")) == together(tiny_plan())
