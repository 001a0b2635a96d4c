"""SMTC's two stages: kinds sum to 1, instances compete inside of their kind, and only they separate equal objects."""

import pytest
import torch

from objadapt.methods.smtc.two_stages import Fusion, TwoStages

B, N, J, S, P = 2, 12, 16, 3, 4


@pytest.fixture
def stages() -> TwoStages:
    torch.manual_seed(0)
    return TwoStages(J, S, P, 3, 0.3).double()


def test_maps_sum_to_one_over_what_competes_and_the_gaussians_learn(stages):
    tokens = torch.randn(B, N, J, dtype=torch.float64)
    noise = torch.randn(S, P, J, dtype=torch.float64)
    semantic, maps = stages.semantic(tokens)
    slots, shares = stages.instance(tokens, maps, noise)
    assert semantic.shape == (B, S, J) and slots.shape == (B, S, P, J) and shares.shape == (B, S, P, N)
    assert torch.allclose(maps.sum(dim=1), torch.ones(B, N, dtype=torch.float64))
    assert torch.allclose(shares.sum(dim=2), torch.ones(B, S, N, dtype=torch.float64))
    (semantic.square().sum() + slots.square().sum()).backward()
    for name, parameter in stages.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name


def test_both_stages_equal_slot_attention_of_each_kind_by_itself(stages):
    """Keys and values of every token, kind by kind, as the paper writes it."""
    tokens, noise = torch.randn(B, N, J, dtype=torch.float64), torch.randn(S, P, J, dtype=torch.float64)
    seen = stages.norm_tokens(tokens)
    keys, values = stages.to_keys(seen), stages.to_values(seen)

    def refined(slots, inside):  # slots [K, J], inside [B, N]
        slots = slots.expand(B, -1, -1)
        for _ in range(stages.iterations):
            queries = stages.to_queries(stages.norm_slots(slots)) * J**-0.5
            maps = torch.einsum("bkj,bnj->bkn", queries, keys).softmax(dim=1)
            weights = maps * inside[:, None]
            slots = slots + torch.einsum("bkn,bnj->bkj", weights / weights.sum(dim=2, keepdim=True), values)
            slots = slots + stages.mlp(stages.norm_mlp(slots))
        return slots, maps

    semantic, maps = stages.semantic(tokens)
    torch.testing.assert_close((semantic, maps), refined(stages.means, torch.ones(B, N)))
    slots, shares = stages.instance(tokens, maps, noise)
    inside = (maps >= maps.amax(dim=1, keepdim=True).clamp(max=stages.area)).double()
    for kind in range(S):
        start = stages.means[kind] + stages.log_sigmas[kind].exp() * noise[kind]
        torch.testing.assert_close((slots[:, kind], shares[:, kind]), refined(start, inside[:, kind]))


def test_instances_read_the_patches_of_their_kind_alone(stages):
    tokens = torch.randn(1, N, J, dtype=torch.float64)
    maps = torch.full((1, S, N), 0.01, dtype=torch.float64)
    maps[0, 0, :4], maps[0, 1, 4:8], maps[0, 2, 8:] = 0.98, 0.98, 0.98
    noise = torch.randn(S, P, J, dtype=torch.float64)
    before, _ = stages.instance(tokens, maps, noise)
    changed = tokens.clone()
    changed[0, 4:] = torch.randn(N - 4, J, dtype=torch.float64)
    after, _ = stages.instance(changed, maps, noise)
    assert torch.equal(before[:, 0], after[:, 0]) and not torch.allclose(before[:, 1], after[:, 1])


def test_two_equal_objects_are_one_kind_and_two_instances():
    """Tokens: the ground is one thing, both objects another, and apart by what correspondence alone adds to them."""
    ground, thing, cue = torch.eye(J)[:3]
    owner = torch.tensor([0] * 6 + [1] * 3 + [2] * 3)
    tokens = torch.stack([ground, thing + 0.5 * cue, thing - 0.5 * cue])[owner][None]
    stages = TwoStages(J, 2, P, 3, 0.3)
    with torch.no_grad():
        stages.means.copy_(torch.stack([ground, thing]))
        stages.log_sigmas.copy_(torch.full((2, J), 0.3).log())
        for layer, scale in ((stages.to_queries, 1.5), (stages.to_keys, 1.5), (stages.to_values, 0.1)):
            layer.weight.copy_(scale * torch.eye(J))
        for parameter in stages.mlp.parameters():
            parameter.zero_()
    objects = [owner == 1, owner == 2]

    def best(masks: torch.Tensor, wanted: torch.Tensor) -> float:
        return max(float((mask & wanted).sum() / (mask | wanted).sum()) for mask in masks)

    _, maps = stages.semantic(tokens)
    kinds = maps[0].argmax(dim=0)[None] == torch.arange(2)[:, None]  # [S, N]
    assert torch.equal(kinds[1], owner > 0), "both objects are of one kind"
    assert [best(kinds, wanted) for wanted in objects] == [0.5, 0.5], "which no kind takes apart"
    for seed in range(5):
        noise = torch.randn(2, P, J, generator=torch.Generator().manual_seed(seed))
        _, shares = stages.instance(tokens, maps, noise)
        strongest = (maps[0, :, None] * shares[0]).flatten(0, 1).argmax(dim=0)
        masks = strongest[None] == torch.arange(2 * P)[:, None]
        assert [best(masks, wanted) for wanted in objects] == [1.0, 1.0], seed


def test_fusion_sees_where_a_patch_was_and_takes_frames_of_any_size():
    torch.manual_seed(0)
    fusion = Fusion(J, 4)
    tokens = torch.randn(1, 24, J)
    still, moved = (fusion(tokens, before, (4, 6)) - tokens for before in (tokens, tokens.roll(5, dims=1)))
    assert still.shape == (1, 24, J) and not torch.allclose(still, moved)
    assert fusion(torch.randn(2, 4, J), torch.randn(2, 4, J), (2, 2)).shape == (2, 4, J)
