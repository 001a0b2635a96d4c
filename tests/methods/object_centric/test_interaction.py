"""State changes pair the right frames; interactions mix what they should and nothing else."""

import pytest
import torch

from objadapt.methods.object_centric.interaction import ObjectInteraction, StateChange, TemporalAttention, frame_pairs


@pytest.mark.parametrize("interval", [1, 2, 4, "all"])
def test_state_changes_equal_the_plain_loops(interval):
    torch.manual_seed(0)
    module = StateChange(6, interval).double()
    states = torch.randn(2, 5, 3, 6, dtype=torch.float64)
    pairs = [(t, u) for t in range(5) for u in range(5) if (t < u if interval == "all" else u - t == interval)]
    first, _, second = module.mlp
    changes = module(states)
    assert changes.shape == (2, len(pairs), 3, 6)
    for clip in range(2):
        for v, (t, u) in enumerate(pairs):
            for k in range(3):
                pair = torch.cat([states[clip, t, k], states[clip, u, k]])
                hidden = (first.weight @ pair + first.bias).clamp(min=0)
                torch.testing.assert_close(changes[clip, v, k], second.weight @ hidden + second.bias)


@pytest.mark.parametrize("frames", [2, 3, 8])
def test_number_of_state_changes(frames):
    assert frame_pairs(frames, "all").shape == (2, frames * (frames - 1) // 2)
    for interval in range(1, frames):
        assert frame_pairs(frames, interval).shape == (2, frames - interval)


def test_reversed_video_has_other_state_changes():
    torch.manual_seed(0)
    module, states = StateChange(6, 1), torch.randn(1, 4, 2, 6)
    assert not torch.allclose(module(states).mean(dim=1), module(states.flip(1)).mean(dim=1))


def test_object_interaction_stays_within_a_frame_and_follows_the_order_of_slots():
    torch.manual_seed(0)
    layer = ObjectInteraction(8, 2, 20)
    slots = torch.randn(2, 3, 4, 8, requires_grad=True)
    states, order = layer(slots), torch.tensor([3, 1, 0, 2])
    torch.testing.assert_close(layer(slots[:, :, order]), states[:, :, order])
    states[0, 1, 2].sum().backward()
    reached = slots.grad.abs().sum(dim=-1) > 0
    expected = torch.zeros(2, 3, 4, dtype=torch.bool)
    expected[0, 1] = True  # all objects of that frame, no other frame or clip
    assert torch.equal(reached, expected)


def test_temporal_attention_stays_with_one_object():
    torch.manual_seed(0)
    layer = TemporalAttention(8, 2, 20)
    states = torch.randn(2, 3, 4, 8, requires_grad=True)
    layer(states)[0, 1, 2].sum().backward()
    reached = states.grad.abs().sum(dim=-1) > 0
    expected = torch.zeros(2, 3, 4, dtype=torch.bool)
    expected[0, :, 2] = True  # all frames of that object
    assert torch.equal(reached, expected)


def test_attention_layer_equals_torchs_pre_norm_encoder_layer():
    torch.manual_seed(0)
    ours = ObjectInteraction(8, 2, 20).double()
    theirs = torch.nn.TransformerEncoderLayer(
        8, 2, 20, dropout=0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    names = {
        "norm1": "norm_attention",
        "self_attn": "attention",
        "norm2": "norm_ffn",
        "linear1": "ffn.0",
        "linear2": "ffn.2",
    }
    weights = ours.state_dict()
    theirs.load_state_dict(
        {name: weights[names[name.split(".")[0]] + name[name.index(".") :]] for name in theirs.state_dict()}
    )
    slots = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(slots), theirs(slots.flatten(0, 1)).view_as(slots))
