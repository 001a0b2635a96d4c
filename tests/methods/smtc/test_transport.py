"""Optimal transport: its marginals, the limit of an assignment, and a shift that is known."""

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from objadapt.methods.smtc.transport import cosines, sinkhorn


def cost(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (3, 6, 6)])
def test_columns_are_exact_and_rows_become_so(shape):
    plan = sinkhorn(cost(*shape), 0.05, 3)
    rows, columns = plan.sum(dim=-1), plan.sum(dim=-2)
    assert torch.allclose(columns, torch.full_like(columns, 1 / shape[-1]), atol=1e-12) and float(plan.min()) >= 0
    after = [float((sinkhorn(cost(*shape), 0.05, n).sum(dim=-1) - 1 / shape[-2]).abs().max()) for n in (1, 3, 300)]
    assert after[0] > after[1] > after[2] and after[2] < 1e-6, (after, rows)


def test_with_little_entropy_it_is_the_best_assignment():
    costs = cost(7, 7)
    rows, columns = linear_sum_assignment(costs.numpy())
    assert sinkhorn(costs, 0.002, 2000).argmax(dim=1).tolist() == columns.tolist() and rows.tolist() == list(range(7))


def test_a_known_shift_is_recovered():
    """Also where every patch has a twin that a nearest neighbour alone would mistake it for."""
    height, width, shift = 6, 8, 3
    tokens = torch.randn(height, width, 24, generator=torch.Generator().manual_seed(1))
    moved = tokens.roll(shift, dims=1) + 0.1 * torch.randn(height, width, 24)
    plan = sinkhorn(1 - cosines(tokens.flatten(0, 1), moved.flatten(0, 1)), 0.05, 3)
    place = torch.arange(height * width).view(height, width)
    expected = place.roll(-shift, dims=1).flatten()  # where patch i of the first frame is in the second
    assert torch.equal(plan.argmax(dim=1), expected) and float(plan.max(dim=1).values.min()) > 0.9 / (height * width)
