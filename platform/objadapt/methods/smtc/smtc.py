"""SMTC (arXiv 2308.09951): semantic slots, then instance slots inside of them, alike in neighbouring frames.

It learns without labels from a slowly moving copy of itself. README.md says what departs from the published system.
"""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...config import Training
from ...config_discovery import SMTC
from ...errors import InputError
from ..distributed import sum_over_workers
from ..method import Method, Output
from .kinds_and_instances import KindsAndInstances
from .temporal_consistency import instance_loss, overlap, transported
from .transport import cosines, sinkhorn
from .two_stages import Fusion, TwoStages, in_kind


@dataclass
class Kinds(Output):
    """What the losses read beside the tokens: F frames of each clip."""

    fused: Tensor | None = None  # [B, F, N, J]
    semantic: Tensor | None = None  # [B, F, S, J]
    maps: Tensor | None = None  # [B, F, S, N]


class SMTCMethod(Method):
    """Fused tokens, two stages of slots, and a teacher that follows them.

    Args:
        settings: slots and losses.
        joint_width: J, width of `patches`.
        frames: T of a clip, whose first `settings.frames` are looked at where there are more.
        seed: with the step, what instance slots are drawn by.
    """

    training_only = ("teacher",)

    def __init__(self, settings: SMTC, joint_width: int, frames: int, seed: int = 0):
        super().__init__()
        self.settings, self.seed = settings, seed
        self.frames = min(settings.frames, frames)
        fusion = Fusion(joint_width, settings.side)
        stages = TwoStages(joint_width, settings.kinds, settings.instances, settings.iterations, settings.area)
        self.student = KindsAndInstances(settings, fusion, stages, seed)
        self.teacher = deepcopy(self.student).requires_grad_(False)
        self.kept = tuple(f"teacher.{name}" for name, _ in self.teacher.named_parameters())

    @classmethod
    def check(cls, training: Training) -> None:
        """InputError where batches are to be learned in parts."""
        if training.micro_batch:
            why = "the teacher follows with every batch, which must be whole"
            raise InputError(f"training.micro_batch: {why}; leave it out, or lower training.batch_size")

    @property
    def grouping(self) -> KindsAndInstances:
        """The student."""
        return self.student

    def forward(self, batch: dict[str, Tensor]) -> Kinds:
        """Kinds of the patches of `batch["patches"]` [B, T, N, J]."""
        patches = self._looked_at(batch)
        fused, semantic, maps = self._kinds(self.student, patches)
        if fused.is_meta:  # where cost is counted: a part of inference, which this forward is not
            self.student.stages.instance(fused.flatten(0, 1), maps.flatten(0, 1), self.student.noise.to(self.dtype))
        return Kinds({}, fused=fused, semantic=semantic, maps=maps)

    def _looked_at(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["patches"][:, : self.frames].to(self.dtype)

    def _kinds(self, model: KindsAndInstances, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        clips, number = patches.shape[0], patches.shape[2]
        grid = _square(number)
        before = patches.roll(1, dims=1)  # of the first frame it is the last
        fused = model.fusion(patches.flatten(0, 1), before.flatten(0, 1), grid)  # [B F, N, J]
        semantic, maps = model.stages.semantic(fused)
        return tuple(one.unflatten(0, (clips, -1)) for one in (fused, semantic, maps))  # pyright: ignore

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Mean over clips of "overlap", "semantic" and "instance", and their weighted "total"."""
        assert isinstance(output, Kinds) and output.fused is not None
        settings, valid = self.settings.losses, batch["valid"]
        with torch.autocast(valid.device.type, enabled=False):
            if self.training:
                follow(self.teacher, self.student, settings.momentum)
            patches = self._looked_at(batch)
            noise = drawn_noise(self.student.noise, step, self.seed)
            student = self._of(self.student, output.fused, output.semantic, output.maps, noise)
            with torch.no_grad():
                fused, semantic, maps = (one.roll(-1, dims=1) for one in self._kinds(self.teacher, patches))
                teacher = self._of(self.teacher, fused, semantic, maps, noise)
                cost = 1 - cosines(patches, patches.roll(-1, dims=1)).flatten(0, 1)
                plan = sinkhorn(cost, settings.epsilon, settings.sinkhorn)
            pairs = {
                "overlap": overlap(student["maps"]),
                "semantic": transported(student["maps"], teacher["maps"], plan),
                "instance": instance_loss(
                    student["slots"], teacher["slots"], student["valid"], teacher["valid"], settings.margin
                ),
            }
            clips = (sum_over_workers(valid.sum()) if counts is None else counts["valid"]).clamp(min=1)
            terms = {}
            for name, one in pairs.items():
                of_clips = one.unflatten(0, patches.shape[:2]).mean(dim=1)
                terms[name] = torch.where(valid, of_clips, 0).sum() / clips
            total = torch.stack([getattr(settings, name) * value for name, value in terms.items()]).sum()
            return {**terms, "total": total}

    def _of(self, model: KindsAndInstances, fused, semantic, maps, noise: Tensor) -> dict[str, Tensor]:
        """Maps, instance slots and which of them are instances, of all frames one below the other."""
        fused, semantic, maps = (one.flatten(0, 1).to(self.dtype) for one in (fused, semantic, maps))
        slots, shares = model.stages.instance(fused, maps, noise)
        held = (shares * maps[:, :, None]).sum(dim=3) / maps.sum(dim=2, keepdim=True)  # [b, S, P], of its kind's area
        valid = (in_kind(slots, semantic) > self.settings.losses.alike) & (held > self.settings.losses.held)
        return {"maps": maps, "slots": slots, "valid": valid}


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Exponential moving average: teacher = momentum x teacher + (1 - momentum) x student."""
    for own, other in zip(teacher.parameters(), student.parameters(), strict=True):
        own.mul_(momentum).add_(other, alpha=1 - momentum)


def drawn_noise(like: Tensor, step: int, seed: int) -> Tensor:
    """Standard normal numbers by (seed, step) alone, the same on all workers."""
    (number,) = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(number) >> 1)
    return torch.randn(like.shape, generator=generator).to(like)


def _square(patches: int) -> tuple[int, int]:
    side = round(patches**0.5)
    if side * side != patches:
        raise InputError(f"method.name: smtc learns from square crops, not from {patches} patches a frame")
    return side, side
