"""Cross-attention of few queries equals torch's own, and costs less."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from objadapt.methods.cross_attention import CrossAttentionBlock, few_queries


@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("heads", [1, 4])
def test_few_queries_equal_torchs_attention_with_all_gradients(queries, heads):
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(24, heads, batch_first=True, dtype=torch.float64)
    for parameter in attention.parameters():  # biases away from 0
        parameter.data += 0.3 * torch.randn_like(parameter)
    goal, given = torch.randn(2, queries, 24, dtype=torch.float64), {}
    for name in ("torch", "ours"):
        torch.manual_seed(1)
        asking, seen = (torch.randn(2, n, 24, dtype=torch.float64, requires_grad=True) for n in (queries, 11))
        attention.zero_grad()
        found = attention(asking, seen, seen)[0] if name == "torch" else few_queries(attention, asking, seen)
        (found * goal).sum().backward()
        gradients = {key: parameter.grad.clone() for key, parameter in attention.named_parameters()}
        given[name] = {"found": found, "queries": asking.grad, "tokens": seen.grad} | gradients
    torch.testing.assert_close(given["ours"], given["torch"])


@pytest.mark.parametrize(("queries", "cheaper"), [(1, True), (16, False)])
def test_the_cheaper_order_is_taken(queries, cheaper):
    block = CrossAttentionBlock(32, 4, torch.nn.GELU(), 0.0)
    asking, seen = torch.randn(1, queries, 32), torch.randn(1, 200, 32)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        block(asking, seen)
    projected = 2 * 2 * 200 * 32 * 32  # keys and values of all tokens
    assert (counter.get_total_flops() < projected) == cheaper
