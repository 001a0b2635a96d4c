"""Where the parts of a job run: what each asks for, what the nodes of a cluster have room for,
and both side by side.
"""

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import ray

from .. import config
from ..config_file import read_yaml
from ..errors import InputError
from ..ray_private import resources_here

GPU_TYPE = "accelerator_type:"  # how a node's resources begin that name its GPUs
LAUNCHED = Path("~/ray_bootstrap_config.yaml")  # the launcher's file on the head node, which its autoscaler reads

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Nodes:
    """Some machines of one kind."""

    name: str  # address, or the kind's name
    number: int
    cpus: float  # of each, as the GPUs
    gpus: float
    object_store: float = 0.0  # GB
    gpu: str = ""  # what its GPUs are called, where that is known

    def room(self, cpus: float, gpus: float) -> float:
        """How many parts that ask for so much fit on all of them; a part with less than a GPU lies on one."""
        by_cpu = math.floor(self.cpus / cpus + 1e-6)
        by_gpu = math.inf
        if gpus:
            by_gpu = math.floor(self.gpus) * math.floor(1 / gpus + 1e-6) if gpus < 1 else math.floor(self.gpus / gpus)
        each = min(by_cpu, by_gpu)
        return self.number * each if each else 0  # an autoscaler may know no limit


def placement(stream: config.Stream, workers: int, encoders: int, decode_tasks: int = 1) -> pd.DataFrame:
    """What runs at the same time, one kind a row: (part, number, cpus, gpus), the last two of each one.

    Args:
        workers, encoders: how many training workers and backbone actors there are.
        decode_tasks: how many there are at the least; 0 where clips are not decoded, since their features are stored.

    What is still "auto" asks for no GPU yet.
    """
    encoder_gpus, trainer_gpus = (
        0.0 if gpus == "auto" else gpus for gpus in (stream.encoder_gpus, stream.trainer_gpus)
    )
    rows = [
        ("decode task", decode_tasks, stream.decode_cpus, 0.0),
        ("encoder", encoders, stream.encoder_cpus, encoder_gpus),
        ("training worker", workers, stream.trainer_cpus, trainer_gpus),
    ]
    return pd.DataFrame(rows, columns=["part", "number", "cpus", "gpus"])


def check_placement(stream: config.Stream, workers: int, encoders: int, decode_tasks: int = 1) -> None:
    """Refuse resources that would leave a job waiting for ever; arguments as for `placement`.

    Raises:
        InputError: what is lacking, and what to lower.
    """
    parts = placement(stream, workers, encoders, decode_tasks)

    def lacks(there: list[Nodes]) -> str | None:
        problem = lacking(parts, there)
        return problem and f"stream: {problem}; lower stream.num_workers, trainer_*, encoder* or decode_cpus"

    refuse_or_wait(lacks)


def starves(stream: config.Stream, there: list[Nodes]) -> str | None:
    """Why a stream would wait for ever where its workers may be as many as there is room for: they start first, and may
    take the room of the encoders and decode tasks that they then wait for. None where those that fit leave enough.
    """
    (least, most), encoders = stream.worker_range, stream.number_of_encoders
    fitting = sum(node.room(stream.trainer_cpus, stream.gpus_of_trainer) for node in there)
    starting = int(min(most, fitting))
    if starting <= least or not (problem := lacking(placement(stream, starting, encoders), there)):
        return None
    while lacking(placement(stream, starting, encoders), there) and starting > least:
        starting -= 1
    fewer = f"{least}-{starting}" if starting > least else least
    stored = ", stream.hold or stream.cache" if stream.encoders else ""  # frames can be neither held nor cached
    return f"stream.num_workers={stream.num_workers}: {problem}, and workers start first; use {fewer}{stored}"


def refuse_or_wait(lacks: Callable[[list[Nodes]], str | None]) -> None:
    """Refuse what the nodes that are there lack something for, unless the cluster's autoscaler may start enough others.

    On Kubernetes, whose limits are not known here, the job waits for them. Whoever waits says so.

    Args:
        lacks: what is wrong with these nodes, or None.

    Raises:
        InputError: what it says.
    """
    if not (problem := lacks(nodes())):
        return
    waiting = autoscaled()
    if waiting and (later := limits()):
        never = lacks(later)
        waiting, problem = not never, never or problem
    if not waiting:
        raise InputError(problem)
    logger.warning("waiting for the nodes that the autoscaler may start: %s", problem)


def connected() -> bool:
    """Whether a cluster is named that this process has not started."""
    return "RAY_ADDRESS" in os.environ or "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # the latter: a submitted job


def autoscaled() -> bool:
    """Whether nodes may join the cluster: it is on Kubernetes, or the launcher's file lies here."""
    return connected() and ("KUBERNETES_SERVICE_HOST" in os.environ or LAUNCHED.expanduser().exists())


def limits() -> list[Nodes] | None:
    """All nodes that an autoscaler may start; None where there is none, or where its limits are not known here."""
    launched = LAUNCHED.expanduser()
    return nodes_to_come(launched) if connected() and launched.exists() else None


def nodes() -> list[Nodes]:
    """The nodes that are alive; where no Ray runs yet, this machine as a Ray that is started on it will count it."""
    if ray.is_initialized():
        alive = [(node["NodeManagerAddress"], node["Resources"]) for node in ray.nodes() if node["Alive"]]
        return [_node(address, 1, has) for address, has in alive]
    if connected():
        raise RuntimeError("a cluster is named, and its nodes are asked for before Ray is connected to it")
    return [_node("this machine", 1, resources_here())]


def _node(name: str, number: int, has: dict[str, float]) -> Nodes:
    """Of the resources of a node, as Ray names them."""
    called = [key.removeprefix(GPU_TYPE) for key in has if key.startswith(GPU_TYPE)]
    store = has.get("object_store_memory", 0) / 1e9
    return Nodes(name, number, has.get("CPU", 0), has.get("GPU", 0), store, called[0] if called else "")


def nodes_to_come(launched: Path) -> list[Nodes] | None:
    """The node types of a cluster launcher's file, as many of each as the autoscaler may start; None where it does not
    say what they have, as that of own machines.
    """
    settings: Any = read_yaml(launched, str(launched))
    most, found = settings.get("max_workers", math.inf), []
    for name, kind in settings.get("available_node_types", {}).items():
        if not (has := kind.get("resources")):
            return None
        number = 1 if name == settings.get("head_node_type") else min(kind.get("max_workers", most), most)
        found.append(_node(name, number, has))
    return found


def lacking(parts: pd.DataFrame, there: list[Nodes]) -> str | None:
    """What keeps parts from running at the same time on these nodes.

    None where nothing does that can be told by counting.
    """
    asked = ", ".join(
        f"{number} {part}s" for part, number in zip(parts["part"], parts["number"], strict=True) if number
    )
    for kind, column in (("CPU", "cpus"), ("GPU", "gpus")):
        need, has = (parts["number"] * parts[column]).sum(), sum(node.number * getattr(node, column) for node in there)
        if need > has + 1e-6:  # pyright: ignore[reportGeneralTypeIssues]  # pandas: of a column, a number
            return f"{asked} need {need:g} {kind}s, the cluster has {has:g}"
    for part, number, cpus, gpus in parts.itertuples(index=False):
        room = sum(node.room(cpus, gpus) for node in there)
        if number > room:
            return f"{number} {part}s of {cpus:g} CPUs and {gpus:g} GPUs each, the nodes have room for {room:g}"
    return None


def placement_lines(stream: config.Stream) -> str:
    """What a training asks of the cluster, part by part, beside what each node has."""
    least, most = stream.worker_range if stream.num_workers else (0, 0)
    lines = ["placement (more decode tasks run wherever CPUs are left)"]
    for part, number, cpus, gpus in placement(stream, most, *_streamed(stream)).itertuples(index=False):
        shown = number if part != "training worker" or least == most else stream.num_workers
        lines.append(f"  {shown:>5} {part:<16} {cpus:>5g} CPUs {gpus:>5g} GPUs each")
    lines.append("nodes")
    for node in nodes():
        lines.append(
            f"  {node.name:<22} {node.cpus:>5g} CPUs {node.gpus:>5g} GPUs {node.object_store:>7.1f} GB object store"
        )
    return "\n".join(lines)


def check_training(stream: config.Stream) -> None:
    """`check_placement` of a training by this config, with the fewest workers that it may have. Features that are held
    are encoded before the workers start.
    """
    workers = stream.worker_range[0] if stream.num_workers else 0
    if stream.hold and not stream.cache:
        check_placement(stream, 0, stream.number_of_encoders)
        check_placement(stream, workers, 0, 0)
    else:
        check_placement(stream, workers, *_streamed(stream))


def _streamed(stream: config.Stream) -> tuple[int, int]:
    """Encoders and least decode tasks of a training: none of them where it reads a cache."""
    return (0, 0) if stream.cache else (stream.number_of_encoders, 1)
