"""A sequence's slots: masks scored at full size, state changes measured, against plain loops."""

import numpy as np
import pytest
import torch
from sections import object_centric

from objadapt.evaluation.object_masks import upsample
from objadapt.evaluation.segmentation import SequenceScore, score_sequence
from objadapt.evaluation.slots_on_sequences import (
    attention_of,
    change_norms,
    confidence_interval,
    foreground_slots,
    score_masks,
)
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter

FRAMES, GRID, WIDTH = 11, (3, 5), 16


@pytest.fixture(scope="module")
def adapter() -> ObjectCentricAdapter:
    torch.manual_seed(0)
    return ObjectCentricAdapter(object_centric(num_slots=3, interval=2), {"label": 4}, WIDTH, frames=4).eval()


@pytest.fixture(scope="module")
def patches() -> torch.Tensor:
    return torch.randn(FRAMES, GRID[0] * GRID[1], WIDTH, generator=torch.Generator().manual_seed(1)).half()


def test_masks_are_those_of_the_slots_frame_by_frame(adapter, patches):
    soft = attention_of(adapter, patches, GRID)
    assert soft.shape == (FRAMES, 3, *GRID)
    for t in range(FRAMES):
        _, attention = adapter.slot_attention(patches[t : t + 1].float())
        assert torch.allclose(soft[t], attention[0].detach().unflatten(1, GRID), atol=1e-6)


def test_the_score_is_that_of_the_disjoint_masks(adapter, patches):
    soft = attention_of(adapter, patches, GRID)
    truth = np.random.default_rng(0).integers(0, 3, (FRAMES, 12, 20), dtype=np.uint8)
    ids = np.stack([np.argmax(upsample(one[None], (12, 20))[0].numpy(), axis=0) + 1 for one in soft]).astype(np.uint8)
    mine, expected = score_masks(soft, list(truth)), score_sequence(truth, ids, "official")
    assert mine.proposal_ids == expected.proposal_ids
    assert np.array_equal(mine.j, expected.j) and np.array_equal(mine.f, expected.f)


def test_norms_against_loops(adapter, patches):
    """Four frames at the centres of four segments of 11 frames; changes over an interval of 2."""
    clip = patches[[1, 4, 6, 9]].float()
    with torch.no_grad():
        slots, _ = adapter.slot_attention(clip)
        states = adapter.object_interaction(slots[None])[0]  # [4, K, d]
        for slot in range(3):
            changes = [adapter.temporal.mlp(torch.cat([states[t, slot], states[t + 2, slot]])) for t in (0, 1)]
            expected = sum(float(change.double().pow(2).sum().sqrt()) for change in changes) / 2
            assert float(change_norms(adapter, patches, 4)[slot]) == pytest.approx(expected, rel=1e-5)


def test_empty_masks_that_fill_up_are_no_slots():
    nothing = np.zeros((3, 2))
    assert foreground_slots(SequenceScore([1, 2, 3], [2, 4, 1], nothing, nothing), num_slots=3) == [0, 1]


def test_the_interval_holds_the_mean_and_is_that_of_sequences_not_of_objects():
    """Objects of a sequence that are copies of one another tell no more than one of them."""
    values = np.random.default_rng(0).random(40)
    once = [{"sequence": str(n), "J&F-Mean": value} for n, value in enumerate(values)]
    low, high = confidence_interval(once)
    assert low < values.mean() < high and high - low == pytest.approx(2 * 1.96 * values.std() / 40**0.5, rel=0.15)
    assert confidence_interval(3 * once) == pytest.approx((low, high))
    assert confidence_interval(once[:1]) is None and confidence_interval(once[:5]) is None
    assert confidence_interval(once[:6]) is not None
