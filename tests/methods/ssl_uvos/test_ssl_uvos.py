"""SSL-UVOS as a method: learns without labels, its masks are of whole videos, parts of a batch add up to it."""

import pytest
import torch

from objadapt.config import Training
from objadapt.config_discovery import SSLUVOS, Clusters
from objadapt.errors import InputError
from objadapt.methods.distributed import own_rows
from objadapt.methods.ssl_uvos.ssl_uvos import SSLUVOSMethod

B, T, N, J = 4, 5, 9, 16


def method(**settings) -> SSLUVOSMethod:
    torch.manual_seed(0)
    return SSLUVOSMethod(SSLUVOS(heads=4, **settings), J, T, seed=2).double()


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "patches": torch.randn(B, T, N, J, generator=generator).half(),
        "cls": torch.randn(B, T, J, generator=generator).half(),
        "labels": torch.full((B, 1), -1),
        "valid": torch.tensor([True, True, False, True]),
        "row": torch.tensor([3, 8, -1, 5]),
    }


def of(model, batch, counts=None):
    losses = model.losses(model(batch), batch, 11, counts)
    model.zero_grad()
    losses["total"].backward()
    return losses, {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_it_gives_no_classes_and_every_parameter_learns(batch):
    model = method()
    output = model(batch)
    assert output.logits == {} and output.outputs.shape == (B, 3, N, J) and output.rows.shape == (B, 3 * N, 3 * N)
    assert torch.allclose(output.rows.sum(dim=2), torch.ones(B, 3 * N, dtype=torch.float64))
    losses, gradients = of(model, batch)
    assert losses.keys() == {"semantic", "motion", "total"}
    # the bias of the keys is the same for all of a row, which the softmax takes out
    assert all(float(one.abs().max()) > 0 for one in gradients.values())
    assert model.leaves_unused is False


def test_parts_of_a_batch_add_up_to_it_and_padding_counts_for_nothing(batch):
    model = method()
    whole, gradients = of(model, batch)
    counts, sums = {"valid": batch["valid"].sum()}, {}
    for start in (0, 2):
        part = {name: values[start : start + 2] for name, values in batch.items()}
        for name, one in of(model, part, counts)[1].items():
            sums[name] = sums.get(name, 0) + one
    for name, one in gradients.items():
        torch.testing.assert_close(sums[name], one, msg=name)
    noisy = batch | {"patches": batch["patches"].clone()}
    noisy["patches"][2] = 7
    assert torch.equal(of(model, noisy)[0]["total"], whole["total"])
    SSLUVOSMethod.check(Training(micro_batch=2))
    assert own_rows(B, torch.device("cpu")).tolist() == list(range(B))


def test_learning_lowers_the_loss(batch):
    model = method()
    optimiser = torch.optim.AdamW(model.parameter_groups(Training()), lr=3e-3)
    totals = []
    for _ in range(60):
        losses = model.losses(model(batch), batch, 11)
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        totals.append(float(losses["total"]))
    assert totals[-1] < 0.6 * totals[0]


def test_masks_are_disjoint_and_a_segment_keeps_its_number_through_the_video():
    """Two kinds of tokens that move: where a kind goes, its number goes."""
    model = method(clusters=Clusters(every=2, threshold=0.05, most=4)).float()
    generator = torch.Generator().manual_seed(4)
    kinds = 3 * torch.randn(2, J, generator=generator)
    owner = torch.stack([(torch.arange(N) + t) % N < 3 for t in range(8)]).long()  # [8, N]
    patches = kinds[owner] + 0.01 * torch.randn(8, N, J, generator=generator)
    masks = model.grouping.video_masks(patches.half(), (3, 3))
    assert masks.shape == (8, 4, N) and torch.equal(masks.sum(dim=1), torch.ones(8, N))
    found = masks.argmax(dim=1)
    assert torch.equal(found, 1 - owner) or torch.equal(found, owner)
    assert torch.equal(masks, model.grouping.video_masks(patches.half(), (3, 3)))
    assert masks[:, 0].sum() >= masks[:, 1].sum(), "the most frequent segment comes first"


def test_attention_begins_as_likeness_which_tells_apart_what_even_attention_cannot():
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randn(7, J, generator=generator, dtype=torch.float64)
    parts = torch.nn.functional.layer_norm(tokens, (J,)).unflatten(1, (4, -1)).transpose(0, 1)  # [heads, 7, J / heads]
    plain = (8 * parts @ parts.transpose(1, 2) / (J / 4)).softmax(dim=-1).mean(dim=0)  # 8 x about the cosine
    torch.testing.assert_close(method().clusters.block.rows(tokens, tokens), plain)
    kinds = torch.randn(2, J, generator=generator)
    patches = kinds[torch.arange(N) % 2].expand(3, N, J) + 0.01 * torch.randn(3, N, J, generator=generator)
    segments = {
        start: int((method(start=start).float().grouping.video_masks(patches, (3, 3)).sum(dim=(0, 2)) > 0).sum())
        for start in ("likeness", "random")
    }
    assert segments == {"likeness": 2, "random": 1}


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"method\.heads: 5 does not divide"):
        SSLUVOSMethod(SSLUVOS(heads=5), J, T)
    with pytest.raises(ValueError, match=r"method\.frames: 3 is above sampling\.frames = 2"):
        SSLUVOS().check(2)
