"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): the clips of a batch are mixed in pairs.

Each epoch draws the order of its clips anew, so two that lie side by side are a random pair. Pairs never lie with two
workers. So what is mixed is a function of the seed, the step and the batch, for any number of workers. Where batches
are groups of Q clips of one class, each clip of a group is mixed with one of the group beside it.

A clip that could not be read, or that is padding, is mixed with nothing, and neither is its partner.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config import Training
from ..methods.method import INPUTS

SEED = 4  # of these draws, beside the run's seed and the step


@dataclass(frozen=True)
class Mix:
    """How the clips of a step are mixed: by their shares, or by a box."""

    share: float  # lambda: of a clip itself
    box: tuple[float, float, float, float] | None = None  # top, bottom, left, right of the partner's, 0 .. 1

    def taken(self, side: int) -> Tensor:
        """Cells of a grid that a box takes, bool [side, side]."""
        assert self.box is not None, "mixup has no box"
        top, bottom, left, right = (round(edge * side) for edge in self.box)
        cells = torch.zeros(side, side, dtype=torch.bool)
        cells[top:bottom, left:right] = True
        return cells

    def own(self, side: int) -> float:
        """Share of a clip itself in what it becomes on a grid of so many cells a side."""
        return self.share if self.box is None else 1 - self.taken(side).float().mean().item()


def drawn(training: Training, seed: int, step: int) -> Mix:
    """How a step mixes: the same on every worker and after a restart."""
    rng = np.random.default_rng([seed, SEED, step])
    cut = training.cutmix > 0 and (training.mixup == 0 or bool(rng.random() < 0.5))
    alpha = training.cutmix if cut else training.mixup
    share = float(rng.beta(alpha, alpha))
    if not cut:
        return Mix(share)
    half, (y, x) = math.sqrt(1 - share) / 2, rng.random(2).tolist()
    return Mix(share, (max(0.0, y - half), min(1.0, y + half), max(0.0, x - half), min(1.0, x + half)))


def side_of(batch: dict[str, Tensor]) -> int:
    """Cells along a side of what a box is cut from: pixels of frames [B, T, S, S, 3], patches of features [B, T, N, J],
    whose crops are square; for others, to which only mixup goes, it means nothing.
    """
    return batch["frames"].shape[2] if "frames" in batch else math.isqrt(batch["patches"].shape[2])


def mixed(
    batches: Iterable[dict[str, Tensor]], training: Training, seed: int, step: int, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """Batches of a worker with their clips mixed.

    Args:
        step: of the first of them, over the whole training.
        device: where the mixing is done.
    """
    for number, batch in enumerate(batches, step):
        names = [name for inputs in INPUTS.values() for name in inputs if name in batch]
        there = {name: batch[name].to(device, non_blocking=True) for name in names}
        yield mix(batch | there, drawn(training, seed, number), training.clips_per_class or 1)


def mix(batch: dict[str, Tensor], how: Mix, group: int = 1) -> dict[str, Tensor]:
    """A batch of pairs of clips, each of which becomes the other's partner.

    Args:
        batch: frames, or patches and cls, as `pipeline.source` has them; a multiple of 2 `group` clips.
        group: clips of one class that lie side by side.

    Returns:
        The batch with its inputs mixed, and in `labels` int64 [B, 2 heads] the clip's own and its partner's. A box
        takes the partner's pixels, or patches; the cls token, which has no place, is mixed by the box's share.
    """
    valid = batch["valid"]
    places = torch.arange(len(valid)).view(-1, 2, group)
    partner = places.flip(1).flatten()
    partner = torch.where(valid & valid[partner], partner, places.flatten())
    side, changed = side_of(batch), {}
    for name in ("frames", "patches", "cls"):
        if name not in batch:
            continue
        own = batch[name]
        other = own[partner.to(own.device)]
        if how.box is None or name == "cls":
            changed[name] = _between(own, other, 1 - how.own(side))
        else:
            if name == "patches" and side**2 != own.shape[2]:
                raise ValueError(f"patches: {own.shape[2]} a frame are no square, from which CutMix could cut a box")
            taken = how.taken(side).to(own.device)
            changed[name] = torch.where(taken[..., None] if name == "frames" else taken.view(-1, 1), other, own)
    return batch | changed | {"labels": torch.cat([batch["labels"], batch["labels"][partner]], dim=1)}


def _between(own: Tensor, other: Tensor, way: float) -> Tensor:
    """That share of the way from one to the other, in their own type; pixels are rounded."""
    found = torch.lerp(own.float(), other.float(), way)
    return (found if own.is_floating_point() else found.round()).to(own.dtype)
