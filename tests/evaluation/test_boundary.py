"""Boundary measure F: equal to its definition in plain loops, the same for ids and for masks,
right at the frame's edges.
"""

import math

import numpy as np
import pytest

from objadapt.evaluation.boundary import boundaries_of_ids, boundaries_of_masks, boundary_f, boundary_radius


def boundary_in_loops(mask: np.ndarray) -> list[tuple[int, int]]:
    """Pixels that differ from the pixel to the right, below or to the lower right, where there is such a pixel."""
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            right, below = min(x + 1, width - 1), min(y + 1, height - 1)
            if any(mask[y, x] != other for other in (mask[y, right], mask[below, x], mask[below, right])):
                found.append((y, x))
    return found


def f_in_loops(truth: np.ndarray, proposal: np.ndarray, radius: int) -> float:
    ours, theirs = boundary_in_loops(proposal), boundary_in_loops(truth)
    if not ours or not theirs:
        return float(not ours and not theirs)

    def share(some, others):
        return sum(any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in some) / len(some)

    precision, recall = share(ours, theirs), share(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def blobs(rng: np.random.Generator, height: int, width: int, ids: int) -> np.ndarray:
    """Overlaid random rectangles with the ids 1 .. `ids` and 0, uint8 [H, W].

    Some reach out of the frame, some vanish.
    """
    picture = np.zeros((height, width), np.uint8)
    for value in rng.permutation(np.repeat(np.arange(ids + 1), 2)):
        top, left = rng.integers(-3, height), rng.integers(-3, width)
        tall, wide = rng.integers(1, height + 1), rng.integers(1, width + 1)
        picture[max(top, 0) : top + tall, max(left, 0) : left + wide] = value
    return picture


def separate(ids: np.ndarray, count: int) -> np.ndarray:
    return ids[None] == np.arange(1, count + 1)[:, None, None]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "size, radius", [((13, 17), 1), ((17, 13), 3), ((20, 20), 6), ((1, 15), 2), ((15, 1), 2), ((2, 2), 1)]
)
def test_f_is_its_definition(seed, size, radius):
    rng = np.random.default_rng(seed)
    truth, proposals = blobs(rng, *size, 3), blobs(rng, *size, 4)
    f = boundary_f(boundaries_of_ids(truth, 3), boundaries_of_ids(proposals, 4), radius)
    expected = [[f_in_loops(one, other, radius) for one in separate(truth, 3)] for other in separate(proposals, 4)]
    np.testing.assert_allclose(f, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_noise_has_the_same_f(seed):
    """Masks without any shape, in which every pixel is on many boundaries."""
    rng = np.random.default_rng(seed)
    truth, proposals = rng.integers(0, 3, (2, 11, 14), dtype=np.uint8)
    f = boundary_f(boundaries_of_ids(truth, 2), boundaries_of_ids(proposals, 2), 1)
    expected = [[f_in_loops(one, other, 1) for one in separate(truth, 2)] for other in separate(proposals, 2)]
    np.testing.assert_allclose(f, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(19, 23), (1, 9), (9, 1)])
def test_boundaries_of_ids_are_those_of_their_masks(seed, size):
    ids = blobs(np.random.default_rng(seed), *size, 5)
    together, alone = boundaries_of_ids(ids, 6), boundaries_of_masks(separate(ids, 6))
    assert together.count == alone.count == 6
    np.testing.assert_array_equal(together.lengths(), alone.lengths())
    for owner, mask in enumerate(separate(ids, 6)):
        expected = boundary_in_loops(mask)
        for found in (together, alone):
            mine = found.owner == owner
            assert sorted(zip(found.y[mine], found.x[mine], strict=True)) == expected


def test_masks_may_overlap():
    masks = np.zeros((2, 9, 9), bool)
    masks[0, 2:6, 2:6] = masks[1, 3:8, 3:8] = True
    boundaries = boundaries_of_masks(masks)
    f = boundary_f(boundaries, boundaries, 1)
    np.testing.assert_allclose(f, [[f_in_loops(one, other, 1) for one in masks] for other in masks], rtol=0, atol=1e-12)
    assert f[0, 0] == f[1, 1] == 1 and f[0, 1] == f[1, 0]


def test_whole_frame_and_nothing_have_no_boundary():
    ids = np.ones((6, 7), np.uint8)
    some = ids.copy()
    some[:3] = 0
    nothing = boundaries_of_ids(ids, 2)  # one mask fills the frame, the other is empty
    assert nothing.lengths().tolist() == [0, 0]
    np.testing.assert_array_equal(boundary_f(nothing, nothing, 1), np.ones((2, 2)))
    assert boundary_f(boundaries_of_ids(some, 1), nothing, 1).tolist() == [[0.0], [0.0]]
    assert boundary_f(nothing, boundaries_of_ids(some, 1), 1).tolist() == [[0.0, 0.0]]


def test_distance_is_inclusive_and_euclidean():
    """Single pixels at (5, 0) and at (3, 4) from each other: within 5, not within 4; at (4, 4): not within 5."""
    for dy, dx, within in [(0, 5, True), (5, 0, True), (3, 4, True), (4, 4, False), (0, 6, False)]:
        truth, proposal = np.zeros((2, 30, 30), np.uint8)
        truth[:11, :11], proposal[: 11 + dy, : 11 + dx] = 1, 1
        # a pixel, whose boundary is the square of 2 x 2 about its upper left corner
        truth[:10, :11], truth[:11, :10] = (
            0,
            0,
        )
        proposal[: 10 + dy, : 11 + dx], proposal[: 11 + dy, : 10 + dx] = 0, 0
        assert truth.sum() == proposal.sum() == 1
        f = boundary_f(boundaries_of_ids(truth, 1), boundaries_of_ids(proposal, 1), 5)[0, 0]
        assert f == pytest.approx(f_in_loops(truth == 1, proposal == 1, 5), abs=1e-12)
        assert (f == 1) == within


@pytest.mark.parametrize(
    "size, radius", [((480, 854), 8), ((480, 1152), 10), ((96, 96), 2), ((1, 1), 1), ((1080, 1920), 18)]
)
def test_radius(size, radius):
    height, width = size
    assert boundary_radius(height, width) == radius == max(1, math.ceil(0.008 * (height**2 + width**2) ** 0.5))
