"""The baselines of the object masks: k-means keeps its promise of a local optimum, the grid tiles the frame."""

import numpy as np
import pytest
import torch

from objadapt.errors import InputError
from objadapt.evaluation.mask_baselines import ceiling_masks, grid_masks, kmeans_masks


def blobs(frames: int, number: int, clusters: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches [T, N, 8] around far centres that drift from frame to frame, and the true cluster [T, N] of each."""
    draw = torch.Generator().manual_seed(0)
    centres = 20 * torch.eye(8)[:clusters]
    true = torch.randint(clusters, (frames, number), generator=draw)
    drift = 0.1 * torch.arange(frames)[:, None, None]
    return centres[true] + drift + 0.1 * torch.randn(frames, number, 8, generator=draw), true


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_kmeans_finds_what_is_plainly_there_and_keeps_its_number_over_time(dtype):
    patches, true = blobs(frames=6, number=30, clusters=5)
    masks = kmeans_masks(patches.to(dtype), 5, seed=0)
    assert masks.shape == (6, 5, 30) and masks.dtype == torch.float32
    found = masks.argmax(dim=1)  # [T, N]
    renamed = {(int(a), int(b)) for a, b in zip(true.flatten(), found.flatten(), strict=True)}
    # one name a cluster, in all frames
    assert len(renamed) == 5 == len({a for a, _ in renamed}) == len({b for _, b in renamed})


def test_kmeans_is_a_partition_with_each_patch_at_its_nearest_mean():
    patches = torch.randn(4, 25, 6, generator=torch.Generator().manual_seed(1))
    masks = kmeans_masks(patches, 7, seed=3)
    assert set(masks.unique().tolist()) == {0, 1} and (masks.sum(dim=1) == 1).all()
    points, owner = patches.reshape(100, 6).double().numpy(), masks.argmax(dim=1).flatten().numpy()
    means = [np.mean([point for point, own in zip(points, owner, strict=True) if own == k], axis=0) for k in range(7)]
    for point, own in zip(points, owner, strict=True):
        distances = [sum((point - mean) ** 2) for mean in means]
        assert distances[own] <= min(distances) + 1e-6


def test_kmeans_is_seeded():
    patches = torch.randn(3, 40, 6, generator=torch.Generator().manual_seed(2))
    assert torch.equal(kmeans_masks(patches, 5, seed=1), kmeans_masks(patches, 5, seed=1))
    assert any(
        not torch.equal(kmeans_masks(patches, 5, seed=1), kmeans_masks(patches, 5, seed=seed)) for seed in range(2, 6)
    )


def test_kmeans_of_a_still_picture(recwarn):
    masks = kmeans_masks(torch.ones(2, 9, 4), 3, seed=0)
    assert (masks.sum(dim=1) == 1).all()
    assert len(recwarn) == 0
    assert kmeans_masks(torch.randn(1, 3, 4), 3, seed=0).sum(dim=(0, 2)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("num_slots", [0, 19])
def test_impossible_numbers_of_clusters(num_slots):
    with pytest.raises(InputError, match=rf"--slots: {num_slots} clusters of 18 patches"):
        kmeans_masks(torch.zeros(2, 9, 4), num_slots, seed=0)


@pytest.mark.parametrize("height, width", [(14, 25), (25, 14), (8, 8), (1, 12), (3, 4)])
@pytest.mark.parametrize("num_slots", range(1, 13))
def test_the_grid_tiles_the_frame_with_rectangles(height, width, num_slots):
    masks = grid_masks(num_slots, height, width, frames=2)
    assert masks.shape == (2, num_slots, height, width) and torch.equal(masks[0], masks[1])
    assert (masks.sum(dim=1) == 1).all() and set(masks.unique().tolist()) <= {0, 1}
    for mask in masks[0]:
        rows, columns = mask.nonzero(as_tuple=True)
        # not empty, and a rectangle
        assert len(rows) == (1 + rows.max() - rows.min()) * (1 + columns.max() - columns.min())


def test_the_grid_is_near_to_square_and_even():
    masks = grid_masks(8, 16, 32, frames=1)[0]
    assert masks.sum(dim=(1, 2)).tolist() == [64] * 8  # 2 rows of 4, each 8 x 8
    assert torch.equal(masks[0, :8, :8], torch.ones(8, 8)) and torch.equal(masks[7, 8:, 24:], torch.ones(8, 8))
    sizes = grid_masks(5, 20, 24, frames=1)[0].sum(dim=(1, 2))
    assert sizes.tolist() == [80, 80, 80, 120, 120]  # rows of 3 and 2


@pytest.mark.parametrize("num_slots", [0, 13])
def test_impossible_numbers_of_rectangles(num_slots):
    with pytest.raises(InputError, match=rf"--slots: {num_slots} rectangles on 3 x 4 patches"):
        grid_masks(num_slots, 3, 4, frames=1)


def test_the_ceiling_of_whole_patches_is_the_truth_itself():
    coarse = np.array([[0, 1, 1], [2, 2, 0]], np.uint8)
    truth = [coarse.repeat(8, axis=0).repeat(8, axis=1)] * 2
    soft = ceiling_masks(truth, 2, 3)
    assert soft.shape == (2, 3, 2, 3) and torch.equal(soft[0].argmax(dim=0), torch.from_numpy(coarse).long())
    assert torch.equal(soft.sum(dim=1), torch.ones(2, 2, 3))


def test_the_ceiling_knows_the_shares_of_patches_and_what_counts():
    first, second = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    first[:, :1], first[0, 3] = 1, 255  # a quarter of the width; void
    second[:, 3:] = 2  # an object that comes after the first frame
    soft = ceiling_masks([first, second], 1, 2)
    assert soft[0, 1].tolist() == [[0.5, 0.0]] and soft[0, 0].tolist() == [[0.5, 1.0]]
    assert soft.shape[1] == 2 and torch.equal(soft[1, 0], torch.ones(1, 2))
