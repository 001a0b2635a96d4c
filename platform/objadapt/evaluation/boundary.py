"""Boundary measure F of DAVIS, exactly as the official code: the share of two boundaries that lie near each other.

A pixel is on the boundary of a mask where the mask differs between the pixel and its right, its lower or its lower
right neighbour. Outside of the frame the mask continues as at the edge.

    precision = share of the proposal's boundary pixels within r of a boundary pixel of the object
    recall    = share of the object's boundary pixels within r of a boundary pixel of the proposal
    F = 2 precision recall / (precision + recall),   r = ceil(0.008 x the frame's diagonal)

The official code dilates both boundaries of each pair in the whole frame. Here each boundary is a list of pixels,
found once. The object's list is dilated once. Of the proposal's list only the pixels near the object are dilated,
since no others can reach back. Most of the pairs have none.
"""

import math
from dataclasses import dataclass

import numpy as np

BOUND = 0.008  # of the diagonal


@dataclass(frozen=True)
class Boundaries:
    """Boundary pixels of all masks of a frame, int64 [n] each."""

    y: np.ndarray
    x: np.ndarray
    owner: np.ndarray  # mask of each pixel, 0 .. count - 1; a pixel may be on several boundaries
    count: int  # masks, those without a boundary included

    def lengths(self) -> np.ndarray:
        """Boundary pixels of each mask, int64 [count]."""
        return np.bincount(self.owner, minlength=self.count)


def boundary_radius(height: int, width: int) -> int:
    """How far apart, in pixels, boundaries may lie and still match; 8 at 480 x 854."""
    return math.ceil(BOUND * math.hypot(height, width))


def boundaries_of_ids(ids: np.ndarray, count: int) -> Boundaries:
    """Boundaries of the disjoint masks 1 .. count of ids uint8 [H, W], none above `count`; id i is owner i - 1."""
    y, x = _changes(ids)
    below, right = np.minimum(y + 1, ids.shape[0] - 1), np.minimum(x + 1, ids.shape[1] - 1)
    around = np.stack([ids[y, x], ids[y, right], ids[below, x], ids[below, right]])  # [4, n]
    first = around > 0  # of each id at a pixel only the first of its occurrences counts
    for later in range(1, 4):
        first[later] &= (around[later] != around[:later]).all(axis=0)
    pixel = np.nonzero(first)[1]
    return Boundaries(y[pixel], x[pixel], around[first].astype(np.int64) - 1, count)


def boundaries_of_masks(masks: np.ndarray) -> Boundaries:
    """Boundaries of masks bool [P, H, W], which may overlap."""
    pixels = [_changes(mask) for mask in masks]
    owner = np.repeat(np.arange(len(pixels)), [len(y) for y, _ in pixels])
    y, x = (np.concatenate([part[axis] for part in pixels] or [owner]) for axis in (0, 1))
    return Boundaries(y, x, owner, len(pixels))


def boundary_f(truth: Boundaries, proposals: Boundaries, radius: int) -> np.ndarray:
    """F of every pair, float64 [P, O]; 1 where neither has a boundary, 0 where one of the two has none."""
    near_object = np.zeros((proposals.count, truth.count))  # the proposals' pixels that lie near the object's boundary
    near_proposal = np.zeros_like(near_object)  # the object's pixels that lie near the proposal's boundary
    for target in range(truth.count):
        of_object = truth.owner == target
        y, x = truth.y[of_object], truth.x[of_object]
        near = _within(radius, y, x, proposals.y, proposals.x)
        near_object[:, target] = np.bincount(proposals.owner[near], minlength=proposals.count)
        for proposal in np.flatnonzero(near_object[:, target]):
            reach = near & (proposals.owner == proposal)
            near_proposal[proposal, target] = _within(radius, proposals.y[reach], proposals.x[reach], y, x).sum()
    of_proposals, of_truth = proposals.lengths()[:, None], truth.lengths()[None, :]
    precision, recall = near_object / np.maximum(of_proposals, 1), near_proposal / np.maximum(of_truth, 1)
    with np.errstate(invalid="ignore"):  # 0 / 0
        f = np.nan_to_num(2 * precision * recall / (precision + recall))
    return np.where((of_proposals == 0) & (of_truth == 0), 1.0, f)


def _changes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (y, x), int64 [n] each, where values [H, W] differ from the right, lower or lower right neighbour."""
    height, width = values.shape
    row_wise, changes = values.ravel(), np.zeros((3, height * width), bool)  # in flat arrays a neighbour is a shift
    for kind, shift in enumerate((1, width, width + 1)):
        np.not_equal(row_wise[:-shift], row_wise[shift:], out=changes[kind, :-shift])
    changes[::2, width - 1 :: width] = False  # the last column has no neighbour to the right
    changes[0] |= changes[1]
    changes[0] |= changes[2]
    return np.divmod(np.flatnonzero(changes[0]), width)


def _within(radius: int, y: np.ndarray, x: np.ndarray, other_y: np.ndarray, other_x: np.ndarray) -> np.ndarray:
    """Whether each of the other pixels lies within `radius` (Euclidean, inclusive) of any pixel (y, x); bool."""
    if not len(y):
        return np.zeros(len(other_y), bool)
    top, left = y.min() - radius, x.min() - radius
    height, width = y.max() - top + radius + 1, x.max() - left + radius + 1
    pixels = np.zeros(height * width, bool)
    pixels[(y - top) * width + x - left] = True
    # a disc is a run of pixels in each of its rows: runs grow by a pixel at each end, until they have a row's length
    runs, discs = pixels.copy(), np.zeros_like(pixels)
    reach = [math.isqrt(radius**2 - rise**2) for rise in range(radius + 1)]  # half the run, falling with the rise
    for half in range(radius + 1):
        if half:
            runs[half:] |= pixels[:-half]
            runs[:-half] |= pixels[half:]
        for shift in (rise * width for rise in range(radius + 1) if reach[rise] == half):
            discs[shift:] |= runs[: len(runs) - shift]
            discs[: len(runs) - shift] |= runs[shift:]
    other_y, other_x = other_y - top, other_x - left
    inside = (other_y >= 0) & (other_y < height) & (other_x >= 0) & (other_x < width)
    inside[inside] = discs[other_y[inside] * width + other_x[inside]]
    return inside
