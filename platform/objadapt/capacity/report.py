"""A plan in words and as plain values: rates with their origin, hours by stage, disk, what is waited for,
what would help.
"""

import dataclasses
import math

from ..config import Experiment
from ..pipeline.automatic import place
from ..pipeline.placement import Nodes
from ..pipeline.placement_text import training_text
from ..pipeline.precision import precision
from .phases import Cluster, Phase, Rate, Workload, cache_bytes, from_cache, streaming


def report(work: Workload, cluster: Cluster, rates: dict[str, Rate], counted: str) -> tuple[str, dict]:
    """The whole plan as text and as JSON-able values.

    Args:
        counted: where the numbers of clips are from.

    Raises:
        InputError: as `capacity.streaming`.
    """
    stream, (extract, train) = streaming(work, cluster, rates), from_cache(work, cluster, rates)
    phases, disk = (stream, extract, train), cache_bytes(work, rates)
    cached = extract.hours + train.hours
    config, best = work.config, recommend(stream, extract, train, _fits(cluster, disk))
    lines = [
        f"{work.name}: {work.train_clips:,} training and {work.val_clips:,} validation clips ({counted}),"
        f" {config.training.epochs} epochs, {work.validated:,} clip views validated",
        f"cluster: {cluster.nodes} x {cluster.cpus} CPUs, {cluster.gpus} GPUs{_known(cluster)};"
        " its hardware is taken to be that of the rates",
        auto_placement(config, cluster),
        "",
        f"{'rate':<12} {'value':>12}  {'unit':<16} {'hardware':<40} source",
        *(
            f"{name:<12} {_short(rate.value):>12}  {rate.unit:<16} {rate.hardware:<40} {rate.source}"
            for name, rate in rates.items()
        ),
        "",
        f"{'hours':<12}" + "".join(f"{phase.name:>18}" for phase in phases),
        *_hours(phases),
        f"{'in all':<12}" + "".join(f"{phase.hours:>18.3g}" for phase in phases),
        f"{'waits for':<12}" + "".join(f"{phase.bottleneck:>18}" for phase in phases),
        "",
        f"streaming {stream.hours:.3g} h; from the cache {extract.hours:.3g} + {train.hours:.3g} = {cached:.3g} h,"
        f" of {config.stream.views} stored views a training clip in place of a new one an epoch",
        f"cache: {_short(rates['cache_bytes'].value)} bytes a clip view x {work.extracted:,} = {disk / 1e9:,.1f} GB"
        f"{_room(cluster, disk, config.stream.storage)}",
        *(
            f"settings, {phase.name}: {' '.join(f'{key}={one:g}' for key, one in phase.settings.items())}"
            for phase in phases
        ),
        f"advice: {best}",
    ]
    values = {
        "name": work.name,
        "clips": {"train": work.train_clips, "val": work.val_clips, "source": counted},
        "cluster": dataclasses.asdict(cluster),
        "rates": {name: dataclasses.asdict(rate) for name, rate in rates.items()},
        "phases": {phase.name: _values(phase) for phase in phases},
        "cache_bytes": disk,
        "disk_suffices": _fits(cluster, disk),
        "advice": best,
    }
    return "\n".join(lines), values


def auto_placement(config: Experiment, cluster: Cluster) -> str:
    """Where the config, as it is, would be placed on such a cluster: what jobs/train.py --dry-run says there."""
    there = [Nodes("node", cluster.nodes, cluster.cpus, cluster.gpus)]
    placed = place(config, there)
    backbone = config.backbone.model_copy(update={"precision": precision(config.backbone, placed, there)})
    return training_text(config.model_copy(update={"backbone": backbone}), placed, there)


def recommend(stream: Phase, extract: Phase, train: Phase, fits: bool | None) -> str:
    """The quicker way, and what it waits for, in one line."""
    cached = extract.hours + train.hours
    if cached >= stream.hours:
        return f"stream, as a cache would not pay for one training; {advice(stream)}"
    if fits is False:
        return f"stream, as the disk is too small for the cache, which would take {cached:.3g} h; {advice(stream)}"
    return f"use the cache; {advice(extract if extract.hours > train.hours else train)}"


def advice(phase: Phase) -> str:
    """What a phase waits for, and what would take that away."""
    loads, slowest = phase.loads(), phase.bottleneck
    if slowest in ("network", "to workers"):
        return f"{phase.name} waits for the network: a faster one, or decoders, encoders and workers on the same nodes"
    if slowest == "read":
        return f"{phase.name} waits for reading: faster storage, or stream.storage=int8 in place of float16"
    on = {stage.name: stage for stage in phase.stages}
    device = on[slowest].device if slowest in on else slowest.removesuffix("s")
    units = on[slowest].units if slowest in on else phase.capacity[device]
    if slowest == "train" and units < phase.capacity[device]:
        remedy = "stream.num_workers must divide training.batch_size, so a larger one"
        return f"{phase.name} waits for {units:g} training workers: {remedy}"
    shares = ", ".join(f"{name} {share:.0%}" for name, share in phase.busy(device).items())
    waits = f"{phase.name} waits for {device}s ({shares})"
    # stages of the same device are helped by more of it, too
    on_device = {f"{device}s", *(name for name, stage in on.items() if stage.device == device)}
    others = {name: seconds for name, seconds in loads.items() if name not in on_device}
    if not others:
        return f"{waits}: the more of them, the faster, in proportion"
    then = max(others, key=lambda name: others[name])
    more = math.ceil(units * (loads[slowest] / others[then] - 1))
    return f"{waits}: {more:,} more would bring it to {(others[then] + phase.start) / 3600:.3g} h, that of {then}"


def _hours(phases: tuple[Phase, ...]) -> list[str]:
    names = list(dict.fromkeys(name for phase in phases for name in phase.loads()))
    lines = []
    for name in names:
        cells = [phase.loads().get(name) for phase in phases]
        lines.append(
            f"{name:<12}" + "".join(f"{'-':>18}" if cell is None else f"{cell / 3600:>18.3g}" for cell in cells)
        )
    return lines


def _values(phase: Phase) -> dict:
    hours = {name: seconds / 3600 for name, seconds in phase.loads().items()}
    found = {"hours": phase.hours, "hours_by_stage": hours, "waits_for": phase.bottleneck}
    return found | {"settings": phase.settings, "advice": advice(phase)}


def _known(cluster: Cluster) -> str:
    network = f", network {cluster.network * 8 / 1e9:g} Gbit/s each" if cluster.network else ", network not looked at"
    return network + (f", {cluster.disk / 1e9:,.0f} GB of shared disk" if cluster.disk else "")


def _fits(cluster: Cluster, disk: float) -> bool | None:
    return None if cluster.disk is None else disk <= cluster.disk


def _room(cluster: Cluster, disk: float, storage: str) -> str:
    if cluster.disk is None:
        return " (give --disk-gb to see whether it fits)"
    there = f", of {cluster.disk / 1e9:,.1f} GB: "
    too_much = f"{(disk - cluster.disk) / 1e9:,.1f} GB too much"
    too_much += "; stream.storage=int8 takes half" if storage == "float16" else ""
    return there + ("it fits" if disk <= cluster.disk else too_much)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
