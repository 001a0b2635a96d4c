"""The exact flow of Object Actions: points that it follows keep their colour, and what is rigid moves as one."""

from dataclasses import replace

import numpy as np
import pytest

from objadapt.data import toy, toy_scenes
from objadapt.data.exact_flow import flow_file, pair_flow, scene_flow
from objadapt.data.shapes import GROUNDS, Thing

SIZE = 64


def two_planes(ground: tuple[float, float], square: tuple[float, float]) -> toy_scenes.Scene:
    """Two frames: a camera and a square that move by whole pixels."""
    thing = Thing("square", "red", 0.5, 0.5, 0.2)
    moved = replace(thing, x=0.5 + square[0] / SIZE, y=0.5 + square[1] / SIZE)
    shifts = np.array([[0, 0], [-ground[0] / SIZE, -ground[1] / SIZE]])
    return toy_scenes.Scene("moves left", [[thing], [moved]], 1, GROUNDS[1], shifts)


def test_two_translating_planes():
    scene = two_planes(ground=(2, -1), square=(-5, 4))
    frames, ids = toy.render_scene(scene, SIZE)
    flow = pair_flow(scene, 0, 1, ids[0])
    np.testing.assert_allclose(flow[ids[0] == 0], [[2, -1]] * int((ids[0] == 0).sum()), atol=1e-4)
    np.testing.assert_allclose(flow[ids[0] == 1], [[-3, 3]] * int((ids[0] == 1).sum()), atol=1e-4)  # camera, too
    back = pair_flow(scene, 1, 0, ids[1])
    np.testing.assert_allclose(back[ids[1] == 1], [[3, -3]] * int((ids[1] == 1).sum()), atol=1e-4)
    inside = (ids[0] == 1) & (np.roll(ids[1], (-3, 3), (0, 1)) == 1)
    assert inside.sum() > 300
    there = np.roll(frames[1], (-3, 3), (0, 1))
    # away from the anti-aliased edge the moved picture is the same, pixel by pixel
    assert np.median(np.abs(there[inside].astype(int) - frames[0][inside])) == 0


@pytest.mark.parametrize("action", toy.ACTIONS)
def test_a_point_keeps_the_object_that_it_is_of(action):
    """Whatever an action does: followed by its flow, a point is on the same object, or something passed before it."""
    scene = toy_scenes.draw_scene(action, 8, np.random.default_rng(5))
    _, ids = toy.render_scene(scene, SIZE)
    flow, rows = scene_flow(scene, ids).astype(float), np.arange(SIZE)
    same = seen = 0
    for t in range(7):
        x = np.rint(rows[None] + flow[t, ..., 0]).astype(int)
        y = np.rint(rows[:, None] + flow[t, ..., 1]).astype(int)
        inside = (x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE) & (ids[t] > 0)
        later = ids[t + 1][y.clip(0, SIZE - 1), x.clip(0, SIZE - 1)]
        inside &= later >= ids[t]  # later numbers lie on top; 0 would be ground where the object was to be
        same, seen = same + int((inside & (later == ids[t])).sum()), seen + int((ids[t] > 0).sum())
    assert seen > 1000 and same > 0.85 * seen


def test_it_is_written_beside_the_masks(tmp_path):
    options = toy.Options(train=16, validation=16, resolution=48, length=4, davis=2)
    list(toy.make(tmp_path / "toy", options, 1))
    for number in range(2):
        path = flow_file(tmp_path / "toy", str(toy.SPLITS["validation"] + number))
        flow = np.load(path)["flow"]
        scene = toy.clip_scene(options, "validation", number)
        _, ids = toy.render_scene(scene, options.resolution)
        assert flow.dtype == np.float16 and flow.shape == (3, 48, 48, 2)
        np.testing.assert_allclose(flow[2], pair_flow(scene, 2, 3, ids[2]), rtol=1e-3, atol=1e-5)
    path.unlink()  # a data set made before there was flow is completed, and stays what it was
    before = {one: one.read_bytes() for one in (tmp_path / "toy").rglob("*") if one.is_file()}
    list(toy.make(tmp_path / "toy", options, 1))
    assert path.exists() and all(one.read_bytes() == content for one, content in before.items())
