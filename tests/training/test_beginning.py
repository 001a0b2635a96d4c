"""Slots that begin as centroids of training tokens: the same on one worker and two, in every source, after a kill."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

from objadapt.errors import InputError
from objadapt.training import beginning
from objadapt.training.trainer import train

KMEANS = ["method.slots.initialisation=kmeans", "method.slots.iterations=1", "training.epochs=1"]


def weights(plan) -> dict[str, torch.Tensor]:
    return load_file(plan.folder / "last" / "adapter.safetensors")


@pytest.fixture(scope="module")
def streamed(tiny_plan, local_ray, tmp_path_factory):
    plan = tiny_plan(f"output={tmp_path_factory.mktemp('streamed')}", "method.slots.learning_rate=0", *KMEANS)
    train(plan)
    return weights(plan)


def of_the_grouping(state: dict) -> dict:
    return {name: value for name, value in state.items() if name.startswith("slot_attention.")}


def test_a_frozen_grouping_ends_where_the_data_began_it(tiny_plan, streamed):
    torch.manual_seed(0)
    untouched = tiny_plan("method.slots.learning_rate=0", *KMEANS).method().state_dict()
    moved = ("queries", "to_k.weight", "to_v.weight")
    assert not any(
        torch.equal(untouched[f"slot_attention.{name}"], streamed[f"slot_attention.{name}"]) for name in moved
    )
    assert torch.equal(untouched["slot_attention.norm_input.weight"], streamed["slot_attention.norm_input.weight"])


@pytest.mark.slow
def test_two_workers_begin_as_one_does(tiny_plan, streamed, tmp_path):
    two = ["stream.num_workers=2", "stream.trainer_cpus=0.5", "stream.trainer_gpus=0"]
    plan = tiny_plan(f"output={tmp_path}", "method.slots.learning_rate=0", *KMEANS, *two)
    train(plan)
    ours, theirs = of_the_grouping(streamed), of_the_grouping(weights(plan))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_training_killed_before_its_first_checkpoint_begins_alike(tiny_plan, held, tmp_path):
    overrides = [f"output={tmp_path}/whole", "stream.hold=true", *KMEANS]
    whole = tiny_plan(*overrides)
    train(whole, held=held)

    def kill(what, done, total, note=""):
        raise ConnectionAbortedError

    cut = tiny_plan(f"output={tmp_path}/cut", "stream.hold=true", *KMEANS)
    with pytest.raises(ConnectionAbortedError):
        train(cut, held=held, show=kill)
    train(cut, held=held)
    one, other = weights(whole), weights(cut)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_sample_is_of_valid_clips_and_does_not_depend_on_how_they_come():
    seen = []

    class Method(torch.nn.Module):
        first_clips = 8

        def begin(self, tokens):
            seen.append(tokens)

    patches = torch.randn(8, 2, 5, 3)
    valid = torch.tensor([True] * 6 + [False] * 2)

    def batches(order: list[int], size: int):
        for start in range(0, 8, size):
            rows = torch.tensor(order[start : start + size])
            yield {"row": rows, "view": torch.zeros_like(rows), "valid": valid[rows], "patches": patches[rows]}

    for order, size in (([*range(8)], 8), ([3, 1, 7, 0, 2, 6, 5, 4], 2)):
        given = list(batches(order, size))
        again = list(beginning.begin(Method(), iter(given), size, seed=1))  # pyright: ignore[reportArgumentType]
        assert [batch["row"].tolist() for batch in again] == [batch["row"].tolist() for batch in given]
    assert seen[0].shape == (6, 5, 3) and torch.equal(seen[0], seen[1])


def test_no_readable_clip_is_one_line():
    batch = {"row": torch.arange(2), "view": torch.zeros(2), "valid": torch.zeros(2, dtype=torch.bool)}
    method = torch.nn.Module()
    method.first_clips = 4
    with pytest.raises(InputError, match="none of the first 2 training clips could be read"):
        list(beginning.begin(method, iter([batch | {"patches": torch.zeros(2, 1, 5, 3)}]), 2, seed=0))  # pyright: ignore[reportArgumentType]


def on_a_processor_of_its_own(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.manual_seed(rank)  # as if k-means had come to something else here
    method = torch.nn.Linear(3, 2)
    beginning.agree(method)  # pyright: ignore[reportArgumentType]
    torch.save(method.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_workers_that_came_to_different_weights_take_the_first_ones(tmp_path):
    mp.spawn(on_a_processor_of_its_own, args=(str(tmp_path),), nprocs=2)
    torch.manual_seed(0)
    expected = torch.nn.Linear(3, 2).state_dict()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
