"""Masks of SMTC: the semantic map times the instance map, of a whole video."""

import torch
from torch import Tensor

from ...config_discovery import SMTC
from ..video_grouping import VideoGrouping
from .two_stages import Fusion, TwoStages, in_kind

FRAMES = 16  # at a time


class KindsAndInstances(VideoGrouping):
    """Fusion and both stages, with the noise that inference begins its instances at.

    Args:
        settings: of the method; `most` segments are kept, the rest is one more.
        seed: of the noise.
    """

    noise: Tensor  # [S, P, J]

    def __init__(self, settings: SMTC, fusion: Fusion, stages: TwoStages, seed: int):
        super().__init__()
        self.settings, self.seed, self.fusion, self.stages = settings, seed, fusion, stages
        self.num_slots = settings.most
        noise = torch.randn(
            *stages.means.shape[:1], settings.instances, stages.means.shape[1], generator=_by(seed), device="cpu"
        )
        self.register_buffer("noise", noise.to(stages.means.device), persistent=False)

    @torch.no_grad()
    def features(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Fused tokens float [T, N, J] of a video; the frame before the first is taken to be the second."""
        places = torch.arange(len(patches)) - 1
        places[0] = min(1, len(patches) - 1)
        like = self.stages.means
        parts = [
            self.fusion(patches[at].to(like.device, like.dtype), patches[places[at]].to(like.device, like.dtype), grid)
            for at in torch.arange(len(patches)).split(FRAMES)
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def video_masks(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """As of any `VideoGrouping`: instances by falling area, the last mask is all that is none of them.

        What is an instance is decided for the whole video: the mean over frames of its cosine with its kind. The last
        mask is as strong as the strongest part of it, not as their sum: of 64 parts that are nearly even, the sum of
        45 would take every patch from the others.
        """
        maps, alike = [], []
        for fused in self.features(patches, grid).split(FRAMES):
            semantic, of_kinds = self.stages.semantic(fused)
            slots, shares = self.stages.instance(fused, of_kinds, self.noise)
            maps.append((of_kinds[:, :, None] * shares).flatten(1, 2))  # [b, S P, N]
            alike.append(in_kind(slots, semantic).flatten(1))  # [b, S P]
        joint = torch.cat(maps)  # [T, S P, N], sums to 1
        is_one = torch.cat(alike).mean(dim=0) >= self.settings.losses.alike  # [S P]
        owned = joint.argmax(dim=1).flatten().bincount(minlength=joint.shape[1])
        ranked = torch.where(is_one, owned, -1).argsort(descending=True, stable=True)
        kept = ranked[: self.num_slots - 1]
        kept = kept[is_one[kept]]
        rest = torch.ones_like(is_one).index_fill(0, kept, False)
        masks = joint.new_zeros(len(joint), self.num_slots, joint.shape[2])
        masks[:, : len(kept)] = joint[:, kept]
        if rest.any():
            masks[:, -1] = joint[:, rest].amax(dim=1)
        return (masks / masks.sum(dim=1, keepdim=True)).float().cpu()

    @property
    def described(self) -> dict:
        """The settings that masks depend on."""
        settings = self.settings
        return {"method": settings.name, "alike": settings.losses.alike, "area": settings.area, "seed": self.seed}


def _by(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
