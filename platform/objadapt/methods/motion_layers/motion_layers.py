"""Motion layers: objects found by learning how frames of a video flow in layers (arXiv 2210.00221).

It learns without labels and has no classifier. README.md says what departs from the published system.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from ...backbone.encoder import Encoder
from ...config_discovery import MotionLayers
from ...data.transforms import normalise
from ...errors import InputError
from ..distributed import sum_over_workers
from ..method import Method, Output
from .estimated_flow import estimated_flow, in_patches
from .layered_flow import LayeredFlow, Layers, best_motion, compose
from .losses import consistency_loss, flow_loss


@dataclass
class Paired(Output):
    """What the losses compare."""

    tokens: Tensor | None = None  # [B, T, N, J]
    flow: Tensor | None = None  # [B, T, N, 2], in patches, of each frame on its way to its next one


class MotionLayersMethod(Method):
    """Layers over a frozen encoder, which a checkpoint does not hold.

    Args:
        settings: layers, pairs and losses.
        encoder: of the frames.
        crop: side of the frames in pixels.
        frames: T.
        seed: with the step and the clip, what pairs are drawn by.

    Raises:
        InputError: the heads do not divide the width.
    """

    inputs = "frames"  # flow is estimated from the very crops that the encoder sees
    splits_batches = True  # each clip's loss is its own, and its frames are drawn by its row

    def __init__(self, settings: MotionLayers, encoder: Encoder, crop: int, frames: int, seed: int = 0):
        super().__init__()
        if settings.width % settings.heads:
            raise InputError(f"method.heads: {settings.heads} does not divide method.width = {settings.width}")
        self.settings, self.frames, self.seed, self.encoder = settings, frames, seed, encoder
        self.grid = (crop // encoder.patch_size, crop // encoder.patch_size)
        self.layers = LayeredFlow(settings.layers, encoder.joint_width, settings.width, settings.heads)

    @property
    def grouping(self) -> LayeredFlow:
        """The layers of a video's consecutive frames."""
        return self.layers

    @property
    def dtype(self) -> torch.dtype:
        """Of what learns; the encoder has a precision of its own."""
        return self.layers.queries.dtype

    def forward(self, batch: dict[str, Tensor]) -> Paired:
        """Layers of the frames `batch["frames"]` uint8 [B, T, S, S, 3], each on its way to its next one.

        The last frame is paired with the one before it.
        """
        frames = batch["frames"]
        with torch.no_grad():
            images = normalise(frames.flatten(0, 1), self.encoder.mean, self.encoder.std)
            tokens = self.encoder(images)[0].to(self.dtype).unflatten(0, frames.shape[:2])  # [B, T, N, J]
        found = self.pairs(tokens, self.following().expand(tokens.shape[:2]))
        return Paired({}, found.objects, found.opacity, tokens=tokens, flow=found.flow)

    def pairs(self, tokens: Tensor, others: Tensor) -> Layers:
        """Layers of each frame on its way to another, int64 [B, T]; each of their tensors begins with [B, T]."""
        clips = torch.arange(len(tokens), device=tokens.device)[:, None]
        second = tokens[clips, others.to(tokens.device)]  # [B, T, N, J]
        found = self.layers(tokens.flatten(0, 1), second.flatten(0, 1), self.grid)
        return Layers(*(getattr(found, one.name).unflatten(0, tokens.shape[:2]) for one in fields(Layers)))

    def following(self) -> Tensor:
        """The next frame of each, int64 [T]; of the last the one before."""
        return torch.tensor([*range(1, self.frames), self.frames - 2])

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Of all frames, each on its way to its next one and to one drawn: "flow", "fit", "consistency" and "total".

        "flow" is of the layers' own motions, "fit" of those that suit their opacities best, which is what teaches the
        opacities: motions that are still wrong say nothing of them.

        Args:
            batch: `frames`, `valid` and `row`. With `flow` float [B, T, T, N, 2], in patches from each frame to each,
                that is learned from; without it, what `estimated_flow` says of the frames.
        """
        assert isinstance(output, Paired) and output.tokens is not None and output.flow is not None
        assert output.attention is not None, "opacities of every frame"
        valid, drawn = batch["valid"], self.drawn(batch["row"], step)
        other = self.pairs(output.tokens, drawn)
        with torch.autocast(valid.device.type, enabled=False):
            number = (sum_over_workers(valid.sum()) if counts is None else counts["valid"]).clamp(min=1)
            near, far = (masks.to(self.dtype).flatten(0, 1) for masks in (output.attention, other.opacity))
            ways = ((output.flow, near, self.following().expand_as(drawn)), (other.flow, far, drawn))
            flow = fit = torch.zeros(len(near), device=near.device, dtype=near.dtype)  # [B * T]
            for made, opacity, others in ways:
                known = self.known(batch, others).flatten(0, 1)
                best = compose(opacity, best_motion(opacity, known, self.grid), self.grid)
                flow = flow + flow_loss(made.to(self.dtype).flatten(0, 1), known) / 2
                fit = fit + flow_loss(best, known) / 2
            of_frames = {"flow": flow, "fit": fit, "consistency": consistency_loss(near, far)}
            terms = {
                name: torch.where(valid, values.unflatten(0, drawn.shape).mean(dim=1), 0).sum() / number
                for name, values in of_frames.items()
            }
            return {**terms, "total": terms["flow"] + terms["fit"] + self.settings.consistency * terms["consistency"]}

    def drawn(self, rows: Tensor, step: int) -> Tensor:
        """For each frame of each clip another, at most `method.pace` frames away and not its next one: int64 [B, T]."""
        following, chosen = self.following().tolist(), []
        for row in rows.tolist():
            rng = np.random.default_rng([self.seed, step, row + 1])  # row -1: padding
            for frame in range(self.frames):
                near = [t for t in range(self.frames) if 0 < abs(t - frame) <= self.settings.pace]
                chosen.append(int(rng.choice([t for t in near if t != following[frame]])))
        return torch.tensor(chosen).view(-1, self.frames)

    def known(self, batch: dict[str, Tensor], others: Tensor) -> Tensor:
        """Flow [B, T, N, 2] in patches from each frame to another, int64 [B, T]."""
        clips, frames = torch.arange(len(others))[:, None], torch.arange(self.frames)[None]
        if "flow" in batch:
            return batch["flow"][clips, frames, others].to(self.dtype)
        pixels = batch["frames"].cpu()
        flow = estimated_flow(pixels.flatten(0, 1), pixels[clips, others].flatten(0, 1))  # [B * T, S, S, 2]
        flow = in_patches(flow, self.encoder.patch_size).unflatten(0, others.shape)
        return flow.to(batch["frames"].device, self.dtype)
