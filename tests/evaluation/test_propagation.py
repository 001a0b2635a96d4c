"""Label propagation: labels go where the features go."""

import torch

from objadapt.evaluation.propagation import RADIUS, first_labels, propagate

GRID, FRAMES = (6, 9), 7


def moving(shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features that move `shift` patches to the right in each frame, and the labels of each frame."""
    place = torch.randn(*GRID, 16, generator=torch.Generator().manual_seed(0))
    square = torch.zeros(GRID, dtype=torch.long)
    square[1:3, 1:4] = 1
    square[4:, 5:] = 2
    frames = [(place.roll(t * shift, dims=1), square.roll(t * shift, dims=1)) for t in range(FRAMES)]
    features, ids = (torch.stack(parts) for parts in zip(*frames, strict=True))
    return features.flatten(1, 2), ids


def test_a_known_motion_carries_every_label_with_it():
    for shift in (0, 1, 2):
        features, ids = moving(shift)
        first = first_labels(ids[0].byte(), 2, GRID)
        carried = propagate(features, first, GRID)
        assert carried.shape == (FRAMES, 3, GRID[0] * GRID[1])
        assert torch.allclose(carried.sum(dim=1), torch.ones(FRAMES, GRID[0] * GRID[1]))
        assert torch.equal(carried.argmax(dim=1).unflatten(1, GRID), ids), shift
        assert torch.equal(carried[0], first)


def test_scale_does_not_matter_and_what_is_far_away_gives_no_label():
    features, ids = moving(1)
    first = first_labels(ids[0].byte(), 2, GRID)
    assert torch.allclose(propagate(100 * features, first, GRID), propagate(features, first, GRID), atol=1e-5)
    wide = (1, 2 * RADIUS + 2)  # equal patches at both ends, one of them labelled
    tokens = torch.eye(wide[1])
    tokens[-1] = tokens[0]
    first = torch.zeros(2, wide[1])
    first[1, 0], first[0, 1:] = 1, 1
    carried = propagate(torch.stack([tokens, tokens]), first, wide)
    assert carried[1, 1, 0] > 0.9 and carried[1, 1, -1] == 0


def test_first_labels_are_shares_of_patches_without_void():
    ids = torch.tensor([[1, 1, 2, 0], [1, 0, 2, 255]], dtype=torch.uint8)
    assert first_labels(ids, 2, (1, 2)).tolist() == [[0.25, 0.5], [0.75, 0.0], [0.0, 0.5]]
