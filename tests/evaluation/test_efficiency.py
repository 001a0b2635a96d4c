"""Counted parameters equal the closed forms exactly, and torch's own FLOP counter agrees with the MAC formulas."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from objadapt.config import Model, Objective
from objadapt.evaluation.efficiency import (
    adapter_gflops,
    formula_macs,
    formula_parameters,
    parameter_table,
    tunable_parameters,
)
from objadapt.model.adapter import ObjectCentricAdapter

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


@pytest.mark.parametrize("classes", [400, 174])
@pytest.mark.parametrize("row", ROWS)
def test_parameters_of_the_papers_rows(row, classes):
    fields, millions = ROWS[row]
    model, heads = Model(**fields), {"label": classes}
    count = tunable_parameters(ObjectCentricAdapter(model, Objective(), heads, 512, 8, 2))
    assert count == sum(formula_parameters(model, heads, 512).values())
    assert round(count + (400 - classes) * 513) / 1e6 == pytest.approx(millions, abs=6e-4)


@pytest.mark.parametrize("row", EVERY)
def test_parameters_of_each_part_equal_the_formulas(row):
    model, heads = Model(**EVERY[row]), {"verb_label": 7, "noun_label": 11}
    adapter = ObjectCentricAdapter(model, Objective(), heads, 384, 8, 2)
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
    model, heads = Model(**EVERY[row]), {"label": 10}
    adapter = ObjectCentricAdapter(model, Objective(), heads, 64, 4, interval)
    macs = formula_macs(model, heads, 64, patches=9, frames=4, interval=interval)
    assert counted_macs(lambda: adapter({"patches": torch.zeros(1, 4, 9, 64)})) == sum(macs.values())
    gflops = adapter_gflops(model, heads, 64, patches=9, frames=4, interval=interval)
    assert gflops == pytest.approx(2e-9 * sum(macs.values()))


def test_macs_of_each_part_equal_torchs_flop_counter():
    model = Model(temporal="attention")
    adapter = ObjectCentricAdapter(model, Objective(), {"label": 10}, 64, 4, 1)
    macs = formula_macs(model, {"label": 10}, 64, patches=9, frames=4, interval=1)
    states = torch.zeros(1, 4, 8, 64)
    assert counted_macs(lambda: adapter.slot_attention(torch.zeros(4, 9, 64))) == macs["slot_attention"]
    assert counted_macs(lambda: adapter.object_interaction(states)) == macs["object_interaction"]
    assert counted_macs(lambda: adapter.temporal(states)) == macs["temporal"]


def test_training_only_projections_and_frozen_parameters_are_not_tunable():
    with_losses = ObjectCentricAdapter(Model(), Objective(), {"label": 5}, 64, 4, 1)
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
