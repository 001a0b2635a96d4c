"""Losses are shares: padding adds nothing, and two workers with half a batch each add up to one with all of it."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sections import object_centric

from objadapt.config_methods import Distillation, Losses, Temporal
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter

T, N, J = 4, 5, 8
CASES = {
    "paper": {},
    "symmetric": {"distillation": Distillation(symmetric=True)},
    "hinge": {"temporal": Temporal(margin_form="hinge_negatives")},
    "few drawn": {"temporal": Temporal(num_positives=1, num_negatives=2)},
    "overlap": {"mask_overlap": 0.05},
}


def adapter(case):
    torch.manual_seed(0)
    settings = object_centric(Losses(**CASES[case]), num_slots=3, heads=2, interval=1)
    return ObjectCentricAdapter(settings, {"verb_label": 3, "noun_label": 4}, J, T, seed=5).double()


def clips():
    """Eight clips; the halves differ in the number of valid and of labelled clips."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([[0, 1], [1, 2], [0, -1], [-1, 0], [0, 3], [1, 1], [2, 0], [0, 2]])
    valid = torch.tensor([True, True, True, True, False, True, True, True])
    return {
        "patches": torch.randn(8, T, N, J, generator=generator).half() * valid[:, None, None, None],
        "cls": torch.randn(8, T, J, generator=generator).half() * valid[:, None, None],
        "labels": labels,
        "valid": valid,
        "row": torch.tensor([0, 1, 2, 3, 4, 5, 6, 2]),  # one clip twice, once with each worker
    }


def losses_and_gradients(case, batch):
    model = adapter(case)
    losses = model.losses(model(batch), batch, step=11)
    losses["total"].backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {name: value.detach() for name, value in losses.items()}, gradients


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    half = {name: column[4 * rank : 4 * rank + 4] for name, column in clips().items()}
    torch.save({case: losses_and_gradients(case, half) for case in CASES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_workers")
    mp.spawn(worker, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def assert_equal_dicts(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            got[name], value, msg=lambda text, name=name: f"{name}: {text}", rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("case", CASES)
def test_two_workers_add_up_to_one(two_workers, case):
    expected_losses, expected_gradients = losses_and_gradients(case, clips())
    (losses, gradients), (other_losses, other_gradients) = (results[case] for results in two_workers)
    assert_equal_dicts({name: losses[name] + other_losses[name] for name in losses}, expected_losses)
    assert_equal_dicts({name: gradients[name] + other_gradients[name] for name in gradients}, expected_gradients)
    assert losses["classification"] > 0 and losses["temporal/triplets"] != other_losses["temporal/triplets"]


@pytest.mark.parametrize("case", CASES)
def test_padding_rows_change_nothing(case):
    batch = clips()
    without = {name: column[batch["valid"]] for name, column in batch.items()}
    for got, expected in zip(losses_and_gradients(case, batch), losses_and_gradients(case, without), strict=True):
        assert_equal_dicts(got, expected)


@pytest.mark.parametrize("case", CASES)
def test_contents_of_padding_rows_do_not_matter(case):
    batch = clips()
    noisy = batch | {
        "labels": batch["labels"].clone(),
        "patches": batch["patches"].clone(),
        "cls": batch["cls"].clone(),
    }
    noisy["labels"][4], noisy["patches"][4], noisy["cls"][4] = 1, 3, -2
    for got, expected in zip(losses_and_gradients(case, noisy), losses_and_gradients(case, batch), strict=True):
        assert_equal_dicts(got, expected)


def test_unlabelled_clips_take_part_in_the_distillation_alone():
    batch = clips()
    batch["labels"][3] = -1
    changed = batch | {"patches": batch["patches"].clone()}
    changed["patches"][3] += torch.linspace(-1, 1, J).half()
    before, _ = losses_and_gradients("paper", batch)
    after, _ = losses_and_gradients("paper", changed)
    assert after["classification"] == before["classification"] and after["temporal"] == before["temporal"]
    assert after["distillation"] != before["distillation"]
