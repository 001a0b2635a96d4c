"""Dropout, dropped tokens and smoothed labels: at work while training, absent in testing, nothing by default."""

import pytest
import torch
from torch.nn.functional import log_softmax

from objadapt.config import Training
from objadapt.config_file import load_config
from objadapt.config_methods import ObjectCentric
from objadapt.errors import InputError
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter, left_tokens
from objadapt.methods.object_centric.interaction import AttentionLayer
from objadapt.training.objective import Objective

BATCH = {
    "patches": torch.randn(3, 4, 10, 24, generator=torch.Generator().manual_seed(0)),
    "cls": torch.randn(3, 4, 24, generator=torch.Generator().manual_seed(1)),
    "labels": torch.tensor([[0], [2], [-1]]),
    "valid": torch.ones(3, dtype=torch.bool),
}


def adapter(**settings) -> ObjectCentricAdapter:
    torch.manual_seed(0)
    tree = {"width": 16, "slots": {"number": 3}} | settings
    return ObjectCentricAdapter(ObjectCentric.model_validate(tree), {"label": 4}, 24, frames=4)


def logits(method: ObjectCentricAdapter, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return method(BATCH).logits["label"]


@pytest.mark.parametrize("settings", [{"dropout": 0.5}, {"token_dropout": 0.5}])
@pytest.mark.parametrize("temporal", ["state_change", "attention", "none"])
def test_what_is_dropped_is_drawn_anew_in_training_and_kept_in_testing(settings, temporal):
    method, plain = adapter(temporal=temporal, **settings), adapter(temporal=temporal)
    assert not torch.allclose(logits(method, 1), logits(method, 2))
    torch.testing.assert_close(logits(plain, 1), logits(plain, 2))
    torch.testing.assert_close(logits(method.eval(), 1), logits(plain.eval(), 2))


@pytest.mark.parametrize("part", ["object_interaction", "temporal", "video"])
def test_dropout_is_in_each_of_its_places(part):
    """With all other places switched off, that one alone makes the answers differ."""
    method = adapter(dropout=0.5)
    places = {"object_interaction": method.object_interaction.dropout, "temporal": method.temporal.dropout}
    places["video"] = method.dropout
    for name, place in places.items():
        place.p = 0.5 if name == part else 0.0
    assert not torch.allclose(logits(method, 1), logits(method, 2))


def test_a_layer_of_which_everything_is_dropped_adds_nothing():
    """Neither its attention nor its feed-forward network."""
    tokens = torch.randn(2, 5, 16)
    assert torch.equal(AttentionLayer(16, heads=4, ffn_width=32, dropout=1.0)(tokens), tokens)


def test_dropped_tokens_are_whole_tokens_of_their_own_frame():
    patches = torch.arange(2 * 3 * 10).view(2, 3, 10, 1) + torch.zeros(2, 3, 10, 5)
    left = left_tokens(patches, 0.4)
    assert left.shape == (2, 3, 6, 5)
    for before, after in zip(patches.flatten(0, 1), left.flatten(0, 1), strict=True):
        rows = set(map(tuple, before.tolist()))
        assert len(set(map(tuple, after.tolist()))) == 6 and set(map(tuple, after.tolist())) <= rows


def test_a_smoothed_label_is_a_share_of_all_classes():
    method = adapter(losses={"label_smoothing": 0.2})
    output = method(BATCH)
    logs = log_softmax(output.logits["label"][:2], dim=1)  # the third clip has no label
    wanted = torch.full((2, 4), 0.05)
    wanted[0, 0] += 0.8
    wanted[1, 2] += 0.8
    found = method.losses(output, BATCH, step=0)["classification"]
    torch.testing.assert_close(found, -(wanted * logs).sum(dim=1).mean())


def test_a_classifier_on_cls_answers_beside_the_objects_and_learns_for_itself():
    method, plain = adapter(cls_probe=10.0), adapter()
    apart = method(BATCH)
    torch.testing.assert_close(apart.logits["label"], plain(BATCH).logits["label"])  # the objects' answer is untouched
    cls = method.cls_heads["label"](BATCH["cls"].mean(dim=1))
    torch.testing.assert_close(apart.beside["label"], cls)
    both = method.eval()(BATCH)
    shares = (apart.logits["label"].softmax(dim=1) * cls.softmax(dim=1)).sqrt()  # geometric mean
    torch.testing.assert_close(both.logits["label"].softmax(dim=1), shares / shares.sum(dim=1, keepdim=True))
    assert both.beside is None

    losses, without = method.losses(apart, BATCH, 0), plain.losses(plain(BATCH), BATCH, 0)
    by_hand = -log_softmax(cls, dim=1)[[0, 1], [0, 2]].mean()
    torch.testing.assert_close(losses["cls_probe"], by_hand)
    torch.testing.assert_close(losses["total"], without["total"] + by_hand)
    torch.testing.assert_close(losses["classification"], without["classification"])
    losses["cls_probe"].backward()
    assert {name for name, value in method.named_parameters() if value.grad is not None} == {
        "cls_heads.label.weight",
        "cls_heads.label.bias",
    }


def test_a_classifier_on_cls_that_nothing_teaches_is_refused():
    with pytest.raises(InputError, match="method.cls_probe: it learns by method.losses.classification, which is 0"):
        load_config(None, ["method.cls_probe=10", "method.losses.classification=0"])


def test_the_classifier_on_cls_has_a_pace_of_its_own_and_weighted_classes():
    method, training = adapter(cls_probe=10.0, slots={"number": 3, "learning_rate": 0.1}), Training()
    paces = {id(one): group.get("pace", 1) for group in method.parameter_groups(training) for one in group["params"]}
    for name, parameter in method.named_parameters():
        assert paces[id(parameter)] == {"cls_heads": 10, "slot_attention": 0.1}.get(name.split(".")[0], 1), name
    apart = {id(one) for group in method.parameter_groups(training) if group.get("apart") for one in group["params"]}
    assert apart == set(map(id, method.cls_heads.parameters()))
    weights = [torch.tensor([3.0, 1.0, 1.0, 1.0])]
    weighed = Objective(method, training, 0, weights, 0.0)
    labelled = BATCH | {"labels": torch.tensor([[0], [0], [0]])}
    grown, plain = (one.losses(method(labelled), labelled, 0) for one in (weighed, method))
    for name, head in (("classification", method.heads), ("cls_probe", method.cls_heads)):
        own, tripled = (torch.autograd.grad(losses[name], head["label"].bias)[0] for losses in (plain, grown))
        torch.testing.assert_close(tripled, 3 * own)
