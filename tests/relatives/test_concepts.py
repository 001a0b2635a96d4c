"""Concepts: balanced assignments, losses against plain references, workers, frozen prototypes, where they fire."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.functional import normalize

from objadapt.config_file import load_config
from objadapt.methods.build import build_method
from objadapt_relatives.concepts.assignment import assigned, balanced, negative_entropy, swapped
from objadapt_relatives.concepts.local import attention, concept_contrast, local_features, most_active
from objadapt_relatives.concepts.pictures import DARK, lit

B, T, N, J, C, HEADS = 6, 8, 9, 16, 5, {"label": 4}
SMALL = ("width=8", "projection=6", "queue=12", f"concepts={C}", "top=3")


def method(*settings: str):
    overrides = [f"method.settings.{setting}" for setting in (*SMALL, *settings)]
    config = load_config(None, [f"sampling.frames={T}", "method.module=objadapt_relatives.concepts", *overrides])
    return build_method(config, HEADS, J).double()


def clips(seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "patches": torch.randn(B, T, N, J, generator=generator).half(),
        "labels": torch.tensor([[0], [1], [2], [3], [0], [-1]]),
        "valid": torch.tensor([True, True, True, True, False, True]),
        "row": torch.tensor([3, 8, 4, 5, -1, 3]),  # the last is a copy of the first
    }


def losses(model, batch, step: int = 0) -> dict[str, torch.Tensor]:
    return model.losses(model(batch), batch, step)


def test_assignments_are_balanced_and_follow_the_scores():
    torch.manual_seed(0)
    scores = 0.2 * torch.randn(400, 8).double()
    scores[:, 0] += 0.5  # one prototype is near to all
    found = balanced(scores, 0.05, 200)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(400).double())
    torch.testing.assert_close(found.sum(dim=0), torch.full((8,), 50.0).double(), rtol=1e-2, atol=0)
    assert torch.softmax(scores / 0.05, dim=1).sum(dim=0)[0] > 200, "without balance one would have most"
    kernel = np.exp(scores.numpy() / 0.05)  # diag(u) K diag(v): what the iterations converge to
    ratio = np.log(found.numpy()) - np.log(kernel)
    np.testing.assert_allclose(ratio - ratio[:1] - ratio[:, :1] + ratio[0, 0], 0, atol=1e-9)


def test_earlier_clips_share_the_assignment_and_padding_has_none():
    scores, earlier = torch.randn(4, 3), torch.randn(5, 3)
    valid = torch.tensor([True, False, True, True])
    found = assigned(scores, earlier, valid, 0.05, 3)
    torch.testing.assert_close(found[valid], balanced(torch.cat([scores[valid], earlier]), 0.05, 3)[:3])
    assert not found[1].any()


def test_swapped_and_diversity_are_cross_entropy_and_entropy():
    target, scores = torch.softmax(torch.randn(3, 4), dim=1), torch.randn(3, 4)
    share = torch.softmax(scores / 0.1, dim=1)
    torch.testing.assert_close(swapped(target, scores, 0.1), -(target * share.log()).sum(dim=1))
    assert torch.allclose(negative_entropy(torch.zeros(1, 4), 0.1), -torch.tensor(4.0).log())
    assert negative_entropy(torch.tensor([[9.0, 0, 0, 0]]), 0.1) > -1e-3, "greatest where one stands out"


def test_a_concept_s_local_features_are_those_where_it_fires():
    features = normalize(torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    where = attention(features[0, 3:4], features, 0.01)
    torch.testing.assert_close(where.sum(dim=-1), torch.ones(2, 1))
    assert where[0, 0].argmax() == 3
    torch.testing.assert_close(local_features(features[0, 3:4], features, 0.001)[0, 0], features[0, 3])
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.9, 0.2, 0.1]])
    assert most_active(scores, 2).tolist() == [[False, True, True], [True, True, False]]
    assert most_active(scores, 9).all()


def test_the_contrast_of_concepts_is_that_of_plain_loops():
    torch.manual_seed(0)
    one, two = (normalize(torch.randn(4, 3, 5).double(), dim=-1) for _ in range(2))
    active = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
    rows = torch.tensor([3, 0, 3, -1])  # the third is a copy of the first
    near, far = [], []
    for k in range(3):
        for i in range(4):
            for j in range(4):
                if active[i, k] and active[j, k]:
                    distance = (one[i, k] - two[j, k]).norm()
                    if i != j and rows[i] == rows[j]:
                        continue
                    (near if i == j else far).append(distance**2 if i == j else max(1.4 - distance, 0.0) ** 2)
    expected = sum(near) / len(near) + sum(far) / len(far)
    torch.testing.assert_close(concept_contrast(one, two, active, 1.4, rows), expected)
    assert concept_contrast(one, two, active & False, 1.4, rows) == 0
    same = one.clone().requires_grad_()
    concept_contrast(same, one, active, 1.4, rows).backward()
    assert same.grad.isfinite().all(), "the distance of equal features has a gradient"


def test_every_part_learns_and_frozen_prototypes_do_not():
    model, batch = method("frozen_steps=2", "contrast_from=3").train(), clips()
    first = losses(model, batch, step=1)
    first["total"].backward()
    assert all(bank.grad is None for bank in model.banks.values()) and "contrast" not in first and model.leaves_unused
    assert model.filled == 5
    found = losses(model, batch, step=3)
    assert set(found) == {"classification", "assignment", "instance", "diversity", "fidelity", "contrast", "total"}
    weighted = (
        sum(found[name] for name in ("assignment", "instance", "fidelity", "contrast")) + 0.1 * found["diversity"]
    )
    torch.testing.assert_close(found["total"], found["classification"] + weighted)
    found["total"].backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_fidelity_teaches_the_concepts_and_not_the_features_to_be_simple():
    """Its target is detached: with the concepts' scores cut off, it has nothing to say to the encoder."""
    model, batch = method().train(), clips()
    with torch.no_grad():
        for each in model.reconstruction.values():
            each[0].weight.zero_()
    found = losses(model, batch)["fidelity"]
    gradients = torch.autograd.grad(found, list(model.encoder.parameters()), allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in gradients)


def test_clips_are_told_from_the_others_of_the_batch_as_in_plain_loops():
    model, batch = method("losses.instance=2").train(), clips()
    losses(model, clips(2))  # what earlier steps have left in the queue counts for nothing here
    with torch.no_grad():
        found = losses(model, batch, step=1)
    new = model.queue[: int(batch["valid"].sum())]  # the features of this step: both clips' RGB, static, dynamic
    expected = 0.0
    for i, other in ((0, 3), (3, 0)):
        for query, key in ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0)):
            for number, clip in enumerate(new):
                own = clip[i + query] @ new[number][other + key] / 0.1
                rest = [one for n, one in enumerate(new) if n != number and {n, number} != {0, 4}]
                others = [clip[i + query] @ one[other + key] / 0.1 for one in rest]
                expected += (torch.stack([own, *others]).logsumexp(dim=0) - own) / 2 / len(new)
    torch.testing.assert_close(found["instance"], expected)
    parts = found["assignment"] + 0.1 * found["diversity"] + found["fidelity"] + found["contrast"]
    torch.testing.assert_close(found["total"], found["classification"] + parts + 2 * expected)


def test_where_concepts_fire():
    model, batch = method(), clips()
    activity, where = model.fires(batch["patches"])
    assert activity.shape == (B, 2 * C) and where.shape == (B, 2 * C, T, 4)
    torch.testing.assert_close(where.sum(dim=(2, 3)), torch.ones(B, 2 * C).double())
    changed = batch["patches"].clone()
    changed[:, 1::2] += 1  # the odd clip
    even, again = where[:, :, 0::2], model.fires(changed)[1][:, :, 0::2]
    torch.testing.assert_close(again / again.sum(dim=(2, 3), keepdim=True), even / even.sum(dim=(2, 3), keepdim=True))
    assert not torch.allclose(again, even), "one share over all frames, so that frames of both clips can be compared"


def test_a_picture_is_light_where_a_concept_fires():
    frames, where = np.full((3, 8, 8, 3), 200, np.uint8), np.zeros((3, 4))
    where[1] = [0, 0, 0, 1.0]
    frames[1] = 100
    picture = lit(frames, where, side=4)
    assert picture.shape == (8, 8, 3) and picture[7, 7, 0] == 100 and picture[0, 0, 0] == round(100 * DARK)
    middle = np.zeros((1, 25))
    middle[0, 12] = 1.0  # cell (2, 2) of 5 x 5, about patch (4, 4) of 9 x 9, which is pixels 32 to 39 of 72
    seen = lit(np.full((1, 72, 72, 3), 100, np.uint8), middle, side=9)[..., 0].astype(float)
    assert seen[35:37, 35:37].min() == seen.max() and np.array_equal(seen, seen[::-1]) and np.array_equal(seen, seen.T)
    even = np.zeros((1, 16))
    even[0, 5] = 1.0  # cell (1, 1) of 4 x 4, about patch (2, 2) of 8 x 8, which is pixels 16 to 23 of 64
    seen = lit(np.full((1, 64, 64, 3), 100, np.uint8), even, side=8)[..., 0]
    assert np.argwhere(seen == seen.max()).mean(axis=0).tolist() == [19.5, 19.5]


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.save(two_steps(slice(3 * rank, 3 * rank + 3)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def two_steps(part: slice) -> dict[str, torch.Tensor]:
    model = method().train()
    losses(model, {name: value[part] for name, value in clips(2).items()})
    found = losses(model, {name: value[part] for name, value in clips().items()}, step=1)
    found["total"].backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**{name: value.detach() for name, value in found.items()}, **gradients}


@pytest.mark.slow
def test_two_workers_are_one(tmp_path):
    mp.spawn(worker, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, value in two_steps(slice(None)).items():
        torch.testing.assert_close(first[name] + second[name], value, msg=name)


@pytest.mark.slow
def test_concepts_do_not_collapse():
    """On clips of 8 kinds nearly every static concept is some clip's own; one may die (see the README)."""
    torch.manual_seed(0)
    model = method("queue=64", "temperature=0.1").float().train()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    kinds = torch.randn(8, 1, N, J)
    for step in range(150):
        patches = kinds[torch.randint(8, (32,))] + 0.3 * torch.randn(32, T, N, J)
        batch = {"patches": patches, "labels": torch.full((32, 1), -1), "valid": torch.ones(32, dtype=torch.bool)}
        batch["row"] = torch.arange(32)
        optimiser.zero_grad()
        losses(model, batch, step)["total"].backward()
        optimiser.step()
    with torch.no_grad():
        patches = kinds[torch.arange(160) % 8] + 0.3 * torch.randn(160, T, N, J)
        activity, _ = model.fires(patches)
    owned = activity[:, :C].argmax(dim=1).bincount(minlength=C)
    assert (owned > 0).sum() >= C - 1 and owned.max() < 160 * 0.6, owned
