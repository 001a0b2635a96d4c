"""Eq. 9 against plain loops over all triplets, and the sampling of clips."""

import math

import pytest
import torch

from objadapt.config_methods import Temporal
from objadapt.methods.object_centric.temporal import sample_clips, temporal_loss

ACTIONS = torch.tensor([0, 1, 0, 2, 1, 0, -1, 2])
VALID = torch.tensor([True, True, True, True, True, True, True, False])  # so clip 3 has no positive
EVERY_CLIP = {"num_positives": 8, "num_negatives": 8}


def example(objects=3):
    torch.manual_seed(0)
    return torch.randn(8, 2, objects, 5, dtype=torch.float64)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def reference(changes, positives, negatives, settings):
    """Mean over triplets; `positives[a]` and `negatives[a]` are the clips that clip a is compared with."""
    losses = []
    for a, clip in enumerate(changes):
        for v, vectors in enumerate(clip):
            for i, query in enumerate(vectors):
                opponents = [changes[c][v][i] for c in negatives[a]] + [
                    other for k, other in enumerate(vectors) if k != i
                ]
                for positive in (changes[c][v][i] for c in positives[a]):
                    for negative in opponents:
                        to_positive, to_negative = cosine(query, positive), cosine(query, negative)
                        if settings.margin_form == "triplet":
                            losses.append(max(0, (1 - to_positive) - (1 - to_negative) + settings.margin))
                        else:
                            losses.append(max(0, to_negative - settings.margin) - to_positive)
    return sum(losses) / len(losses), len(losses)


def pools():
    """All positives and negatives of each clip."""
    usable = [a if ok else -1 for a, ok in zip(ACTIONS.tolist(), VALID.tolist(), strict=True)]
    positives = [[g for g, b in enumerate(usable) if a == b >= 0 and g != i] for i, a in enumerate(usable)]
    negatives = [[g for g, b in enumerate(usable) if a >= 0 and b >= 0 and a != b] for a in usable]
    return positives, negatives


@pytest.mark.parametrize("form", ["triplet", "hinge_negatives"])
@pytest.mark.parametrize("objects", [1, 3])
def test_equals_the_plain_loops_over_all_triplets(form, objects):
    changes, settings = example(objects), Temporal(margin_form=form, **EVERY_CLIP)
    loss, counts = temporal_loss(changes, ACTIONS, VALID, 0, settings)
    expected, triplets = reference(changes.tolist(), *pools(), settings)
    assert loss.item() == pytest.approx(expected, rel=1e-10)
    assert counts == {"temporal/queries_without_positive": 1, "temporal/triplets": triplets}


@pytest.mark.parametrize("form", ["triplet", "hinge_negatives"])
def test_equals_the_plain_loops_over_the_drawn_clips(form):
    changes, settings = example(), Temporal(margin_form=form, num_positives=1, num_negatives=2)
    loss, _ = temporal_loss(changes, ACTIONS, VALID, 7, settings)
    positive, is_positive, negative, is_negative = sample_clips(ACTIONS.masked_fill(~VALID, -1), 7, 1, 2)
    positives = [clips[exists].tolist() for clips, exists in zip(positive, is_positive, strict=True)]
    negatives = [clips[exists].tolist() for clips, exists in zip(negative, is_negative, strict=True)]
    assert loss.item() == pytest.approx(reference(changes.tolist(), positives, negatives, settings)[0], rel=1e-10)


def test_gradient_flows_through_queries_only():
    """The gradient is that of the same loss with a frozen copy of all vectors as positives and negatives."""
    changes, settings = example().requires_grad_(), Temporal(**EVERY_CLIP)
    gradient = torch.autograd.grad(temporal_loss(changes, ACTIONS, VALID, 0, settings)[0], changes)[0]
    frozen = changes.detach()
    positives, negatives = pools()
    total, triplets = torch.zeros((), dtype=torch.float64), 0
    for a in range(8):
        for v in range(2):
            for i in range(3):

                def distance(key, query=changes[a, v, i]):
                    return 1 - torch.cosine_similarity(query, key, dim=0)

                opponents = [frozen[c, v, i] for c in negatives[a]] + [frozen[a, v, k] for k in range(3) if k != i]
                for c in positives[a]:
                    for opponent in opponents:
                        total = total + (distance(frozen[c, v, i]) - distance(opponent) + settings.margin).relu()
                        triplets += 1
    torch.testing.assert_close(gradient, torch.autograd.grad(total / triplets, changes)[0])


def test_sampling_draws_distinct_clips_of_the_right_pool():
    actions = ACTIONS.masked_fill(~VALID, -1)
    positives, negatives = pools()
    seen = set()
    for step in range(30):
        positive, is_positive, negative, is_negative = sample_clips(actions, step, 1, 2)
        for clip in range(8):
            for clips, exists, pool, number in (
                (positive, is_positive, positives, 1),
                (negative, is_negative, negatives, 2),
            ):
                drawn = clips[clip][exists[clip]].tolist()
                assert set(drawn) <= set(pool[clip]) and len(set(drawn)) == len(drawn) == min(number, len(pool[clip]))
                seen |= {(clip, other) for other in drawn}
    assert seen == {(clip, other) for pool in (positives, negatives) for clip in range(8) for other in pool[clip]}


def test_each_seed_draws_its_own_triplets():
    actions = torch.arange(40) % 4
    drawn = {(seed, step): sample_clips(actions, step, 2, 3, seed) for seed in range(3) for step in range(3)}
    assert len({repr([part.tolist() for part in parts]) for parts in drawn.values()}) == 9, "(1, 0) is not (0, 1)"
    assert all(torch.equal(a, b) for a, b in zip(drawn[2, 1], sample_clips(actions, 1, 2, 3, 2), strict=True))
    few = Temporal(num_positives=1, num_negatives=1)
    losses = [temporal_loss(example(), ACTIONS, VALID, 0, few, seed)[0].item() for seed in range(4)]
    assert len(set(losses)) > 1, "the seed reaches the loss"


def test_sampling_depends_on_the_step_and_not_on_padding():
    actions = torch.arange(40) % 4
    first = sample_clips(actions, 0, 2, 3)
    assert all(torch.equal(a, b) for a, b in zip(first, sample_clips(actions, 0, 2, 3), strict=True))
    assert not torch.equal(first[0], sample_clips(actions, 1, 2, 3)[0])
    padded = sample_clips(torch.cat([actions, torch.full((5,), -1)]), 0, 2, 3)
    assert all(torch.equal(a, b[:40]) for a, b in zip(first, padded, strict=True))


@pytest.mark.parametrize(
    "actions", [torch.zeros(8), torch.arange(8), torch.full((8,), -1)], ids=["one", "all differ", "none"]
)
def test_few_classes_stay_finite(actions):
    changes = example(objects=1).requires_grad_()
    loss, counts = temporal_loss(changes, actions.long(), torch.ones(8, dtype=torch.bool), 0, Temporal())
    assert loss == 0 and counts["temporal/triplets"] == 0  # one object: no hard negatives either
    assert counts["temporal/queries_without_positive"] == (8 if actions[1] == 1 else 0)
    assert (torch.autograd.grad(loss, changes)[0] == 0).all()


def test_hard_negatives_alone_teach_where_there_is_one_class():
    loss, counts = temporal_loss(
        example(), torch.zeros(8, dtype=torch.int64), torch.ones(8, dtype=torch.bool), 0, Temporal()
    )
    # clips, changes, objects, positives, other objects
    assert loss > 0 and counts["temporal/triplets"] == 8 * 2 * 3 * 4 * 2


def test_zero_vectors_stay_finite():
    changes = example()
    changes[0] = 0
    changes.requires_grad_()
    loss, _ = temporal_loss(changes, ACTIONS, VALID, 0, Temporal())
    assert loss.isfinite() and torch.autograd.grad(loss, changes)[0].isfinite().all()


def test_a_clip_that_comes_twice_is_not_its_own_positive():
    rows = torch.tensor([0, 1, 0, 3, 4, 5, 6, 7])
    positives, there, negatives, _ = sample_clips(ACTIONS, 3, 8, 8, rows=rows)
    drawn = [set(clips[ok].tolist()) for clips, ok in zip(positives, there, strict=True)]
    assert drawn[0] == {5} and drawn[2] == {5} and drawn[5] == {0, 2} and drawn[1] == {4}
    for one, other in zip(
        sample_clips(ACTIONS, 3, 8, 8), sample_clips(ACTIONS, 3, 8, 8, rows=torch.arange(8)), strict=True
    ):
        assert torch.equal(one, other), "nothing changes where all differ"
    assert torch.equal(negatives, sample_clips(ACTIONS, 3, 8, 8)[2])
