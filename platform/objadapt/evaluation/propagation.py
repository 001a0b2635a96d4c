"""Label propagation: the masks of a first frame carried through a video by the likeness of its patches.

The usual test of dense features on DAVIS (semi-supervised). Nothing learns. A patch takes the labels of the patches
that are most like it in the first frame and in those just before it, near to where it is. The numbers are those that
DINO's test uses.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize, one_hot

CONTEXT = 7  # frames before, beside the first
RADIUS = 12  # patches, in both directions
NEIGHBOURS = 5  # patches whose labels are taken
TEMPERATURE = 0.1  # of the weights of their labels


def first_labels(ids: Tensor, objects: int, grid: tuple[int, int]) -> Tensor:
    """Ids uint8 [H, W] of a first frame -> the share of each patch that background and each object cover.

    Returns:
        float32 [1 + objects, N]; sums to 1.
    """
    known = torch.where(ids > objects, 0, ids.long())
    return adaptive_avg_pool2d(one_hot(known, objects + 1).permute(2, 0, 1).float(), grid).flatten(1)


@torch.no_grad()
def propagate(features: Tensor, first: Tensor, grid: tuple[int, int]) -> Tensor:
    """Carry labels from the first frame to all others.

    Args:
        features: float [T, N, D] of all frames, of any scale.
        first: float [C, N], labels of the first frame.
        grid: (h, w), N = h * w.

    Returns:
        float32 [T, C, N], sums to 1 over C where `first` does.
    """
    unit = normalize(features.float(), dim=2)
    near = _near(grid)  # [N, N]
    labels = [first.float()]
    for frame in range(1, len(unit)):
        sources = [0, *range(max(1, frame - CONTEXT), frame)]
        alike = (unit[frame] @ unit[sources].flatten(0, 1).T).masked_fill(~near.repeat(1, len(sources)), -torch.inf)
        best, places = alike.topk(min(NEIGHBOURS, alike.shape[1]), dim=1)  # [N, k]
        weights = (best / TEMPERATURE).softmax(dim=1)
        known = torch.cat([labels[source] for source in sources], dim=1)  # [C, sources * N]
        labels.append((known[:, places] * weights).sum(dim=2))  # [C, N]
    return torch.stack(labels)


def _near(grid: tuple[int, int]) -> Tensor:
    """Whether two patches are at most `RADIUS` apart in both directions, bool [N, N]."""
    places = torch.cartesian_prod(*(torch.arange(side) for side in grid))  # [N, 2]
    return ((places[:, None] - places[None]).abs() <= RADIUS).all(dim=2)
