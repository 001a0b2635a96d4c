"""Every combination of losses and of the adapter's parts trains on two workers, and as on one:
no parameter is waited for.
"""

import itertools

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sections import object_centric

from objadapt.config import Training
from objadapt.config_methods import Distillation, Losses, Temporal
from objadapt.errors import InputError
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter
from objadapt.training.loop import Progress, build_optimiser, distribute, train_epoch

T, N, J, STEPS = 4, 5, 8, 3
CPU = torch.device("cpu")
LOSSES = [weights for weights in itertools.product((0.0, 1.0), repeat=4) if any(weights)]
PARTS = [
    {"num_slots": slots, "temporal": temporal, "object_interaction": interaction, "implicit": implicit}
    for slots, temporal, interaction, implicit in itertools.product(
        (3, 1, "none"), ("state_change", "attention", "none"), (True, False), (True, False)
    )
    if implicit or slots == 3
]
CASES = [
    (losses, parts, heads)
    for losses in LOSSES
    for parts in PARTS
    for heads in ({"label": 3}, {"verb_label": 3, "noun_label": 4})
    if parts["implicit"] or "label" in heads
]


def adapter(losses, parts, heads) -> ObjectCentricAdapter | None:
    """The adapter of a case; None where it has nothing to learn from."""
    classification, distillation, temporal, overlap = losses
    terms = Losses(
        classification=classification,
        distillation=Distillation(weight=distillation),
        temporal=Temporal(weight=temporal),
        mask_overlap=overlap,
    )
    torch.manual_seed(0)
    try:
        return ObjectCentricAdapter(object_centric(terms, heads=2, interval=1, **parts), heads, J, T).double()
    except InputError:
        return None


def clips(heads: dict[str, int], labelled: bool) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.stack([torch.arange(8) % classes for classes in heads.values()], dim=1)
    return {
        "patches": torch.randn(8, T, N, J, generator=generator).half(),
        "cls": torch.randn(8, T, J, generator=generator).half(),
        "labels": labels if labelled else torch.full_like(labels, -1),
        "valid": torch.ones(8, dtype=torch.bool),
        "row": torch.arange(8),
    }


def weights(losses, parts, heads, rows: slice) -> dict[str, torch.Tensor] | None:
    """After some steps on this worker's rows; the second batch has no label."""
    method = adapter(losses, parts, heads)
    if method is None:
        return None
    batches = [{k: v[rows] for k, v in clips(heads, labelled=step != 1).items()} for step in range(STEPS)]
    training = Training(lr=1e-3, epochs=2, warmup_epochs=0)
    optimiser = build_optimiser(method, training)
    train_epoch(distribute(method, CPU), batches, optimiser, training, Progress(), STEPS, CPU, lambda *_: None)
    return method.state_dict()


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = [weights(*case, slice(4 * rank, 4 * rank + 4)) for case in CASES]
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_every_combination_of_losses_trains_on_two_workers_as_on_one(tmp_path):
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    trained = 0
    for case, *both in zip(CASES, *results, strict=True):
        alone = weights(*case, slice(None))
        assert (alone is None) == (both[0] is None), case
        if alone is None:
            continue
        trained += 1
        for name, value in alone.items():
            assert torch.equal(both[0][name], both[1][name]), (case, name)
            torch.testing.assert_close(
                both[0][name],
                value,
                rtol=1e-6,
                atol=1e-8,
                msg=lambda text, case=case, name=name: f"{case}, {name}: {text}",
            )
    assert trained > 400
