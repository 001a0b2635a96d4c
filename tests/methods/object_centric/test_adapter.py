"""The adapter as a whole: every ablation switch, the loss terms that each leaves on, and hostile batches."""

import pytest
import torch
from sections import object_centric

from objadapt.config_methods import Distillation, Losses, Temporal
from objadapt.errors import InputError
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter

B, T, N, J = 6, 4, 9, 16
HEADS = {"label": 5}
ALL_LOSSES = Losses(mask_overlap=0.05)


def adapter(losses=ALL_LOSSES, heads=HEADS, interval=1, seed=0, **model):
    torch.manual_seed(seed)
    return ObjectCentricAdapter(
        object_centric(losses, **({"num_slots": 3, "heads": 2, "interval": interval} | model)), heads, J, T
    )


def clips(heads=1):
    generator = torch.Generator().manual_seed(1)
    return {
        "patches": torch.randn(B, T, N, J, generator=generator).half(),
        "cls": torch.randn(B, T, J, generator=generator).half(),
        "labels": torch.tensor([[0, 0, 1, 1, 2, -1]]).T.repeat(1, heads),
        "valid": torch.ones(B, dtype=torch.bool),
        "row": torch.arange(B),
    }


def terms(losses):
    return {name for name in losses if "/" not in name} - {"total"}


EVERYTHING = {"classification", "distillation", "temporal", "mask_overlap"}
SWITCHES = [  # model fields, loss terms on, tokens a frame, state changes
    ({}, EVERYTHING, 3, 3),
    ({"interval": "all"}, EVERYTHING, 3, 6),
    ({"object_interaction": False}, EVERYTHING, 3, 3),
    ({"temporal": "none"}, EVERYTHING, 3, None),
    ({"temporal": "attention"}, EVERYTHING, 3, None),
    ({"readout": "max"}, EVERYTHING, 3, 3),
    ({"readout": "slots"}, EVERYTHING, 3, 3),
    ({"implicit": False, "slot_mlp": True, "iterations": 1}, EVERYTHING, 3, 3),
    ({"width": 8}, EVERYTHING, 3, 3),
    ({"num_slots": 1}, {"classification", "temporal"}, 1, 3),
    ({"num_slots": 1, "width": 8}, {"classification", "temporal"}, 1, 3),
    ({"num_slots": "none"}, {"classification"}, N, 3),
    ({"num_slots": "none", "temporal": "none", "object_interaction": False}, {"classification"}, N, None),
]


@pytest.mark.parametrize("switches, expected_terms, tokens, changes", SWITCHES, ids=lambda value: str(value))
def test_every_ablation_switch(switches, expected_terms, tokens, changes):
    model, batch = adapter(**switches), clips()
    output = model(batch)
    width = switches.get("width", J)
    side_by_side = 3 if switches.get("readout") == "slots" else 1
    assert output.logits["label"].shape == (B, 5) and output.video.shape == (B, side_by_side * width)
    assert output.states.shape == (B, T, tokens, width)
    has_slots = "distillation" in expected_terms
    assert (output.slots is None) != has_slots and (output.attention is None) != has_slots
    if has_slots:
        assert output.slots.shape == (B, T, 3, width) and output.attention.shape == (B, T, 3, N)
    assert (None if output.state_changes is None else output.state_changes.shape[1]) == changes
    losses = model.losses(output, batch, step=0)
    assert terms(losses) == expected_terms
    losses["total"].backward()
    for name, parameter in model.named_parameters():  # DDP wants a gradient for each parameter
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if not name.endswith("bias"):
            assert parameter.grad.abs().sum() > 0, name
    adapter(seed=5, **switches).load_state_dict(model.state_dict(), strict=True)


def test_single_mean_patch_is_the_token():
    model, batch = adapter(num_slots=1, temporal="none"), clips()
    expected = batch["patches"].float().mean(dim=(1, 2))
    torch.testing.assert_close(model(batch).video, expected)


def test_readout_is_the_mean_or_the_max_over_changes_then_the_mean_over_objects():
    batch = clips()
    for readout, pool in (("mean", lambda x: sum(x) / len(x)), ("max", max)):
        output = adapter(readout=readout)(batch)
        changes = output.state_changes[2].tolist()  # [V][K][d]
        for channel in range(J):
            pooled = [pool([vector[k][channel] for vector in changes]) for k in range(3)]
            assert output.video[2, channel].item() == pytest.approx(sum(pooled) / 3, abs=1e-5)


def test_readout_of_slots_keeps_each_slots_mean_change_apart():
    output = adapter(readout="slots")(clips())
    means = output.state_changes.mean(dim=1)  # [B, K, d]
    torch.testing.assert_close(output.video.unflatten(1, (3, J)), means)
    with pytest.raises(InputError, match="method.readout: slots needs slots"):
        adapter(readout="slots", num_slots="none")


def test_prediction_does_not_depend_on_the_order_of_the_queries():
    model, batch, order = adapter(), clips(), torch.tensor([2, 0, 1])
    before = model(batch)
    model.slot_attention.queries.data = model.slot_attention.queries.data[order]
    after = model(batch)
    torch.testing.assert_close(after.attention, before.attention[:, :, order])
    torch.testing.assert_close(after.state_changes, before.state_changes[:, :, order])
    torch.testing.assert_close(after.logits["label"], before.logits["label"])


def test_frame_order_reaches_the_prediction_only_through_state_changes():
    batch = clips()
    reversed_batch = batch | {"patches": batch["patches"].flip(1)}
    for temporal, blind in (("none", True), ("state_change", False)):
        model = adapter(temporal=temporal)
        assert torch.allclose(model(batch).logits["label"], model(reversed_batch).logits["label"], atol=1e-5) == blind


def test_loss_weights_of_zero_remove_term_and_projection():
    chosen = Losses(distillation=Distillation(weight=0), temporal=Temporal(weight=0))
    model, batch = adapter(chosen), clips()
    assert terms(model.losses(model(batch), batch, 0)) == {"classification"}
    assert not any("loss_projections" in name for name, _ in model.named_parameters())


def test_total_is_the_weighted_sum():
    chosen = Losses(
        classification=0.5, distillation=Distillation(weight=0.3), temporal=Temporal(weight=0.7), mask_overlap=0.11
    )
    model, batch = adapter(chosen), clips()
    losses = model.losses(model(batch), batch, step=3)
    expected = 0.5 * losses["classification"] + 0.3 * losses["distillation"] + 0.7 * losses["temporal"]
    torch.testing.assert_close(losses["total"], expected + 0.11 * losses["mask_overlap"])


def test_two_heads_share_the_video_and_the_verb_is_the_action():
    model, batch = adapter(heads={"verb_label": 5, "noun_label": 7}), clips(heads=2)
    output = model(batch)
    assert output.logits["verb_label"].shape == (B, 5) and output.logits["noun_label"].shape == (B, 7)
    before = model.losses(output, batch, 0)
    other_nouns = torch.stack([batch["labels"][:, 0], torch.tensor([4, 3, 2, 1, 0, 6])], dim=1)
    after = model.losses(output, batch | {"labels": other_nouns}, 0)
    assert torch.equal(after["temporal"], before["temporal"])
    assert not torch.equal(after["classification"], before["classification"])


def test_weights_depend_on_torchs_seed_alone():
    same, other = adapter(seed=0).state_dict(), adapter(seed=1).state_dict()
    for name, value in adapter(seed=0).state_dict().items():
        assert torch.equal(value, same[name])
    assert not torch.equal(same["heads.label.weight"], other["heads.label.weight"])


HOSTILE = {
    "no valid clip": {"valid": torch.zeros(B, dtype=torch.bool)},
    "one valid clip": {"valid": torch.arange(B) == 2},
    "one class": {"labels": torch.zeros(B, 1, dtype=torch.int64)},
    "no label": {"labels": torch.full((B, 1), -1)},
    "all classes differ": {"labels": torch.tensor([[0, 1, 2, 3, 4, -1]]).T},
    "zero features": {"patches": torch.zeros(B, T, N, J).half(), "cls": torch.zeros(B, T, J).half()},
    "huge features": {"patches": torch.full((B, T, N, J), 6e4).half(), "cls": torch.full((B, T, J), 6e4).half()},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_batches_give_finite_losses_and_gradients(case):
    model, batch = adapter(), clips() | HOSTILE[case]
    losses = model.losses(model(batch), batch, step=0)
    losses["total"].backward()
    assert all(value.isfinite().all() for value in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    if case == "no valid clip":
        assert all(value == 0 for value in losses.values())
        assert all((parameter.grad == 0).all() for parameter in model.parameters())
    if case == "one valid clip":
        assert losses["distillation"] == 0 and losses["distillation/clips_without_negative"] == 1
    if case == "no label":
        assert losses["classification"] == 0 and losses["temporal"] == 0 and losses["distillation"] > 0


def test_losses_are_float32_under_autocast():
    model, batch = adapter(), clips()
    expected = model.losses(model(batch), batch, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
        losses = model.losses(output, batch, 0)
    assert output.logits["label"].dtype == torch.bfloat16
    for name in terms(losses) | {"total"}:
        assert losses[name].dtype == torch.float32
        torch.testing.assert_close(losses[name], expected[name], rtol=0.05, atol=0.02)


def test_heads_must_divide_the_width():
    with pytest.raises(InputError, match=r"method\.heads: 3 .* 16") as caught:
        ObjectCentricAdapter(object_centric(ALL_LOSSES, heads=3, interval=1), HEADS, J, T)
    assert "\n" not in str(caught.value)


def test_an_objective_without_any_loss_is_refused():
    with pytest.raises(InputError, match="method.losses: no loss"):
        adapter(Losses(classification=0), num_slots="none")


def test_wrong_number_of_frames_is_refused():
    batch = clips()
    with pytest.raises(ValueError, match="T = 4"):
        adapter()(batch | {"patches": batch["patches"][:, :3]})
