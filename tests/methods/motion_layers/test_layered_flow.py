"""Layers make the exact flow of two planes, also when they are learned; masks are of consecutive frames."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from objadapt.data import toy_scenes
from objadapt.data.exact_flow import pair_flow
from objadapt.data.shapes import GROUNDS, Thing
from objadapt.data.toy import render_scene
from objadapt.methods.motion_layers.estimated_flow import in_patches
from objadapt.methods.motion_layers.layered_flow import LayeredFlow, best_motion, compose
from objadapt.methods.motion_layers.losses import flow_loss

SIZE, PATCH, J = 96, 8, 16
GRID = (SIZE // PATCH, SIZE // PATCH)
N = GRID[0] * GRID[1]


@pytest.fixture(scope="module")
def planes() -> tuple[torch.Tensor, torch.Tensor]:
    """The exact flow [N, 2] of a square of 4 x 4 patches and a ground, in patches; which patches are the square's."""
    square = Thing("square", "red", 0.5, 0.5, 16 / SIZE / 0.85)
    later = replace(square, x=0.5 - 12 / SIZE, y=0.5 + 4 / SIZE)
    scene = toy_scenes.Scene("moves left", [[square], [later]], 1, GROUNDS[2], np.array([[0, 0], [-4 / SIZE, 0]]))
    _, ids = render_scene(scene, SIZE)
    where = torch.from_numpy(ids[0])[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH].flatten() == 1
    return in_patches(torch.from_numpy(pair_flow(scene, 0, 1, ids[0]))[None], PATCH)[0], where


def test_two_layers_that_move_are_the_exact_flow_of_two_planes(planes):
    flow, where = planes
    assert where.sum() == 16
    opacity = torch.stack([~where, where]).float()[None]
    motion = torch.zeros(1, 2, 2, 3)
    motion[0, :, :, 0] = torch.tensor([[4.0, 0.0], [-8.0, 4.0]]) / PATCH
    torch.testing.assert_close(compose(opacity, motion, GRID)[0], flow, atol=1e-5, rtol=0)


def test_the_best_motions_of_the_right_opacities_are_the_planes_own(planes):
    flow, where = planes
    opacity = torch.stack([~where, where, torch.zeros_like(where)]).double()[None]
    motion = best_motion(opacity, flow[None].double(), GRID)
    for layer, expected in enumerate(([4.0, 0.0], [-8.0, 4.0], [0.0, 0.0])):
        torch.testing.assert_close(motion[0, layer, :, 0] * PATCH, torch.tensor(expected).double(), atol=0.02, rtol=0)
    torch.testing.assert_close(compose(opacity, motion, GRID)[0].float(), flow, atol=2e-3, rtol=0)


def test_a_layer_may_turn_and_grow():
    motion = torch.tensor([[[[0.5, 0.0, -2.0], [0.0, 2.0, 1.0]]]])  # [1, 1, 2, 3]
    flow = compose(torch.ones(1, 1, 6), motion, (2, 3))[0].view(2, 3, 2)
    torch.testing.assert_close(flow[0, 0], torch.tensor([0.5 + 1.0, -4 / 3 - 0.5]))
    torch.testing.assert_close(flow[1, 1], torch.tensor([0.5 - 1.0, 0.5]))


def planes_tokens(where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [1, N, J] of the two frames: each patch has a look of its own, the square's something in common."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(1, N, J, generator=generator)
    first[:, where] += 3 * torch.randn(J, generator=generator)
    return first, first.roll(1, 1)


def test_layers_learned_from_the_exact_flow_come_to_it_and_mask_the_plane(planes):
    flow, where = planes
    torch.manual_seed(0)
    network = LayeredFlow(2, J, 32, 4)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    first, second = planes_tokens(where)
    for _ in range(250):
        layers = network(first, second, GRID)
        best = compose(layers.opacity, best_motion(layers.opacity, flow[None], GRID), GRID)
        loss = (flow_loss(layers.flow, flow[None]) + flow_loss(best, flow[None])).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    layers = network(first, second, GRID)
    error = (layers.flow[0] - flow).norm(dim=1)
    assert error.mean() < 0.05 * flow[where].norm(dim=1).mean()
    found = layers.opacity[0].argmax(dim=0)
    assert (found == where.long()).all() or (found == 1 - where.long()).all()
    motions = layers.motion[0, :, :, 0][found[where][0]] * PATCH
    torch.testing.assert_close(motions, torch.tensor([-8.0, 4.0]), atol=1.0, rtol=0)


def test_masks_are_those_of_each_frame_and_its_next_whatever_the_pieces(monkeypatch):
    torch.manual_seed(1)
    network, patches = LayeredFlow(3, J, 32, 4).eval(), torch.randn(5, 6, J)
    masks = network.video_masks(patches.half(), (2, 3))
    assert masks.shape == (5, 3, 6) and masks.dtype == torch.float32
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(5, 6))
    for t, other in enumerate((1, 2, 3, 4, 3)):
        pair = (patches[[one]].half().float() for one in (t, other))
        torch.testing.assert_close(masks[t], network(*pair, (2, 3)).opacity[0])
    monkeypatch.setattr("objadapt.methods.motion_layers.layered_flow.PAIRS", 2)
    torch.testing.assert_close(network.video_masks(patches.half(), (2, 3)), masks)
    assert network.video_masks(patches[:1], (2, 3)).shape == (1, 3, 6), "a picture is paired with itself"
