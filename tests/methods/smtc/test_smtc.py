"""SMTC as a method: losses against plain loops, an exact teacher, shares of workers, masks of a video."""

from itertools import permutations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from objadapt.config import Training
from objadapt.config_discovery import SMTC, Consistency
from objadapt.errors import InputError
from objadapt.methods.smtc.smtc import SMTCMethod, drawn_noise, follow
from objadapt.methods.smtc.temporal_consistency import instance_loss, matched, overlap, transported
from objadapt.methods.smtc.two_stages import in_kind

B, T, N, J = 4, 5, 9, 16


def method(**settings) -> SMTCMethod:
    torch.manual_seed(0)
    return SMTCMethod(SMTC(kinds=3, instances=3, side=3, **settings), J, T, seed=2).double()


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


def test_the_losses_agree_with_plain_loops():
    generator = torch.Generator().manual_seed(5)
    student, teacher = torch.randn(2, 2, 2, 3, 6, generator=generator, dtype=torch.float64)  # [b, S, P, J] each
    valid, other = torch.rand(2, 2, 2, 3, generator=generator) > 0.4
    expected = []
    for b in range(2):
        terms = []
        for s in range(2):
            alike = torch.tensor([[cosine_similarity(p, q, dim=0) for q in teacher[b, s]] for p in student[b, s]])
            best = max(permutations(range(3)), key=lambda order: sum(alike[p, order[p]] for p in range(3)))  # noqa: B023
            assert matched(alike).tolist() == list(best)
            for p in range(3):
                if valid[b, s, p]:
                    rest = [max(float(alike[p, q]) - 0.5, 0) for q in range(3) if q != best[p]]
                    terms.append(sum(rest) / 2 - float(alike[p, best[p]]) * bool(other[b, s, best[p]]))
        expected.append(sum(terms) / max(len(terms), 1))
    assert instance_loss(student, teacher, valid, other, 0.5).tolist() == pytest.approx(expected)

    maps = torch.randn(1, 3, 4, generator=generator, dtype=torch.float64).softmax(dim=1)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    mean = sum(float(cosine_similarity(maps[0, i], maps[0, j], dim=0)) for i, j in pairs) / len(pairs)
    assert float(overlap(maps)) == pytest.approx(mean)
    plan = torch.rand(1, 4, 4, generator=generator, dtype=torch.float64)
    crossed = -sum(
        float(plan[0, i, j] * maps.flip(2)[0, s, j] * maps[0, s, i].log())
        for i in range(4)
        for j in range(4)
        for s in range(3)
    )
    assert float(transported(maps, maps.flip(2), plan)) == pytest.approx(crossed)


def test_the_teacher_is_the_exact_average_moves_in_training_alone_and_is_kept(batch):
    model = method(losses=Consistency(momentum=0.9))
    first = [parameter.clone() for parameter in model.teacher.parameters()]
    history = []
    for step in range(3):
        with torch.no_grad():
            for parameter in model.student.parameters():
                parameter.add_(0.1 * (step + 1))
        history.append([parameter.detach().clone() for parameter in model.student.parameters()])
        model.losses(model(batch), batch, step)
    for place, own in enumerate(model.teacher.parameters()):
        expected = 0.9**3 * first[place] + 0.1 * sum(0.9 ** (2 - k) * history[k][place] for k in range(3))
        torch.testing.assert_close(own, expected)
        assert not own.requires_grad
    before = [parameter.clone() for parameter in model.teacher.parameters()]
    model.eval().losses(model(batch), batch, 9)
    assert all(torch.equal(one, other) for one, other in zip(before, model.teacher.parameters(), strict=True))
    state = model.learned_state()
    assert {f"teacher.{name}" for name, _ in model.teacher.named_parameters()} <= state.keys()
    other = method()
    other.load_learned_state(state)
    assert torch.equal(other.teacher.stages.means, model.teacher.stages.means)
    follow(other.teacher, other.student, 0.0)
    assert torch.equal(other.teacher.stages.means, other.student.stages.means)


def test_every_parameter_of_the_student_learns_and_padding_counts_for_nothing(batch):
    model = method()
    losses = model.losses(model(batch), batch, 3)
    losses["total"].backward()
    assert losses.keys() == {"overlap", "semantic", "instance", "total"}
    for name, parameter in model.student.named_parameters():
        assert parameter.grad is not None, name
    noisy = batch | {"patches": batch["patches"].clone()}
    noisy["patches"][2] = 7
    again = method()
    assert torch.equal(again.losses(again(noisy), noisy, 3)["total"], losses["total"].detach())
    with pytest.raises(InputError, match="teacher follows with every batch"):
        SMTCMethod.check(Training(micro_batch=2))


def test_noise_follows_seed_and_step():
    like = torch.empty(3, 4, 5)
    assert torch.equal(drawn_noise(like, 1, 2), drawn_noise(like, 1, 2))
    assert not torch.equal(drawn_noise(like, 1, 2), drawn_noise(like, 2, 2))


def test_masks_of_a_video_sum_to_one_and_keep_as_many_as_asked_for():
    model = method(most=4).float()
    patches = torch.randn(20, 12, J, generator=torch.Generator().manual_seed(3)).half()
    masks = model.grouping.video_masks(patches, (3, 4))
    assert masks.shape == (20, 4, 12) and torch.allclose(masks.sum(dim=1), torch.ones(20, 12))
    assert float(masks.min()) >= 0 and torch.equal(masks, model.grouping.video_masks(patches, (3, 4)))
    none = method(most=4, losses=Consistency(alike=1.0)).float().grouping.video_masks(patches, (3, 4))
    assert torch.equal(none[:, 3], torch.ones(20, 12)), "nothing is an instance, so all is the rest"


def test_a_patch_is_of_an_instance_where_no_other_part_is_stronger():
    """However even the maps are: the rest of many parts together takes no patch from a kept one."""
    model = method(most=4).float()
    grouping = model.grouping
    patches = torch.randn(20, 12, J, generator=torch.Generator().manual_seed(3)).half()
    semantic, of_kinds = grouping.stages.semantic(grouping.features(patches, (3, 4)))
    slots, shares = grouping.stages.instance(grouping.features(patches, (3, 4)), of_kinds, grouping.noise)
    strongest = (of_kinds[:, :, None] * shares).flatten(1, 2).argmax(dim=1)  # [T, N]
    is_one = in_kind(slots, semantic).flatten(1).mean(dim=0) >= model.settings.losses.alike
    owned = strongest.flatten().bincount(minlength=len(is_one))
    kept = torch.where(is_one, owned, -1).argsort(descending=True, stable=True)[:3]
    expected = torch.full_like(strongest, 3)
    for place, part in enumerate(kept[is_one[kept]]):
        expected[strongest == part] = place
    assert torch.equal(grouping.video_masks(patches, (3, 4)).argmax(dim=1), expected)
    assert len(expected.unique()) > 2


def test_what_cannot_be_is_refused(batch):
    with pytest.raises(InputError, match="square crops, not from 6 patches"):
        method()(batch | {"patches": batch["patches"][:, :, :6]})
    with pytest.raises(ValueError, match="neighbouring frames"):
        SMTC().check(1)
