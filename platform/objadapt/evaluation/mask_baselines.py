"""Masks without training, to compare with: k-means on the frozen patch features, a fixed grid of rectangles, and the
ground truth itself at the resolution of patches, which says how much the resolution alone costs.

All have the form of the slots' attention, so they are upsampled, written and scored in the same way.
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from ..errors import InputError
from .segmentation import VOID, object_count

STARTS = 4  # k-means++ initialisations, of which the best is taken, since a single one may get stuck


def kmeans_masks(patches: Tensor, num_slots: int, seed: int) -> Tensor:
    """Lloyd's k-means with Euclidean distance over the patches of all frames of a video at once.

    So cluster k is the same thing in each frame, as slot k is.

    Args:
        patches: float16 or float32 [T, N, J], as the frozen backbone gives them.
        num_slots: K clusters.
        seed: of the initialisation.

    Returns:
        float32 [T, K, N]: 1 where the patch is of the cluster, else 0.

    Raises:
        InputError: fewer patches than clusters.
    """
    frames, number, _ = patches.shape
    if not 1 <= num_slots <= frames * number:
        raise InputError(f"--slots: {num_slots} clusters of {frames * number} patches; use 1 .. {frames * number}")
    points = patches.flatten(0, 1).float().numpy()  # [T * N, J]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a still picture may have fewer different patches than K
        means = KMeans(num_slots, n_init=STARTS, random_state=seed)  # pyright: ignore[reportArgumentType]  # not only "auto"
        clusters = means.fit_predict(points)  # [T * N]
    hard = one_hot(torch.from_numpy(clusters).long(), num_slots)  # [T * N, K]
    return hard.float().view(frames, number, num_slots).transpose(1, 2).contiguous()


def grid_masks(num_slots: int, height: int, width: int, frames: int) -> Tensor:
    """K rectangles that tile every frame alike, near to square and near to equal.

    There are about sqrt(K h / w) rows. Where K does not divide by them, the upper rows have one rectangle more.

    Args:
        num_slots: K.
        height, width: h, w in patches.
        frames: T.

    Returns:
        float32 [T, K, h, w] of 0 and 1.

    Raises:
        InputError: more rectangles than patches.
    """
    if not 1 <= num_slots <= height * width:
        raise InputError(f"--slots: {num_slots} rectangles on {height} x {width} patches; use 1 .. {height * width}")
    rows = min(max(round(math.sqrt(num_slots * height / width)), math.ceil(num_slots / width), 1), height, num_slots)
    owner, first = torch.empty(height, width, dtype=torch.long), 0
    for row, lines in enumerate(torch.arange(height).tensor_split(rows)):
        columns = num_slots // rows + (row < num_slots % rows)
        for column, places in enumerate(torch.arange(width).tensor_split(columns)):
            owner[lines[0] : lines[-1] + 1, places[0] : places[-1] + 1] = first + column
        first += columns
    masks = one_hot(owner, num_slots).permute(2, 0, 1).float()  # [K, h, w]
    return masks.expand(frames, -1, -1, -1).contiguous()


def ceiling_masks(truth: Sequence[np.ndarray], height: int, width: int) -> Tensor:
    """The ground truth brought to patches: the share of each patch that each object covers.

    What is smaller than half a patch gets none, so that on coarse grids other masks may score higher.

    Args:
        truth: ids uint8 [H, W] of each frame; void, and objects that come after the first frame, are background.
        height, width: h, w in patches.

    Returns:
        float32 [T, 1 + objects, h, w]: background, object 1, object 2, ...; sums to 1.
    """
    objects = object_count(truth[0])
    ids = torch.from_numpy(np.stack(truth)).long()
    ids[(ids == VOID) | (ids > objects)] = 0
    return adaptive_avg_pool2d(one_hot(ids, objects + 1).permute(0, 3, 1, 2).float(), (height, width))
