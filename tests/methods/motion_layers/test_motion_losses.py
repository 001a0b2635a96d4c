"""The losses of motion layers against formulas of their own, and the estimator against the exact flow."""

import numpy as np
import pytest
import torch

from objadapt.data import toy_scenes
from objadapt.data.exact_flow import pair_flow
from objadapt.data.toy import render_scene
from objadapt.methods.motion_layers.estimated_flow import estimated_flow, in_patches
from objadapt.methods.motion_layers.losses import consistency_loss, flow_loss, soft_iou


def test_agreeing_masks_cost_nothing_in_whatever_order_and_others_what_they_do_not_share():
    masks = torch.nn.functional.one_hot(torch.tensor([[0, 0, 1, 2, 2, 2]]), 3).permute(0, 2, 1).double()  # [1, 3, 6]
    assert consistency_loss(masks, masks[:, [2, 0, 1]]) == 0
    other = torch.nn.functional.one_hot(torch.tensor([[0, 1, 1, 2, 2, 2]]), 3).permute(0, 2, 1).double()
    # 1 of 2 patches, 1 of 2, 3 of 3
    torch.testing.assert_close(consistency_loss(masks, other), torch.tensor([1 - (0.5 + 0.5 + 1) / 3]).double())


def test_soft_iou_is_that_of_binary_masks():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 3, 40)) < 0.4, rng.random((2, 3, 40)) < 0.6
    found = soft_iou(torch.from_numpy(one).double(), torch.from_numpy(other).double())
    for b, i, j in np.ndindex(2, 3, 3):
        expected = (one[b, i] & other[b, j]).sum() / (one[b, i] | other[b, j]).sum()
        assert found[b, i, j] == pytest.approx(expected)


def test_flow_loss_is_the_mean_l1_distance():
    flow, known = torch.randn(2, 3, 5, 2), torch.randn(2, 3, 5, 2)
    expected = np.abs(flow.numpy() - known.numpy()).sum(axis=3).mean(axis=2)
    np.testing.assert_allclose(flow_loss(flow, known), expected, rtol=1e-5)


def test_flow_in_patches_is_the_mean_of_each():
    flow = torch.randn(1, 8, 12, 2)
    found = in_patches(flow, 4).view(2, 3, 2)
    torch.testing.assert_close(found[1, 2], flow[0, 4:8, 8:12].mean(dim=(0, 1)) / 4)


def test_the_estimate_of_real_pixels_is_near_the_exact_flow():
    """On scenes of Object Actions: nearer than no flow at all by far, and the same each time."""
    errors, moved = [], []
    for number, action in enumerate(("moves left", "moves down", "passes left")):
        scene = toy_scenes.draw_scene(action, 24, np.random.default_rng(number))
        frames, ids = render_scene(scene, 96)
        pixels = torch.from_numpy(frames)
        found, again = (estimated_flow(pixels[11:12], pixels[13:14]) for _ in range(2))
        assert torch.equal(found, again) and found.shape == (1, 96, 96, 2)
        exact = pair_flow(scene, 11, 13, ids[11])
        seen = ids[11] > 0
        errors.append(np.linalg.norm(found[0].numpy() - exact, axis=2)[seen].mean())
        moved.append(np.linalg.norm(exact, axis=2)[seen].mean())
    assert np.mean(errors) < 0.5 * np.mean(moved)
