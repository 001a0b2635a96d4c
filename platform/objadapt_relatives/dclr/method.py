"""DCLR: a clip's features are contrasted with the static and with the dynamic half of another clip of its video."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from objadapt.config import Experiment

from ..map_encoder import activation_map, pooled
from ..self_supervised import SelfSupervised, check_frames, names_of, share
from ..views import drawn_frame, dynamic_half, static_half, two_clips, windows
from .contrast import info_nce
from .settings import Settings

PAIRS = {  # loss -> (query, key) of its terms; keys are of the other clip and of the momentum encoder
    "rgb": (("rgb", "rgb"),),
    "static": (("rgb_static", "static"), ("static", "rgb_static")),
    "dynamic": (("rgb_dynamic", "dynamic"), ("dynamic", "rgb_dynamic")),
}


class DCLR(SelfSupervised):
    """Encoder and momentum encoder.

    Args:
        heads: classes of each head.
        joint_width: J.
        seed: with the step, what the repeated frame and the windows are drawn by.

    Raises:
        InputError: `settings.encoder` is not to be had.
    """

    training_only = ("projections", "momentum")

    def __init__(self, settings: Settings, heads: dict[str, int], joint_width: int, seed: int):
        super().__init__(settings, heads, joint_width)
        self.settings, self.seed = settings, seed
        if settings.stage != "pretrain":
            return
        self.terms = {name: PAIRS[name] for name in PAIRS if getattr(settings.losses, name) > 0}
        self.kinds = list(dict.fromkeys(query for pairs in self.terms.values() for query, _ in pairs))
        width, out = settings.width, settings.projection
        self.projections = nn.ModuleDict({kind: projection(width, out) for kind in self.kinds})
        self.momentum = nn.ModuleDict({"encoder": deepcopy(self.encoder), "projections": deepcopy(self.projections)})
        self.momentum.requires_grad_(False)
        self.kept = names_of(self, "momentum")

    def contrasts(self, patches: Tensor, valid: Tensor, rows: Tensor, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """NCE of RGB, of the static and of the dynamic half."""
        if self.training:
            self._follow()
        one, two = two_clips(patches)
        if self.settings.window:
            one, two = windows((one, two), self.settings.window, self.seed, step, rows)
        frame = drawn_frame(self.seed, step, one.shape[1])
        with torch.no_grad():
            encoder, heads = self.momentum["encoder"], self.momentum["projections"]
            other = self._maps(encoder, two, frame)
            keys = self._projected(heads, other, {name: activation_map(maps) for name, maps in other.items()})
            halves = self._maps(encoder, one, frame, halves_only=True)
            activations = {name: activation_map(maps) for name, maps in halves.items()}
        queries = self._projected(self.projections, self._maps(self.encoder, one, frame), activations)
        found = {}
        for name, pairs in self.terms.items():
            each = [info_nce(queries[q], keys[k], valid, rows, self.settings.temperature) for q, k in pairs]
            found[name] = share(torch.stack(each).sum(dim=0), valid)
        weighted = [getattr(self.settings.losses, name) * value for name, value in found.items()]
        return found, torch.stack(weighted).sum()

    def _maps(self, encoder: nn.Module, clip: Tensor, frame: int, halves_only: bool = False) -> dict[str, Tensor]:
        """Maps [B, T / 2, n, d] of a clip and of those of its halves that a loss needs."""
        views = {} if halves_only else {"rgb": clip}
        if "static" in self.terms:
            views["static"] = static_half(clip, frame)
        if "dynamic" in self.terms:
            views["dynamic"] = dynamic_half(clip)
        return {name: encoder(view) for name, view in views.items()}

    def _projected(
        self, heads: nn.Module, maps: dict[str, Tensor], activations: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Kind -> unit vectors [B, P]; `rgb_static` is pooled where the static half is active, `rgb_dynamic` alike."""
        found = {}
        for kind in self.kinds:
            view, _, half = kind.partition("_")
            vector = heads[kind](pooled(maps[view], activations[half] if half else None))
            found[kind] = normalize(vector, dim=-1)
        return found

    @torch.no_grad()
    def _follow(self) -> None:
        """The momentum encoder and its projections go a step towards those that learn."""
        for name in ("encoder", "projections"):
            for slow, fast in zip(self.momentum[name].parameters(), getattr(self, name).parameters(), strict=True):
                slow.lerp_(fast, 1 - self.settings.momentum)


def projection(width: int, out: int) -> nn.Sequential:
    """The MLP before a contrast."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))


def build(settings: Settings, config: Experiment, heads: dict[str, int], joint_width: int) -> DCLR:
    """InputError where the frames make no two clips."""
    check_frames(config)
    return DCLR(settings, heads, joint_width, config.seed)
