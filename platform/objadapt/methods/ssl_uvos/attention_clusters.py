"""Hierarchical clustering of a video's attention rows into segments; how many there are is found, not given.

Each patch is a distribution: its attention to the patches of all key frames. Patches are near where these differ by
little (`divergence`). Clusters grow by merging, first inside of windows of neighbouring key frames, then over the
video, until no two are nearer than the threshold. Then each patch of each frame goes to the nearest cluster.

All pairs that are each other's nearest merge at once. So no order of patches or of windows decides anything, which a
greedy pass over them would.
"""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ...config_discovery import SSLUVOS
from ..video_grouping import VideoGrouping
from .consistency import TINY
from .spatio_temporal import SpatioTemporalBlock, spread

MOST_KEYS = 8192  # patches of key frames: the square of it is in memory


class AttentionClusters(VideoGrouping):
    """The block's attention over a video, clustered."""

    def __init__(self, settings: SSLUVOS, block: SpatioTemporalBlock):
        super().__init__()
        self.settings, self.block, self.num_slots = settings, block, settings.clusters.most

    @torch.no_grad()
    def video_masks(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """As of any `VideoGrouping`; hard masks, the most frequent segment first."""
        clusters, like = self.settings.clusters, self.block.out.weight
        frames, number, _ = patches.shape
        most = max(1, MOST_KEYS // number)
        keys = spread(frames, min(most, max(1, round(frames / clusters.every))))
        seen = patches[keys].to(like.device, like.dtype).flatten(0, 1)  # [F N, J]
        windows = [
            self.block.rows(window, seen)  # [frames of the window * N, F N]
            for window in seen.split(self.settings.frames * number)
        ]
        centres = video_clusters(windows, clusters.threshold, self.num_slots)  # [K, F N]
        owners = torch.stack(
            [
                divergence(self.block.rows(frame.to(like.device, like.dtype), seen), centres).argmin(dim=1)  # [N]
                for frame in patches
            ]
        )
        order = owners.flatten().bincount(minlength=self.num_slots).argsort(descending=True, stable=True)
        return one_hot(order.argsort()[owners], self.num_slots).transpose(1, 2).float().cpu()  # [T, K, N]

    @property
    def described(self) -> dict:
        """The clustering's settings."""
        return {"method": self.settings.name, "window": self.settings.frames} | self.settings.clusters.model_dump()


def divergence(rows: Tensor, others: Tensor) -> Tensor:
    """Symmetric Kullback-Leibler divergence of distributions [m, D] and [n, D], in nats: the mean of both directions.

    Returns:
        [m, n]; exactly symmetric where both are the same.
    """
    logs, other_logs = rows.clamp(min=TINY).log(), others.clamp(min=TINY).log()
    own, other = (rows * logs).sum(dim=1), (others * other_logs).sum(dim=1)
    crossed = rows @ other_logs.T + logs @ others.T  # [m, n]
    if rows is others:
        crossed = (crossed + crossed.T) / 2
    return ((own[:, None] + other[None] - crossed) / 2).clamp(min=0)


def video_clusters(windows: list[Tensor], threshold: float, most: int) -> Tensor:
    """Rows of each window -> centres of the video's clusters.

    Args:
        windows: float [n, D] each, distributions.
        threshold: nats; clusters nearer than this are one.
        most: clusters that may be left; nearest ones go on merging until there are so few.

    Returns:
        [K, D], in no order that means anything.
    """
    found = [grown(smoothed(rows, threshold), torch.ones(len(rows)), threshold) for rows in windows]
    centres, sizes = (torch.cat(parts) for parts in zip(*found, strict=True))
    return grown(centres, sizes, threshold, most)[0]


def smoothed(rows: Tensor, threshold: float) -> Tensor:
    """Each row as the mean of those that are nearer to it than the threshold, itself among them."""
    near = (divergence(rows, rows) <= threshold).to(rows.dtype)
    near.fill_diagonal_(1)
    return near @ rows / near.sum(dim=1, keepdim=True)


def grown(centres: Tensor, sizes: Tensor, threshold: float, most: int | None = None) -> tuple[Tensor, Tensor]:
    """Merge clusters until no two are nearer than the threshold, and no more than `most` are left.

    Args:
        centres: [n, D], distributions; `sizes` [n]: patches of each, by which a merged centre is weighted.

    Returns:
        centres and sizes of those that are left.
    """
    sizes = sizes.to(centres)
    while len(centres) > 1:
        apart = divergence(centres, centres)
        apart.fill_diagonal_(torch.inf)
        distance, nearest = apart.min(dim=1)
        places = torch.arange(len(centres), device=centres.device)
        mutual = nearest[nearest] == places
        merging = mutual & (distance <= threshold)
        if not merging.any():
            if most is None or len(centres) <= most:
                break
            firsts = places[mutual & (places < nearest)]  # of pairs; the nearest pairs, no more than are too many
            firsts = firsts[distance[firsts].argsort(stable=True)[: len(centres) - most]]
            merging[firsts] = merging[nearest[firsts]] = True
        first = torch.where(merging & (nearest < places), nearest, places)  # a pair is kept at the place of its first
        kept, owner = first.unique(return_inverse=True)
        weight = torch.zeros(len(kept), dtype=sizes.dtype, device=sizes.device).index_add_(0, owner, sizes)
        total = torch.zeros(len(kept), centres.shape[1], dtype=centres.dtype, device=centres.device)
        total.index_add_(0, owner, centres * sizes[:, None])
        centres, sizes = total / weight[:, None], weight
    return centres, sizes
