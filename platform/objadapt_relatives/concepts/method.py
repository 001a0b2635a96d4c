"""Static and dynamic concepts: prototypes that clips and their halves are assigned to, and contrasted by."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from objadapt.config import Experiment

from ..dclr.contrast import info_nce
from ..dclr.method import PAIRS, projection
from ..map_encoder import pooled
from ..self_supervised import SelfSupervised, check_frames, share
from ..views import drawn_frame, dynamic_half, static_half, two_clips
from .assignment import assigned, negative_entropy, pushed, swapped
from .local import attention, concept_contrast, local_features, most_active
from .settings import Settings

KINDS = ("rgb", "static", "dynamic")


class Concepts(SelfSupervised):
    """Encoder, projection, and a bank of 2 C prototypes for RGB and for each half: C static, then C dynamic concepts.

    Args:
        heads: classes of each head.
        joint_width: J.
        seed: with the step, what the repeated frame is drawn by.

    Raises:
        InputError: `settings.encoder` is not to be had.
    """

    training_only = ("projection", "banks", "reconstruction")
    queue: Tensor  # [Q, 6, P], features of both clips' views, the newest first
    filled: Tensor  # int64 [], rows of it that hold features

    def __init__(self, settings: Settings, heads: dict[str, int], joint_width: int, seed: int):
        super().__init__(settings, heads, joint_width)
        self.settings, self.seed = settings, seed
        if settings.stage != "pretrain":
            return
        width, number = settings.projection, 2 * settings.concepts
        self.projection = projection(settings.width, width)
        self.banks = nn.ParameterDict({kind: nn.Parameter(torch.randn(number, width)) for kind in KINDS})
        self.reconstruction = nn.ModuleDict({kind: projection(number, width) for kind in KINDS})
        self.register_buffer("queue", torch.zeros(settings.queue, 2 * len(KINDS), width))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.kept = ("queue", "filled")

    @property
    def leaves_unused(self) -> bool:
        """Prototypes that are frozen at first get no gradient."""
        return self.stage == "pretrain" and self.settings.frozen_steps > 0

    def contrasts(self, patches: Tensor, valid: Tensor, rows: Tensor, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """Swapped assignment, contrast of clips, diversity, fidelity and, from `contrast_from` on, that of concepts."""
        settings, weights, frozen = self.settings, self.settings.losses, step < self.settings.frozen_steps
        banks = {kind: normalize(bank.detach() if frozen else bank, dim=-1) for kind, bank in self.banks.items()}
        clips = two_clips(patches)
        frame = drawn_frame(self.seed, step, clips[0].shape[1])
        maps, features, scores = [], [], []  # of the two clips: kind -> ...
        for clip in clips:
            views = {"rgb": clip, "static": static_half(clip, frame), "dynamic": dynamic_half(clip)}
            maps.append({kind: self.encoder(view) for kind, view in views.items()})
            features.append({kind: self._unit(pooled(each)) for kind, each in maps[-1].items()})  # [B, P]
            scores.append({kind: features[-1][kind] @ banks[kind].T for kind in KINDS})  # [B, 2 C]
        queue = self.queue[: 0 if frozen else int(self.filled)].clone()
        found = {"assignment": share(self._assignment(scores, banks, queue, valid), valid)}
        total = found["assignment"]
        if weights.instance:
            found["instance"] = share(self._instance(features, valid, rows), valid)
            total = total + weights.instance * found["instance"]
        half = settings.concepts
        each = [
            negative_entropy(one["static"][:, half:], settings.temperature)
            + negative_entropy(one["dynamic"][:, :half], settings.temperature)
            for one in scores
        ]
        found["diversity"] = share(torch.stack(each).sum(dim=0), valid)
        each = [
            -cosine_similarity(self.reconstruction[kind](scores[i][kind]), features[i][kind].detach(), dim=-1)
            for i in range(2)
            for kind in KINDS
        ]
        found["fidelity"] = share(torch.stack(each).sum(dim=0), valid)
        total = total + weights.diversity * found["diversity"] + weights.fidelity * found["fidelity"]
        if weights.contrast and step >= settings.contrast_from:
            active = [most_active(one["rgb"], settings.top) for one in scores]
            local = [
                local_features(banks["rgb"], self._unit(each["rgb"].flatten(1, 2)), settings.temperature)
                for each in maps
            ]
            found["contrast"] = concept_contrast(*local, active[0] & active[1] & valid[:, None], settings.margin, rows)
            total = total + weights.contrast * found["contrast"]
        if self.training and settings.queue:
            new = torch.stack([features[i][kind].detach() for i in range(2) for kind in KINDS], dim=1)
            for buffer, value in zip(
                (self.queue, self.filled), pushed(self.queue, self.filled, new, valid), strict=True
            ):
                buffer.copy_(value)
        return found, total

    @torch.no_grad()
    def fires(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """How active each RGB concept is in a clip, [B, 2 C], and where, [B, 2 C, T, n], sums to 1 over T and n.

        Static concepts come first. Frames are as given: T is even, the map's rows are of the even and odd clip in turn.

        Args:
            patches: [B, T, N, J].
        """
        bank = normalize(self.banks["rgb"], dim=-1)
        maps = [self.encoder(clip) for clip in two_clips(patches.to(self.dtype))]  # [B, T / 2, n, d] each
        scores = torch.stack([self._unit(pooled(each)) @ bank.T for each in maps]).mean(dim=0)
        both = torch.stack(maps, dim=2).flatten(1, 2)  # [B, T, n, d], in the order of the frames
        where = attention(bank, self._unit(both.flatten(1, 2)), self.settings.temperature)
        return scores, where.unflatten(2, both.shape[1:3])

    def _assignment(
        self, scores: list[dict[str, Tensor]], banks: dict[str, Tensor], queue: Tensor, valid: Tensor
    ) -> Tensor:
        """Swapped cross entropies of RGB and static half over static concepts, of RGB and dynamic half over dynamic
        ones; a value a clip.
        """
        settings, half, terms = self.settings, self.settings.concepts, []
        for kind, part in (("static", slice(0, half)), ("dynamic", slice(half, None))):
            targets = []  # of the two clips: view -> assignment [B, C]
            for i, one in enumerate(scores):
                earlier = {
                    view: queue[:, i * len(KINDS) + KINDS.index(view)] @ banks[view][part].T for view in ("rgb", kind)
                }
                targets.append(
                    {
                        view: assigned(
                            one[view][:, part].detach(),
                            earlier[view].detach(),
                            valid,
                            settings.epsilon,
                            settings.iterations,
                        )
                        for view in ("rgb", kind)
                    }
                )
            for first, second in (("rgb", "rgb"), ("rgb", kind), (kind, "rgb")):
                terms.append(swapped(targets[1][second], scores[0][first][:, part], settings.temperature))
                terms.append(swapped(targets[0][first], scores[1][second][:, part], settings.temperature))
        return torch.stack(terms).mean(dim=0)

    def _instance(self, features: list[dict[str, Tensor]], valid: Tensor, rows: Tensor) -> Tensor:
        """DCLR's contrasts of the two clips, keys held constant, against the other clips of all workers' batches, a
        copy of the clip not among them; a value a clip.

        There is no momentum encoder here: keys of earlier steps would be of another encoder, and teach the features
        nothing but to grow along one direction.
        """
        terms = []
        for i, other in ((0, 1), (1, 0)):
            for query, key in (pair for pairs in PAIRS.values() for pair in pairs):
                query, key = query.partition("_")[0], key.partition("_")[0]  # without activation maps RGB is one view
                query, key = features[i][query], features[other][key]
                terms.append(info_nce(query, key, valid, rows, self.settings.temperature))
        return torch.stack(terms).sum(dim=0) / 2

    def _unit(self, vectors: Tensor) -> Tensor:
        return normalize(self.projection(vectors), dim=-1)


def build(settings: Settings, config: Experiment, heads: dict[str, int], joint_width: int) -> Concepts:
    """InputError where the frames make no two clips."""
    check_frames(config)
    return Concepts(settings, heads, joint_width, config.seed)
