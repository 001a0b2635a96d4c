"""Gaussian filtering of values that lie scattered in a few dimensions, such as pixels in (x, y, red, green, blue).

Adams, Baek and Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice, 2010:

    splat   every point spreads its value over the corners of the simplex around it
    blur    each lattice point mixes with its neighbours, [1 2 1] / 4, in all d + 1 directions
    slice   every point gathers its value from its corners

Time and memory are linear in the number of points.
"""

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


class Permutohedral:
    """The lattice of fixed points; filters any values at them.

        filter(v)_i ~ sum over j of exp(-|f_i - f_j|^2 / 2) v_j

    up to one common factor, and within some per cent. Normalise it by `filter` of ones.
    """

    def __init__(self, features: Tensor):
        """`features`: float [N, d], in units of the Gaussian's standard deviation; on any device.

        Raises:
            ValueError: the points lie too far apart for the lattice's integer coordinates.
        """
        scaled = _elevated(features)  # [N, d + 1]
        corners, self.weights = _simplex(scaled)  # [N, d + 1 corners, d + 1 coordinates], [N, d + 1]
        width = scaled.shape[1]
        # The d + 1 coordinates of a lattice point sum to 0, so d of them, as digits of one integer, name it. With the
        # margin a neighbour's name is a sum without a carry.
        digits = corners[..., :-1] - corners[..., :-1].amin(dim=(0, 1)) + width  # [N, d + 1, d]
        spans = [int(span) + width + 1 for span in digits.amax(dim=(0, 1))]
        radix = [1]
        for span in spans:
            radix.append(radix[-1] * span)
        if radix[-1] >= 2**62:
            raise ValueError("points lie too many standard deviations apart to be filtered; use a larger one")
        place = torch.tensor(radix[:-1], device=features.device)  # [d]
        # names [M] are sorted; corners [N, d + 1] are places 0 .. M - 1 among them
        names, self.corners = torch.unique((digits * place).sum(dim=2), return_inverse=True)
        self.points = len(names)
        # a direction takes d from one coordinate and adds 1 to the others; the last coordinate has no digit
        directions = 1 - width * torch.eye(width, dtype=torch.int64, device=features.device)[:, :-1]  # [d + 1, d]
        steps = (directions * place).sum(dim=1)  # [d + 1]
        self.neighbours = [(self._find(names, names + step), self._find(names, names - step)) for step in steps]

    def _find(self, names: Tensor, wanted: Tensor) -> Tensor:
        """Places of `wanted` [M] in `names` [M]; M, a row of zeros, where a name is absent."""
        at = torch.searchsorted(names, wanted).clamp_(max=self.points - 1)
        return torch.where(names[at] == wanted, at, self.points)

    def filter(self, values: Tensor) -> Tensor:
        """Filter float32 [N, C] -> [N, C]."""
        lattice = values.new_zeros(self.points + 1, values.shape[1])  # the last row stays zero
        for corner, weight in zip(self.corners.T, self.weights.T, strict=True):
            lattice.index_add_(0, corner, values * weight[:, None])
        for forth, back in self.neighbours:
            lattice[:-1] = lattice[:-1] / 2 + (lattice[forth] + lattice[back]) / 4
        return embedding_bag(self.corners, lattice, per_sample_weights=self.weights, mode="sum")


def _elevated(features: Tensor) -> Tensor:
    """Points [N, d] -> [N, d + 1] on the hyperplane where coordinates sum to 0.

    The scale makes up a standard deviation of 1. Splat, blur and slice each bring variance, in all 3 / 2 / (d + 1)^2
    lattice units (Adams et al., section 3).
    """
    d = features.shape[1]
    basis = features.new_zeros(d, d + 1)  # orthonormal rows
    for row in range(d):
        basis[row, : row + 1] = 1
        basis[row, row + 1] = -(row + 1)
        basis[row] /= ((row + 1) * (row + 2)) ** 0.5
    return features @ basis * ((d + 1) * (2 / 3) ** 0.5)


def _simplex(points: Tensor) -> tuple[Tensor, Tensor]:
    """The d + 1 lattice points around each point and its barycentric coordinates among them.

    Lattice points have integer coordinates that sum to 0 and are equal modulo d + 1; corner k has the remainder k.

    Returns:
        corners int64 [N, d + 1, d + 1] (corner, coordinate), weights [N, d + 1] that sum to 1.
    """
    width = points.shape[1]  # d + 1
    nearest = (points / width).round() * width  # remainder 0, but the sum may be off by multiples of d + 1
    excess = (nearest.sum(dim=1, keepdim=True) / width).round().long()  # [N, 1]
    rank = (points - nearest).argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # 0: the largest difference
    rank += excess  # too large a sum: coordinates that were rounded up most are taken down by d + 1, and the reverse
    wrap = (rank < 0).long() - (rank >= width).long()
    rank += wrap * width
    nearest = nearest.long() + wrap * width
    steps = ((points - nearest) / width).sort(dim=1, descending=True).values  # [N, d + 1]
    weights = torch.cat([1 - (steps[:, :1] - steps[:, -1:]), (steps[:, :-1] - steps[:, 1:]).flip(1)], dim=1)
    remainder = torch.arange(width, device=points.device)
    # corner k adds k to all coordinates but the k of the lowest rank, which get k - (d + 1)
    offset = remainder[:, None] - width * (remainder[None, :] >= width - remainder[:, None]).long()  # [corner, rank]
    return nearest[:, None, :] + offset[:, rank].transpose(0, 1), weights
