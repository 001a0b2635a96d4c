"""Clusters of attention: as many as there are objects, whatever the order of windows and patches."""

import itertools

import pytest
import torch

from objadapt.methods.ssl_uvos.attention_clusters import divergence, grown, video_clusters

WINDOWS, PATCHES, PLACES = 4, 30, 60


def distributions(objects: int, noise: float = 0.3) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Rows of each window, and the object of each: objects attend to their own places."""
    generator = torch.Generator().manual_seed(3)
    place = torch.arange(PLACES) % objects
    rows, owners = [], []
    for _ in range(WINDOWS):
        owner = torch.randint(objects, (PATCHES,), generator=generator)
        logits = 5.0 * (owner[:, None] == place[None]) + noise * torch.randn(PATCHES, PLACES, generator=generator)
        rows.append(logits.double().softmax(dim=1))
        owners.append(owner)
    return rows, owners


def assigned(rows: list[torch.Tensor], centres: torch.Tensor) -> torch.Tensor:
    return torch.cat([divergence(one, centres).argmin(dim=1) for one in rows])


def test_divergence_is_that_of_both_directions():
    rows, others = (torch.rand(n, 7, dtype=torch.float64).softmax(dim=1) for n in (3, 4))
    found = divergence(rows, others)
    for i, j in itertools.product(range(3), range(4)):
        p, q = rows[i], others[j]
        assert float(found[i, j]) == pytest.approx(float(((p - q) * (p.log() - q.log())).sum() / 2))
    own = divergence(rows, rows)
    assert torch.equal(own, own.T) and own.diagonal().max() < 1e-12


@pytest.mark.parametrize("objects", [1, 2, 5])
def test_as_many_clusters_as_objects_are_found_and_each_is_one_of_them(objects):
    rows, owners = distributions(objects)
    centres = video_clusters(rows, 1.0, 20)
    assert len(centres) == objects and torch.allclose(centres.sum(dim=1), torch.ones(objects, dtype=torch.float64))
    pairs = set(zip(assigned(rows, centres).tolist(), torch.cat(owners).tolist(), strict=True))
    assert len(pairs) == objects, "a cluster holds patches of two objects, or an object is in two clusters"


def test_the_order_of_windows_and_of_patches_changes_no_cluster():
    """Also where the objects are hardly told apart, so that many rounds of merging are needed."""
    rows, _ = distributions(4, noise=2.5)
    before = assigned(rows, video_clusters(rows, 1.0, 6))
    together = before[:, None] == before[None]
    assert 1 < len(before.unique()) <= 6
    for order in ([3, 1, 0, 2], [2, 3, 1, 0]):
        shuffled = [rows[window].flip(0) for window in order]
        after = assigned(rows, video_clusters(shuffled, 1.0, 6))
        assert torch.equal(after[:, None] == after[None], together)


def test_merging_goes_on_until_nothing_is_near_and_no_more_are_left_than_asked_for():
    rows, _ = distributions(5)
    everything = torch.cat(rows)
    centres, sizes = grown(everything, torch.ones(len(everything)), 1.0)
    apart = divergence(centres, centres) + 1e9 * torch.eye(len(centres), dtype=torch.float64)
    assert float(apart.min()) > 1.0 and float(sizes.sum()) == len(everything)
    fewer, sizes = grown(everything, torch.ones(len(everything)), 1.0, most=3)
    assert len(fewer) == 3 and float(sizes.sum()) == len(everything)
    same = torch.full((9, 4), 0.25)
    assert len(grown(same, torch.ones(9), 1.0)[0]) == 1, "equal rows tie, and still end"
