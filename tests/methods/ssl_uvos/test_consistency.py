"""The losses of SSL-UVOS against plain loops, and what a correct correspondence scores."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from objadapt.methods.ssl_uvos.consistency import drawn_queries, motion_loss, rows_of, semantic_loss

B, T, N, J, Q = 2, 3, 6, 5, 2
NEAR, FAR = 2, 3


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    attention = torch.randn(B, T * N, T * N, generator=generator, dtype=torch.float64).softmax(dim=2)
    outputs = torch.randn(B, T, N, J, generator=generator, dtype=torch.float64)
    return attention, outputs, drawn_queries(torch.tensor([4, 9]), 7, 1, T, N, Q)


def test_queries_follow_seed_step_and_clip_alone():
    one = drawn_queries(torch.tensor([4, 9, -1]), 7, 1, T, N, Q)
    other = drawn_queries(torch.tensor([9, 4]), 7, 1, T, N, Q)
    assert one.shape == (3, T, Q) and torch.equal(one[0], other[1]) and torch.equal(one[1], other[0])
    assert all(len(set(frame)) == Q and max(frame) < N for clip in one.tolist() for frame in clip)
    draws = [drawn_queries(torch.arange(40), step, seed, T, N, Q) for step, seed in ((7, 1), (8, 1), (7, 2))]
    assert not torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert drawn_queries(torch.tensor([0]), 0, 0, T, N, 99).sort(dim=2).values[0, 0].tolist() == list(range(N))


def test_both_agree_with_plain_loops(drawn):
    attention, outputs, queries = drawn
    rows = rows_of(attention, queries)
    semantic, motion = [], []
    for b in range(B):
        alike, unlike, hinges, sharp = [], [], [], []
        for t in range(T):
            for query in queries[b, t].tolist():
                row = attention[b, t * N + query]
                for s in range(T):
                    ranked = sorted(range(N), key=lambda n: -row[s * N + n])  # noqa: B023 -- used at once
                    cosine = [cosine_similarity(outputs[b, t, query], outputs[b, s, n], dim=0) for n in ranked]
                    alike += [max(0.9 - float(c), 0) for c in cosine[:NEAR]]
                    unlike += [max(float(c) - 0.1, 0) for c in cosine[-FAR:]]
                ranked = sorted(range(N), key=lambda n: -row[t * N + n])  # noqa: B023 -- used at once
                scores = [float((row * attention[b, t * N + n].log()).sum()) for n in ranked]
                near, far = sum(scores[:NEAR]) / NEAR, sum(scores[-FAR:]) / FAR
                hinges.append(max(far - near + 1, 0))
                sharp.append(float((row * row.log()).sum()))
        semantic.append(sum(alike) / len(alike) + sum(unlike) / len(unlike))
        weights = torch.tensor(sharp, dtype=torch.float64).softmax(dim=0)
        motion.append(float((weights * torch.tensor(hinges, dtype=torch.float64)).sum()))
    assert semantic_loss(outputs, rows, queries, NEAR, FAR, (0.9, 0.1)).tolist() == pytest.approx(semantic)
    assert motion_loss(attention, rows, NEAR, FAR, 1.0).tolist() == pytest.approx(motion)


def test_two_objects_that_are_told_apart_cost_nothing(drawn):
    """Patches of an object attend to it in every frame, and are equal; those of the other are orthogonal."""
    owner = torch.tensor([0, 0, 0, 1, 1, 1]).repeat(T)
    same = (owner[:, None] == owner[None]).double()
    attention = (20 * same).softmax(dim=1).expand(B, -1, -1)
    outputs = torch.eye(J, dtype=torch.float64)[owner].view(1, T, N, J).expand(B, -1, -1, -1)
    queries = drawn[2]
    rows = rows_of(attention, queries)
    assert semantic_loss(outputs, rows, queries, NEAR, FAR, (0.9, 0.1)).abs().max() < 1e-12
    assert motion_loss(attention, rows, NEAR, FAR, 1.0).abs().max() < 1e-12
    assert semantic_loss(outputs.flip(2), rows, queries, NEAR, FAR, (0.9, 0.1)).max() < 1e-12, "names do not matter"
    mixed = outputs[:, :, [0, 3, 1, 4, 2, 5]]
    assert semantic_loss(mixed, rows, queries, NEAR, FAR, (0.9, 0.1)).min() > 0.1


def test_no_gradient_flows_through_the_query_s_row(drawn):
    attention, _, queries = drawn
    attention = attention.clone().requires_grad_()
    rows = rows_of(attention, queries)
    assert not rows.requires_grad
    motion_loss(attention, rows, NEAR, FAR, 1.0).sum().backward()
    chosen = torch.zeros(B, T * N, dtype=torch.bool)
    for b in range(B):
        for t in range(T):
            own = attention[b].detach().view(T, N, T, N)[t, queries[b, t], t]  # [q, N]
            picked = torch.cat([own.topk(NEAR).indices, own.topk(FAR, largest=False).indices], dim=1)
            chosen[b, t * N + picked.flatten()] = True
    moved = attention.grad.abs().sum(dim=2) > 0
    assert moved.any() and not (moved & ~chosen).any()
