"""What a set of tables will cost, from measured speed, before anything is spent."""

import time
from dataclasses import dataclass

import torch

from ..backbone import build_backbone
from ..capacity.phases import BACKWARD
from ..plan import Plan
from ..runs.feature_caches import estimate_features
from ..runs.run import results_folder
from ..training.display import duration
from ..training.loop import Progress, build_optimiser, distribute, train_epoch
from .rows import Place, to_run

STEPS = 4  # measured, after one that is not
ALIKE = 2.0  # MACs up to so many times more or less take as long a MAC
FRAMES = 16  # encoded to measure the backbone, after one that is not
# bytes a parameter: weights and two moments of the last checkpoint, weights of the best, MLflow's copies
CHECKPOINT = 5 * 4


@dataclass(frozen=True)
class Estimate:
    """Seconds and bytes; `basis` says what was measured."""

    runs: int
    train_seconds: float  # of all runs, one after the other
    encode_seconds: float
    feature_bytes: int
    run_bytes: int
    basis: str
    to_score: int = 0  # runs whose masks are to be scored on annotated sequences; that time is not estimated
    untrained: tuple[str, ...] = ()  # masks without training that are to be scored on them, such as "k-means"

    def wall_seconds(self, at_once: int) -> float:
        """With `at_once` rows training at a time."""
        return self.encode_seconds + self.train_seconds / max(1, min(at_once, self.runs))


def estimate(places: list[Place], threads: int, untrained: tuple[str, ...] = ()) -> Estimate:
    """What the places that are not done will cost on this machine, with `threads` CPU threads a row and an encoder.

    Args:
        untrained: passed on.
    """
    left, plans = to_run(places), [place.plan for place in places if place.plan]
    jobs, to_score = [place for place in left if not place.tested], sum(not place.scored for place in left)
    if not jobs:
        return Estimate(0, 0.0, 0.0, 0, 0, "every row is trained", to_score, untrained)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rates = finished_rates(places)
        measured: dict[str, dict[int, float]] = {}  # method -> MACs of a view -> seconds a MAC
        seconds, rows, basis = 0.0, [], []
        for place in jobs:
            rate = rates.get(_kind(place.plan))
            if rate is None:
                own = measured.setdefault(place.plan.config.method.name, {})
                rate = _alike(own, _macs(place.plan))
            if rate is None:
                rate = own[_macs(place.plan)] = measured_rate(place.plan)
                rows.append(place.row.name)
            seconds += work(place.plan, only_tested=place.trained) * rate
        if rows:
            basis.append(f"{STEPS} training steps on random tokens or frames of {', '.join(rows)}, scaled by MACs")
        if any(_kind(place.plan) in rates for place in jobs):
            basis.insert(0, "finished runs of the same T and cost")
        encode_seconds, feature_bytes = 0.0, 0
        for group in _by_backbone(plans):
            missing = estimate_features(group)["missing_bytes"]
            if missing:
                feature_bytes += missing
                encode_seconds += missing / _frame_bytes(group[0]) * seconds_per_frame(group[0])
        if feature_bytes:
            basis.append(f"{FRAMES} frames through the backbone, without decoding")
    finally:
        torch.set_num_threads(before)
    run_bytes = CHECKPOINT * sum(_parameters(place.plan) for place in jobs if not place.trained)
    told = "; ".join(basis)
    return Estimate(len(jobs), seconds, encode_seconds, feature_bytes, run_bytes, told, to_score, untrained)


def work(plan: Plan, only_tested: bool = False) -> float:
    """MACs of a whole training: forward and backward over every epoch, forward over every validation;
    or of one validation.
    """
    training, schedule = plan.config.training, plan.schedule
    a_clip = _macs(plan)
    validations = -(-training.epochs // training.validate_every)
    clips = (1 + BACKWARD) * training.epochs * schedule.train_steps() + validations * schedule.val_steps()
    clips = schedule.val_steps() if only_tested else clips
    return float(a_clip * clips * schedule.batch_size)


def finished_rates(places: list[Place]) -> dict[tuple, float]:
    """(T, MACs of a view) -> seconds a MAC, the mean over finished runs of the places."""
    found: dict[tuple, list[float]] = {}
    for place in places:
        # its seconds are those of a training in these views
        if place.tested and results_folder(place.plan) == place.folder:
            found.setdefault(_kind(place.plan), []).append(place.summary()["seconds"] / work(place.plan))
    return {kind: sum(rates) / len(rates) for kind, rates in found.items()}


def _alike(measured: dict[int, float], macs: int) -> float | None:
    """The rate of the nearest size within a factor of ALIKE; a small adapter spends its time on more than its MACs."""
    near = {max(other, macs) / max(1, min(other, macs)): rate for other, rate in measured.items()}
    return near[min(near)] if near and min(near) <= ALIKE else None


def measured_rate(plan: Plan) -> float:
    """Seconds a MAC of training steps on random features, or frames, of the plan's shapes."""
    config, generator = plan.config, torch.Generator().manual_seed(0)
    frames, width = config.sampling.frames, plan.joint_width
    size = min(2, config.training.batch_size) if plan.takes_frames else config.training.batch_size  # a ViT takes long
    heads = list(plan.manifest.heads.values())
    quota = config.training.clips_per_class or 2  # so that there are positives
    adapter, device = plan.method(), torch.device("cpu")
    if adapter.inputs == "frames":
        inputs = {"frames": torch.randint(256, (size, frames, plan.crop, plan.crop, 3), generator=generator).byte()}
    else:
        inputs = {
            "patches": torch.randn(size, frames, plan.patch_tokens, width, generator=generator).half(),
            "cls": torch.randn(size, frames, width, generator=generator).half(),
        }
    batch = inputs | {
        "labels": torch.stack([torch.arange(size) // quota % max(1, classes) for classes in heads], dim=1),
        "valid": torch.ones(size, dtype=torch.bool),
        "row": torch.arange(size),
    }
    optimiser, times = build_optimiser(adapter, config.training), []
    module = distribute(adapter, device)
    batches = [batch] * (1 + STEPS)

    def on_batch(*_):
        times.append(time.perf_counter())

    train_epoch(module, batches, optimiser, config.training, Progress(), len(batches), device, on_batch)
    return (times[-1] - times[0]) / STEPS / ((1 + BACKWARD) * _macs(plan) * size)


@torch.no_grad()
def seconds_per_frame(plan: Plan) -> float:
    """Of the plan's backbone on this machine's CPU; decoding comes on top, and goes on beside it."""
    encoder = build_backbone(plan.config.backbone.model_copy(update={"precision": "float32"}))  # what CPUs are good at
    pixels = torch.zeros(FRAMES, 3, plan.crop, plan.crop)
    encoder(pixels[:1])
    started = time.perf_counter()
    encoder(pixels)
    return (time.perf_counter() - started) / FRAMES


def text(found: Estimate, at_once: int) -> str:
    """The estimate in words."""
    whose = ([f"{found.to_score} runs"] if found.to_score else []) + list(found.untrained)
    scoring = f"the masks of {', '.join(whose)} are to be scored on annotated sequences; that time is not estimated"
    if not found.runs:
        return f"every row is trained; {scoring}" if whose else "nothing to do: every row is done"
    lines = [
        f"estimate, from measured speed; other machines, GPUs and what else runs here change it ({found.basis}):",
        f"  {found.runs} trainings of {found.train_seconds / found.runs:.0f} s on average, {at_once} at a time",
        f"  encoding {duration(found.encode_seconds)}, in all about {duration(found.wall_seconds(at_once))}",
        f"  disk: {_size(found.feature_bytes)} of features, {_size(found.run_bytes)} of runs",
        *([f"  {scoring}"] if whose else []),
    ]
    return "\n".join(lines)


def _kind(plan: Plan) -> tuple:
    return plan.config.sampling.frames, sum(plan.cost.macs.values())


def _by_backbone(plans: list[Plan]) -> list[list[Plan]]:
    groups: dict = {}
    for plan in plans:
        groups.setdefault(plan.config.backbone, []).append(plan)
    return list(groups.values())


def _macs(plan: Plan) -> int:
    """Of one view through the method."""
    return sum(plan.cost.macs.values())


def _parameters(plan: Plan) -> int:
    return sum(plan.cost.parameters.values())


def _frame_bytes(plan: Plan) -> int:
    a_token = 2 * plan.joint_width if plan.config.stream.storage == "float16" else plan.joint_width + 2
    return (1 + plan.patch_tokens) * a_token


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
