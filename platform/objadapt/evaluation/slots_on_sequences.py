"""A trained adapter's slots on one annotated sequence: the score of their masks, the norms of their state changes.

J&F (official protocol) is that of paper Tables 4, 6, 7, 8, 12, and the norms those of Table 11. Slots that the
protocol assigns to an object are foreground, the other slots background.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor

from ..config import Sampling
from ..data.sampling import frame_indices
from ..methods.method import Method
from ..methods.video_grouping import VideoGrouping
from .object_masks import id_maps, upsample
from .segmentation import SequenceScore, score_sequence

FEWEST = 6  # sequences of an interval; resampling fewer sees no spread: of 2 it gives their two scores


def score_masks(soft: Tensor, truth: Sequence[np.ndarray]) -> SequenceScore:
    """Official score of soft masks, made disjoint.

    Args:
        soft: float [T, K, h, w], at the resolution of patches.
        truth: ids uint8 [H, W] of each of the T frames; read one by one.
    """

    def ids() -> Iterator[np.ndarray]:
        for frame_soft, true in zip(soft, truth, strict=True):
            yield id_maps(upsample(frame_soft[None], true.shape))[0]  # [H, W]

    return score_sequence(truth, ids(), "official")


@torch.no_grad()
def attention_of(method: Method, patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Soft masks float32 [T, K, h, w] of whole frames from their patch tokens [T, N = h * w, J]:
    A of the last iteration.
    """
    grouping = method.grouping
    assert grouping is not None, "only methods with slots come here"
    if isinstance(grouping, VideoGrouping):
        return grouping.video_masks(patches, grid).unflatten(2, grid)
    parts = [grouping(piece.to(method.dtype))[1] for piece in patches.split(64)]  # [b, K, N] each
    return torch.cat(parts).float().unflatten(2, grid)


@torch.no_grad()
def change_norms(method: Method, patches: Tensor, frames: int) -> Tensor | None:
    """L2 norm of each slot's state changes, mean over the changes of T frames spread over the sequence as in testing.

    Args:
        patches: [frames of the sequence, N, J].

    Returns:
        float64 [K]; None: the method has no state changes.
    """
    if isinstance(method.grouping, VideoGrouping):
        return None
    sampling = Sampling(mode="uniform", frames=frames)  # pyright: ignore[reportCallIssue]  # the others have defaults
    index = frame_indices(len(patches), sampling, None)
    chosen = patches[torch.from_numpy(index)][None]
    output = method(
        {"patches": chosen, "cls": chosen.mean(dim=2)}
    )  # no cls is at hand, and the answer is not asked for
    if output.state_changes is None:
        return None
    return output.state_changes[0].double().norm(dim=-1).mean(dim=0)  # [V, K, d] -> [K]


def confidence_interval(rows: list[dict], measure: str = "J&F-Mean") -> tuple[float, float] | None:
    """95 % confidence interval of the mean over objects, by a bootstrap (BCa) that draws whole sequences.

    Of few sequences it is too narrow: of 8 it held the mean in 88 of 100 samples of a normal distribution.

    Args:
        rows: of `segmentation.object_rows`.

    Returns:
        Low and high; None with less than `FEWEST` sequences, or where all have the same mean.
    """
    names = sorted({row["sequence"] for row in rows})
    values = [[row[measure] for row in rows if row["sequence"] == name] for name in names]
    sums, counts = np.array([sum(one) for one in values]), np.array([len(one) for one in values])
    if len(names) < FEWEST or len({total / count for total, count in zip(sums, counts, strict=True)}) < 2:
        return None
    mean = bootstrap(
        (sums, counts), lambda s, n, axis=-1: s.sum(axis) / n.sum(axis), paired=True, rng=np.random.default_rng(0)
    )
    return float(mean.confidence_interval.low), float(mean.confidence_interval.high)


def foreground_slots(score: SequenceScore, num_slots: int) -> list[int]:
    """Slots 0 .. K - 1 that the assignment gave to an object, without the empty masks that were added."""
    return sorted({number - 1 for number in score.proposal_ids if number is not None and number <= num_slots})
