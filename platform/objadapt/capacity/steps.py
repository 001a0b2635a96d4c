"""What a training step and a prediction cost, method beside method: measured side by side in one process, without Ray.

The sides take turns, step by step, so that what else the machine does meets all of them alike. The first turns warm up
and do not count.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from ..backbone import Encoder, build_backbone
from ..backbone.features import encode_frames
from ..config import Experiment
from ..evaluation.cost import backbone_macs, cost_of, saved_by
from ..methods.build import build_method
from ..training.loop import LossModule, build_optimiser, global_counts, seed_step, to_device

WARM_UP = 1  # turns that do not count
CLASSES = {"label": 400}  # as many as Kinetics-400 has
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Measured:
    """What one method costs; seconds and bytes of one clip, medians over the turns."""

    name: str
    inputs: str  # features or frames
    tunable: int  # parameters
    total: int  # parameters, the backbone's included
    gflops: float  # of a prediction, 2 x MAC, the backbone's included
    saved_bytes: int  # activations that a training step keeps for its backward, without autocast
    peak_bytes: int | None  # of the allocator in a training step of the whole batch, weights included; CUDA only
    step: dict[str, float]  # backbone, forward, backward, optimiser -> seconds
    steps: list[float]  # seconds of a whole step, turn by turn
    cached: list[float] | None  # seconds of a step without the backbone, turn by turn; None of one that takes frames
    predictions: list[float]  # seconds of a prediction, turn by turn

    @property
    def step_seconds(self) -> float:
        """Of a training step, from frames."""
        return median(self.steps)

    @property
    def cached_seconds(self) -> float | None:
        """Of a training step from cached features; None for a method that takes frames."""
        return None if self.cached is None else median(self.cached)

    @property
    def throughput(self) -> float:
        """Clips a second, predicted from frames."""
        return 1 / median(self.predictions)


class Side:
    """One method, ready to be stepped.

    Args:
        frames: uint8 [B, T, S, S, 3], on the CPU; what comes before it, the decoder, is the same for all methods.
        encoder: the frozen backbone, which all sides share that take features.
    """

    def __init__(self, config: Experiment, frames: Tensor, encoder: Encoder):
        self.config, self.frames = config, frames
        self.method = build_method(config, CLASSES, encoder.joint_width).to(DEVICE)
        self.inputs = self.method.inputs
        self.encoder = encoder if self.inputs == "features" else None
        self.module = LossModule(self.method)
        self.optimiser = build_optimiser(self.method, config.training)
        self.autocast = config.training.autocast and DEVICE.type == "cuda"
        self.number = 0

    def step(self) -> dict[str, float]:
        """One training step; -> seconds of its parts."""
        self.method.train()
        clock = [self._now()]
        inputs = self._inputs()
        clock.append(self._now())
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(inputs)
        clock.append(self._now())
        loss.backward()
        clock.append(self._now())
        self.optimiser.step()
        clock.append(self._now())
        self.number += 1
        parts = ("backbone", "forward", "backward", "optimiser")
        return {name: end - start for name, start, end in zip(parts, clock[:-1], clock[1:], strict=True)}

    @torch.no_grad()
    def predict(self) -> float:
        """Seconds from frames to class scores."""
        self.method.eval()
        started = self._now()
        inputs = {name: values.to(DEVICE) for name, values in self._inputs().items()}
        self.method(inputs)  # without autocast, as validation is
        return self._now() - started

    def saved_bytes(self) -> int:
        """Of activations that a step keeps for its backward, with the attention kernels that the step uses."""
        self.method.train()
        inputs = self._inputs()
        autocast, self.autocast = self.autocast, False  # by which copies of the weights would be kept, too
        try:
            return saved_by(lambda: self._loss(inputs), self.module)[1]
        finally:
            self.autocast = autocast

    def peak_bytes(self) -> int | None:
        """Most bytes that a training step needs, weights and the optimiser's state included, without what the other
        sides hold; None on CPUs.
        """
        if DEVICE.type != "cuda":
            return None
        self.optimiser.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        self.step()
        state = [value for one in self.optimiser.state.values() for value in one.values() if torch.is_tensor(value)]
        held = [*self.module.parameters(), *(self.encoder.parameters() if self.encoder else ()), *state]
        return torch.cuda.max_memory_allocated() - before + sum(tensor.nbytes for tensor in held)

    def _loss(self, inputs: dict[str, Tensor]) -> Tensor:
        labels = torch.arange(len(self.frames))[:, None] % 2  # two classes
        batch = {"labels": labels, "valid": torch.ones(len(labels), dtype=torch.bool), "row": torch.arange(len(labels))}
        here = to_device(batch | inputs, DEVICE, self.method)
        seed_step(0, self.number)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.autocast):
            return self.module(here, self.number, global_counts(here))["total"]

    def _inputs(self) -> dict[str, Tensor]:
        if not self.encoder:
            return {"frames": self.frames}
        patches, cls = encode_frames(self.encoder, self.frames)
        return {"patches": patches.clone(), "cls": cls.clone()}  # those of inference mode cannot be learned from

    def _now(self) -> float:
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def measure_sides(
    configs: dict[str, Experiment], frames: Tensor, turns: int, show: Callable[[str, int, int], None]
) -> list[Measured]:
    """Measure methods in turns.

    Args:
        configs: name -> config; all of the same backbone and number of frames.
        frames: uint8 [B, T, S, S, 3], what each is stepped on.
        turns: that count.
        show: called with (what, done, total).
    """
    clips, total = len(frames), (turns + WARM_UP) * len(configs)
    encoder = build_backbone(next(iter(configs.values())).backbone).to(DEVICE)
    sides = {name: Side(config, frames, encoder) for name, config in configs.items()}
    parts: dict[str, list[dict[str, float]]] = defaultdict(list)
    predictions: dict[str, list[float]] = defaultdict(list)
    for turn in range(turns + WARM_UP):
        for place, (name, side) in enumerate(sides.items()):
            show("turns", turn * len(sides) + place, total)
            step, prediction = side.step(), side.predict()
            if turn >= WARM_UP:
                parts[name].append(step)
                predictions[name].append(prediction / clips)
    show("turns", total, total)
    memory = {name: (side.saved_bytes() // clips, side.peak_bytes()) for name, side in sides.items()}
    view_macs = backbone_macs(encoder, frames.shape[2], frames.shape[1])  # the last that the encoder is needed for
    return [
        _measured(name, side, encoder, view_macs, memory[name], parts[name], predictions[name])
        for name, side in sides.items()
    ]


def _measured(  # noqa: PLR0913 -- what `measure_sides` has gathered
    name: str,
    side: Side,
    encoder: Encoder,
    view_macs: int,
    memory: tuple[int, int | None],
    parts: list[dict[str, float]],
    predictions: list[float],
) -> Measured:
    clips, crop = len(side.frames), side.frames.shape[2]
    cost = cost_of(side.config, CLASSES, encoder.joint_width, (crop // encoder.patch_size) ** 2, crop)
    outside = side.inputs == "features"  # of the method: the backbone
    modules = [side.method, encoder] if outside else [side.method]
    return Measured(
        name,
        side.inputs,
        sum(cost.parameters.values()),
        sum(parameter.numel() for module in modules for parameter in module.parameters()),
        cost.gflops + 2e-9 * view_macs * outside,
        *memory,
        {part: median(step[part] for step in parts) / clips for part in parts[0]},
        [sum(step.values()) / clips for step in parts],
        [(sum(step.values()) - step["backbone"]) / clips for step in parts] if outside else None,
        predictions,
    )
