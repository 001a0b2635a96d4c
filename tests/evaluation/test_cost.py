"""Counted parameters equal the closed forms exactly, and torch's own FLOP counter agrees with the MAC formulas."""

import pytest
import torch
from formulas import formula_macs, formula_parameters
from sections import object_centric
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from objadapt.config import Experiment, Sampling
from objadapt.config_methods import LinearProbe, ObjectCentric
from objadapt.evaluation.cost import Cost, cost_of, parameter_table, tunable_parameters
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter

ROWS = {  # model fields -> parameters with 400 classes, in millions; Tables 7 and 12 print 6.5, 2.4, 4.8, 4.0, ...
    "full": ({}, 6.515),
    "none": ({"object_interaction": False, "temporal": "none"}, 2.575),
    "+ object": ({"temporal": "none"}, 4.940),
    "+ temporal": ({"object_interaction": False}, 4.150),
    "+ temporal attention": ({"object_interaction": False, "temporal": "attention"}, 5.203),
    "object + attention": ({"temporal": "attention"}, 7.568),
    "K = 1": ({"num_slots": 1}, 1.780),
    "no slots": ({"num_slots": "none"}, 4.145),
}
OTHERS = {
    "slot MLP": {"slot_mlp": True},
    "other width": {"width": 256, "num_slots": 5},
    "K = 1, other width": {"width": 256, "num_slots": 1},
    "no slots, other width": {"width": 256, "num_slots": "none", "temporal": "none"},
    "five iterations": {"iterations": 5},
}
EVERY = {name: fields for name, (fields, _) in ROWS.items()} | OTHERS


def counted(method, heads, joint_width, patches, frames) -> Cost:
    return cost_of(Experiment(method=method, sampling=Sampling(frames=frames)), heads, joint_width, patches)


@pytest.mark.parametrize("classes", [400, 174])
@pytest.mark.parametrize("row", ROWS)
def test_parameters_of_the_papers_rows(row, classes):
    fields, millions = ROWS[row]
    model, heads = object_centric(**fields), {"label": classes}
    count = tunable_parameters(ObjectCentricAdapter(model, heads, 512, 8))
    assert count == sum(formula_parameters(model, heads, 512).values())
    assert round(count + (400 - classes) * 513) / 1e6 == pytest.approx(millions, abs=6e-4)


@pytest.mark.parametrize("row", EVERY)
def test_parameters_of_each_part_equal_the_formulas(row):
    model, heads = object_centric(**EVERY[row]), {"verb_label": 7, "noun_label": 11}
    adapter = ObjectCentricAdapter(model, heads, 384, 8)
    counted = {name: trainable for name, trainable, _ in parameter_table(adapter) if name != "loss_projections"}
    assert counted == formula_parameters(model, heads, 384)


def counted_macs(run):
    """Half of what FlopCounterMode counts; fused attention and torch's inference fast path escape it."""
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("interval", [1, 3, "all"])
@pytest.mark.parametrize("row", EVERY)
def test_macs_equal_torchs_flop_counter(row, interval):
    model, heads = object_centric(interval=interval, **EVERY[row]), {"label": 10}
    adapter = ObjectCentricAdapter(model, heads, 64, 4)
    macs = formula_macs(model, heads, 64, patches=9, frames=4)
    assert counted_macs(lambda: adapter({"patches": torch.zeros(1, 4, 9, 64)})) == sum(macs.values())
    cost = counted(model, heads, 64, patches=9, frames=4)
    assert cost.macs == macs and cost.parameters == formula_parameters(model, heads, 64)
    assert cost.gflops == pytest.approx(2e-9 * sum(macs.values()))


def test_counting_leaves_random_state_and_memory_alone():
    before = torch.get_rng_state()
    counted(ObjectCentric(), {"label": 400}, 512, patches=196, frames=8)
    assert torch.equal(torch.get_rng_state(), before)


def test_saved_activations_and_outputs_of_a_linear_probe():
    """It keeps the mean for its one product, and says the mean and the scores."""
    cost = counted(LinearProbe(), {"label": 10}, 64, patches=9, frames=4)
    assert cost == Cost({"heads": 650}, {"heads": 640}, saved_bytes=4 * 64, output_bytes=4 * (64 + 10))


def test_saved_activations_are_those_that_a_training_step_keeps():
    """Counted on the meta device as on real tensors; implicit slot attention keeps one iteration of three."""
    implicit, explicit = (object_centric(num_slots=4, implicit=value, interval=1) for value in (True, False))
    bytes_of = {
        m.slots.implicit: counted(m, {"label": 10}, 64, patches=9, frames=4).saved_bytes for m in (implicit, explicit)
    }
    assert bytes_of[True] < bytes_of[False]


def test_macs_of_each_part_equal_torchs_flop_counter():
    model = object_centric(temporal="attention", interval=1)
    adapter = ObjectCentricAdapter(model, {"label": 10}, 64, 4)
    macs = formula_macs(model, {"label": 10}, 64, patches=9, frames=4)
    states = torch.zeros(1, 4, 8, 64)
    assert counted_macs(lambda: adapter.slot_attention(torch.zeros(4, 9, 64))) == macs["slot_attention"]
    assert counted_macs(lambda: adapter.object_interaction(states)) == macs["object_interaction"]
    assert counted_macs(lambda: adapter.temporal(states)) == macs["temporal"]


def test_training_only_projections_and_frozen_parameters_are_not_tunable():
    with_losses = ObjectCentricAdapter(object_centric(), {"label": 5}, 64, 4)
    assert sum(p.numel() for p in with_losses.parameters()) > tunable_parameters(with_losses)
    before = tunable_parameters(with_losses)
    with_losses.heads.requires_grad_(False)
    assert tunable_parameters(with_losses) == before - (64 * 5 + 5)
    assert ("heads", 0, 64 * 5 + 5) in parameter_table(with_losses)


def test_parameter_table_names_what_the_module_holds_itself():
    module = torch.nn.Module()
    module.scale = torch.nn.Parameter(torch.zeros(3))
    module.layer = torch.nn.Linear(2, 2)
    module.layer.bias.requires_grad_(False)
    assert parameter_table(module) == [("(own)", 3, 0), ("layer", 4, 2)]


def test_a_prediction_sees_the_tokens_that_training_leaves_out():
    costs = [
        counted(
            object_centric(num_slots=3).model_copy(update={"token_dropout": share}),
            {"label": 10},
            64,
            patches=16,
            frames=4,
        )
        for share in (0.0, 0.75)
    ]
    assert costs[0].macs == costs[1].macs and costs[0].saved_bytes > costs[1].saved_bytes
