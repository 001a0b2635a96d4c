"""Eq. 7-8 against plain loops, and what the loss must and must not depend on."""

import math

import pytest
import torch

from objadapt.config_methods import Distillation
from objadapt.methods.object_centric.distillation import distillation_loss, object_scores


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def score(slots, cls, temperature):
    """Eq. 7 for one frame's slots and one cls token."""
    cosines = [cosine(slot, cls) for slot in slots]
    weights = [math.exp(c / temperature) for c in cosines]
    return sum(w * c for w, c in zip(weights, cosines, strict=True)) / sum(weights)


def reference(slots, cls, valid, settings):
    clips = [b for b in range(len(valid)) if valid[b]]
    losses = []

    def logit(a, g, t):
        return score(slots[a][t], cls[g][t], settings.slot_temperature) / settings.contrast_temperature

    for t in range(len(cls[0])):
        for a in clips:
            own = logit(a, a, t)
            to_cls = [logit(a, g, t) for g in clips]
            loss = math.log(sum(math.exp(x) for x in to_cls)) - own
            if settings.symmetric:
                to_slots = [logit(g, a, t) for g in clips]
                loss = (loss + math.log(sum(math.exp(x) for x in to_slots)) - own) / 2
            losses.append(loss)
    return sum(losses) / len(losses)


def example(seed=0):
    torch.manual_seed(seed)
    slots = torch.randn(5, 3, 4, 6, dtype=torch.float64)
    return slots, torch.randn(5, 3, 6, dtype=torch.float64), torch.tensor([True, True, False, True, True])


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("temperatures", [(0.1, 0.07), (1.0, 0.5)])
def test_equals_the_plain_loops(symmetric, temperatures):
    slots, cls, valid = example()
    settings = Distillation(symmetric=symmetric, slot_temperature=temperatures[0], contrast_temperature=temperatures[1])
    loss, counts = distillation_loss(slots, cls, valid, settings)
    assert loss.item() == pytest.approx(reference(slots.tolist(), cls.tolist(), valid.tolist(), settings), rel=1e-10)
    assert counts == {"distillation/clips_without_negative": 0}


def test_scores_of_all_pairs():
    slots, cls, _ = example()
    scores = object_scores(slots, cls, 0.1)
    for t in range(3):
        for a in range(5):
            for g in range(5):
                expected = score(slots[a, t].tolist(), cls[g, t].tolist(), 0.1)
                assert scores[t, a, g].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("symmetric", [False, True])
def test_order_of_slots_and_length_of_vectors_do_not_matter(symmetric):
    slots, cls, valid = example()
    settings = Distillation(symmetric=symmetric)
    expected = distillation_loss(slots, cls, valid, settings)[0]
    changed = distillation_loss(3 * slots[:, :, [2, 0, 3, 1]], 0.2 * cls, valid, settings)[0]
    torch.testing.assert_close(changed, expected)


def test_slots_that_hold_the_cls_token_beat_those_of_another_clip():
    slots, cls, valid = example()
    right, wrong = slots.clone(), slots.clone()
    right[:, :, 1] = cls
    wrong[:, :, 1] = cls.roll(1, dims=0)
    settings = Distillation()
    assert distillation_loss(right, cls, valid, settings)[0] < 0.1 < distillation_loss(wrong, cls, valid, settings)[0]


@pytest.mark.parametrize("symmetric", [False, True])
def test_fewer_than_two_valid_clips_teach_nothing(symmetric):
    slots, cls, _ = example()
    slots.requires_grad_()
    for valid, lonely in ((torch.zeros(5, dtype=torch.bool), 0), (torch.arange(5) == 3, 1)):
        loss, counts = distillation_loss(slots, cls, valid, Distillation(symmetric=symmetric))
        assert loss == 0 and counts["distillation/clips_without_negative"] == lonely
        assert (torch.autograd.grad(loss, slots)[0] == 0).all()


def test_zero_vectors_stay_finite():
    slots, cls, valid = example()
    slots[0], cls[1] = 0, 0
    slots.requires_grad_()
    loss, _ = distillation_loss(slots, cls, valid, Distillation(symmetric=True))
    assert loss.isfinite() and torch.autograd.grad(loss, slots)[0].isfinite().all()


def test_a_clip_that_comes_twice_is_not_its_own_negative():
    """With `training.repeats` perfect slots could not reach 0: a clip's own cls token stood among the others."""
    torch.manual_seed(0)
    cls = torch.eye(4).repeat(2, 1)[:, None]  # [8, 1, 4]: four clips, each twice
    slots, valid, rows = cls[:, :, None], torch.ones(8, dtype=torch.bool), torch.arange(4).repeat(2)
    loss, _ = distillation_loss(slots, cls, valid, Distillation())
    assert loss == pytest.approx(math.log(2), abs=1e-4)
    loss, told = distillation_loss(slots, cls, valid, Distillation(), rows)
    assert loss < 1e-4 and told["distillation/clips_without_negative"] == 0
    _, told = distillation_loss(slots, cls, valid, Distillation(), torch.zeros(8, dtype=torch.int64))
    assert told["distillation/clips_without_negative"] == 8
    alike = torch.randn(8, 1, 3, 4)
    once = distillation_loss(alike, cls, valid, Distillation())[0]
    assert torch.equal(once, distillation_loss(alike, cls, valid, Distillation(), torch.arange(8))[0])
