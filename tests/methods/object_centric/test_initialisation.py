"""Slots that begin as k-means: what the first forward computes, against k-means written out."""

import pytest
import torch
from sklearn.cluster import KMeans
from torch.nn.functional import layer_norm

from objadapt.config import Training
from objadapt.config_methods import ObjectCentric
from objadapt.errors import InputError
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter
from objadapt.methods.object_centric.initialisation import VALUE, begin_as_kmeans
from objadapt.methods.object_centric.slot_attention import SlotAttention


def clusters(seed: int = 0, number: int = 4, width: int = 24, each: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [n, J] around `number` far points, and the point of each."""
    generator = torch.Generator().manual_seed(seed)
    points = 3 * torch.randn(number, width, generator=generator)
    owner = torch.arange(number).repeat(each)
    return points[owner] + 0.3 * torch.randn(number * each, width, generator=generator), owner


def begun(tokens: torch.Tensor, width: int = 16, gain: float = 8.0, seed: int = 0, **settings) -> SlotAttention:
    torch.manual_seed(seed)
    attention = SlotAttention(4, tokens.shape[1], width, iterations=1, **settings)
    begin_as_kmeans(attention, tokens[None], gain, seed=0)
    return attention


@pytest.mark.parametrize("width", [8, 16, 24, 40])
def test_each_cluster_of_tokens_has_a_slot_of_its_own(width):
    tokens, owner = clusters()
    _, attention = begun(tokens, width)(tokens[None])
    strongest = attention[0].argmax(dim=0)
    pairs = set(zip(owner.tolist(), strongest.tolist(), strict=True))
    assert len(pairs) == 4, "one slot for each cluster, and one cluster for each slot"


def test_the_first_iteration_is_soft_kmeans():
    """Attention from the formula of the docstring, with sklearn's centroids of tokens reduced here."""
    tokens, _ = clusters()
    module = begun(tokens, width=16, gain=3.0)
    x = layer_norm(tokens, tokens.shape[1:]).double()
    centred = x - x.mean(dim=0)
    reduced = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:13].T  # d - 3; signs do not matter
    reduced = reduced / reduced.square().sum(dim=1).mean().sqrt()
    centroids = torch.from_numpy(KMeans(4, n_init=4, random_state=0).fit(reduced.numpy()).cluster_centers_)
    expected = (-1.5 * torch.cdist(centroids, reduced).square()).softmax(dim=0)
    attention = module(tokens[None])[1][0].double()
    order = (attention[:, None] - expected[None]).abs().amax(dim=2).argmin(dim=1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    torch.testing.assert_close(attention, expected[order], rtol=0, atol=1e-4)


def test_slots_are_means_of_their_tokens():
    tokens, owner = clusters()
    module = begun(tokens)
    slots, attention = module(tokens[None])
    values = module.to_v(module.norm_input(tokens))
    assert values.std(dim=0, correction=0).max().item() == pytest.approx(VALUE, rel=1e-3)
    for slot, mask in zip(slots[0], attention[0], strict=True):
        mean = (mask[:, None] * values).sum(dim=0) / mask.sum()
        torch.testing.assert_close(slot, mean.tanh(), rtol=0, atol=0.1)  # the update gate keeps 2 % of the query


def test_centred_slots_know_nothing_of_what_a_whole_frame_has_in_common():
    tokens, _ = clusters()
    torch.manual_seed(0)
    module = SlotAttention(4, 24, 16, iterations=1, centred=True)
    begin_as_kmeans(module, tokens[None], 8.0, seed=0)
    torch.testing.assert_close(module.tokens(tokens[None]).mean(dim=1), torch.zeros(1, 24), rtol=0, atol=1e-6)
    one = module(tokens[None])
    module.norm_input.bias.data.normal_()  # the same offset for all tokens
    torch.testing.assert_close(module(tokens[None]), one, rtol=0, atol=0)


def test_the_same_tokens_give_the_same_weights_whatever_was_there_before():
    tokens, _ = clusters()
    one, other = begun(tokens, seed=1).state_dict(), begun(tokens, seed=2).state_dict()
    free = {"gru.weight_ih", "gru.weight_hh", "gru.bias_ih", "gru.bias_hh"}  # the reset gate's weights are not used
    assert all(torch.equal(one[name], other[name]) for name in one if name not in free)


def test_fewer_tokens_than_slots_are_refused():
    with pytest.raises(InputError, match="method.slots.number: 4 slots cannot begin as k-means of 3 tokens"):
        begun(torch.randn(3, 24))


def adapter(**slots) -> ObjectCentricAdapter:
    settings = {"number": 4, "iterations": 1, "initialisation": "kmeans"} | slots
    tree = {"width": 16, "slots": settings, "dropout": 0.0}
    return ObjectCentricAdapter(ObjectCentric.model_validate(tree), {"label": 3}, 24, frames=4)


def test_a_frozen_grouping_is_kept_in_checkpoints_and_learns_nothing():
    method = adapter(learning_rate=0.0)
    method.begin(clusters()[0][None])
    state = method.learned_state()
    assert {name for name in method.state_dict() if name.startswith("slot_attention.")} <= state.keys()
    learning = {id(p) for group in method.parameter_groups(Training()) for p in group["params"]}
    assert not learning & {id(p) for p in method.slot_attention.parameters()}
    other = adapter(learning_rate=0.0)
    other.load_learned_state(state)
    assert torch.equal(other.slot_attention.queries, method.slot_attention.queries)


def test_a_slow_grouping_has_groups_of_its_own():
    method = adapter(learning_rate=0.1)
    paces = {}
    for group in method.parameter_groups(Training(weight_decay=0.3)):
        for parameter in group["params"]:
            paces[id(parameter)] = group.get("pace", 1.0), group["weight_decay"]
    names = {name: paces[id(parameter)] for name, parameter in method.named_parameters()}
    assert names["slot_attention.to_k.weight"] == (0.1, 0.3) and names["slot_attention.queries"] == (0.1, 0.0)
    assert names["heads.label.weight"] == (1.0, 0.3) and len(names) == len(paces)
