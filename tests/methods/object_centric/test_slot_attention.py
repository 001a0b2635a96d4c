"""Slot attention against a plain-loop float64 reference, and the properties that make its slots interchangeable."""

import math

import pytest
import torch

from objadapt.methods.object_centric.slot_attention import SlotAttention


def layer_norm(x, norm):
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    scale, shift = norm.weight.tolist(), norm.bias.tolist()
    return [
        w * (value - mean) / math.sqrt(variance + norm.eps) + b for value, w, b in zip(x, scale, shift, strict=True)
    ]


def affine(weight, bias, x):
    return [
        sum(w * value for w, value in zip(row, x, strict=True)) + b
        for row, b in zip(weight.tolist(), bias.tolist(), strict=True)
    ]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def gru(cell, x, h):
    d = len(h)
    from_x, from_h = affine(cell.weight_ih, cell.bias_ih, x), affine(cell.weight_hh, cell.bias_hh, h)
    new = []
    for i in range(d):
        reset = sigmoid(from_x[i] + from_h[i])
        update = sigmoid(from_x[d + i] + from_h[d + i])
        candidate = math.tanh(from_x[2 * d + i] + reset * from_h[2 * d + i])
        new.append((1 - update) * candidate + update * h[i])
    return new


def reference(module, patches):
    """Eq. 2, 3 for one frame: patches [N][J] -> slots [K][d], attention [K][N]."""
    inputs = [layer_norm(patch, module.norm_input) for patch in patches]
    if module.centred:
        mean = [sum(column) / len(inputs) for column in zip(*inputs, strict=True)]
        inputs = [[value - m for value, m in zip(x, mean, strict=True)] for x in inputs]
    keys = [affine(module.to_k.weight, module.to_k.bias, x) for x in inputs]
    values = [affine(module.to_v.weight, module.to_v.bias, x) for x in inputs]
    slots = module.queries.tolist()
    for _ in range(module.iterations):
        q = [affine(module.to_q.weight, module.to_q.bias, layer_norm(slot, module.norm_slots)) for slot in slots]
        attention = [[0.0] * len(patches) for _ in slots]
        for n, key in enumerate(keys):
            logits = [sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(len(query)) for query in q]
            total = sum(math.exp(logit) for logit in logits)
            for k, logit in enumerate(logits):
                attention[k][n] = math.exp(logit) / total
        new = []
        for slot, mask in zip(slots, attention, strict=True):
            share = [a / (sum(mask) + 1e-8) for a in mask]
            update = [sum(w * value[i] for w, value in zip(share, values, strict=True)) for i in range(len(slot))]
            slot = gru(module.gru, update, slot)
            if module.mlp is not None:
                norm, first, _, second = module.mlp
                hidden = [max(0.0, x) for x in affine(first.weight, first.bias, layer_norm(slot, norm))]
                slot = [a + b for a, b in zip(slot, affine(second.weight, second.bias, hidden), strict=True)]
            new.append(slot)
        slots = new
    return slots, attention


def small(**changes):
    torch.manual_seed(0)
    settings = {"num_slots": 3, "input_width": 6, "width": 8, "iterations": 3} | changes
    module = SlotAttention(**settings).double()
    for parameter in module.parameters():  # biases and norms away from 0 and 1, or they go untested
        parameter.data += 0.3 * torch.randn_like(parameter)
    return module


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("slot_mlp", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("iterations", [1, 3])
def test_equals_the_plain_loops(iterations, implicit, slot_mlp, centred):
    module = small(iterations=iterations, implicit=implicit, slot_mlp=slot_mlp, centred=centred)
    patches = torch.randn(2, 5, 6, dtype=torch.float64)
    slots, attention = module(patches)
    assert slots.shape == (2, 3, 8) and attention.shape == (2, 3, 5)
    for frame in range(2):
        expected_slots, expected_attention = reference(module, patches[frame].tolist())
        torch.testing.assert_close(slots[frame], torch.tensor(expected_slots, dtype=torch.float64))
        torch.testing.assert_close(attention[frame], torch.tensor(expected_attention, dtype=torch.float64))


def test_no_gradient_is_computed_for_the_tokens():
    """N tokens of J are the bulk of a step; whatever is learned of them is learned behind a sum over them."""
    module = small()
    tokens = module.tokens(torch.randn(2, 5, 6, dtype=torch.float64))
    assert not tokens.requires_grad
    module(torch.randn(2, 5, 6, dtype=torch.float64))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_slots_share_each_patch():
    _, attention = small()(torch.randn(4, 7, 6, dtype=torch.float64))
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(4, 7, dtype=torch.float64))
    assert (attention >= 0).all()


def test_permuting_the_queries_permutes_slots_and_masks():
    module, order = small(), torch.tensor([2, 0, 1])
    patches = torch.randn(2, 5, 6, dtype=torch.float64)
    slots, attention = module(patches)
    module.queries.data = module.queries.data[order]
    permuted_slots, permuted_attention = module(patches)
    torch.testing.assert_close(permuted_slots, slots[:, order])
    torch.testing.assert_close(permuted_attention, attention[:, order])


def test_permuting_the_patches_leaves_the_slots():
    module, order = small(), torch.randperm(5)
    patches = torch.randn(2, 5, 6, dtype=torch.float64)
    slots, attention = module(patches)
    again, permuted = module(patches[:, order])
    torch.testing.assert_close(again, slots)
    torch.testing.assert_close(permuted, attention[:, :, order])


def test_implicit_gradient_is_that_of_the_last_iteration_alone():
    """Bi-level slot attention: d loss / d queries = d loss / d (slots that enter the last iteration)."""
    module, patches = small(), torch.randn(2, 5, 6, dtype=torch.float64)
    goal = torch.randn(2, 3, 8, dtype=torch.float64)
    (module(patches)[0] * goal).sum().backward()
    got = {name: parameter.grad.clone() for name, parameter in module.named_parameters()}

    module.zero_grad()
    inputs = module.tokens(patches), module._behind_norm(module.to_k), module._behind_norm(module.to_v)
    slots = module.queries.expand(2, -1, -1)
    for _ in range(2):
        slots = module.refine(slots, *inputs)[0]
    slots = slots.detach().requires_grad_()
    (module.refine(slots, *inputs)[0] * goal).sum().backward()
    expected = {name: parameter.grad for name, parameter in module.named_parameters()} | {
        "queries": slots.grad.sum(dim=0)
    }
    assert got["queries"].abs().min() > 0
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, expected[name])


def test_unrolled_gradient_differs_from_the_implicit_one():
    patches, gradients = torch.randn(2, 5, 6, dtype=torch.float64), []
    for implicit in (False, True):
        module = small(implicit=implicit)
        module(patches)[0].square().sum().backward()
        gradients.append(module.queries.grad)
    assert not torch.allclose(*gradients)


def test_zero_features_of_a_padding_row_stay_finite():
    module = small()
    slots, attention = module(torch.zeros(1, 5, 6, dtype=torch.float64))
    slots.sum().backward()
    assert slots.isfinite().all() and attention.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
