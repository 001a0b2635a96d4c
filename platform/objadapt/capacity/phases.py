"""How long a training takes on a cluster, how much disk, and what it waits for: arithmetic on rates that were measured.

A phase (streaming; or extraction, then training from the cache) is a pipeline whose stages run at the same time, so it
lasts as long as its slowest stage, or as the cores or GPUs that several of its stages share. Speeds are taken to add up
over cores, GPUs and workers: what is lost in between (stragglers, small batches a worker) is not in here.
"""

import math
from dataclasses import dataclass

from ..config import Experiment
from ..errors import InputError

BACKWARD = 2  # a training step costs its forward, and twice that for the gradients
CORE, GPU, NODE = "core", "GPU", "node"
UNITS = {
    "decode": ("clips/s a core",),
    "encode": ("clips/s a GPU", "clips/s a core"),
    "train": ("clips/s a GPU", "clips/s a core"),
    "cache_bytes": ("bytes a clip",),  # of features, a clip view
    "read": ("bytes/s a node",),  # from the cache
    "frame_bytes": ("bytes a clip",),  # of decoded, cropped frames, from a decoder to an encoder
    "video_bytes": ("bytes a clip",),  # of the file
    "start": ("s",),  # until the first clip of a phase, and after its last
}
NETWORK = ("frame_bytes", "video_bytes")  # asked for where the network is to be planned, too


@dataclass(frozen=True)
class Rate:
    """A number with where it comes from."""

    value: float
    unit: str  # one of UNITS[name]
    hardware: str
    source: str


@dataclass(frozen=True)
class Cluster:
    """Nodes of one kind.

    `disk` bytes are free on storage that all share, `network` bytes/s reach a node. None: not known.
    """

    nodes: int
    cpus: int  # a node
    gpus: int  # a node
    disk: float | None = None
    network: float | None = None


@dataclass(frozen=True)
class Workload:
    """What a config asks for, in clip views."""

    name: str
    train_clips: int  # of `whole`, those that `data.holdout` and `data.fraction` leave
    val_clips: int
    config: Experiment
    whole: tuple[int, int] | None = None  # training and validation clips of the data set; None: they are all used

    @property
    def validated(self) -> int:
        """Views of all validations."""
        training, evaluation = self.config.training, self.config.evaluation
        times = -(-training.epochs // training.validate_every)
        return times * self.val_clips * evaluation.temporal_clips * evaluation.spatial_crops

    @property
    def trained_views(self) -> int:
        """Of training clips, over all epochs."""
        return self.config.training.epochs * self.train_clips * self.config.training.repeats

    @property
    def streamed(self) -> int:
        """Decoded and encoded, where every epoch does so anew."""
        return self.trained_views + self.validated

    @property
    def extracted(self) -> int:
        """Decoded, encoded and stored once for a cache, which is of the whole data set."""
        evaluation = self.config.evaluation
        train, val = self.whole or (self.train_clips, self.val_clips)
        tested = val + (train if self.config.data.holdout else 0)  # any training clip may be held out
        return train * self.config.stream.views + tested * evaluation.temporal_clips * evaluation.spatial_crops

    @property
    def trained(self) -> float:
        """Training clips, a validated view counted as what its forward costs."""
        return self.trained_views + self.validated / (1 + BACKWARD)

    def missing(self, rates: dict[str, Rate], cluster: Cluster) -> list[str]:
        """Rates that are needed and not there, each with its unit; one of another kind of device is not there."""
        needed = {
            name: UNITS[name][0] for name in ("decode", "cache_bytes", "read", *(NETWORK if cluster.network else ()))
        }
        needed |= {name: f"clips/s a {self.device(name, cluster)}" for name in ("encode", "train")}
        return [f"{name} ({unit})" for name, unit in needed.items() if name not in rates or rates[name].unit != unit]

    def device(self, stage: str, cluster: Cluster) -> str:
        """What the config lets the backbone ("encode") or the adapter ("train") run on.

        With auto it is GPUs, where there are some.
        """
        stream = self.config.stream
        gpus = stream.encoder_gpus if stage == "encode" else stream.trainer_gpus
        return GPU if (cluster.gpus if gpus == "auto" else gpus) > 0 else CORE


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline."""

    name: str
    seconds: float  # that one unit is busy with all clips
    device: str  # what a unit is
    units: float  # as many at once, at the most


@dataclass(frozen=True)
class Phase:
    """Stages that run at the same time on `capacity` cores, GPUs and nodes,
    with the config values that place them so.
    """

    name: str
    stages: tuple[Stage, ...]
    capacity: dict[str, float]
    settings: dict[str, float]
    start: float  # s

    def loads(self) -> dict[str, float]:
        """Seconds that each stage takes if it alone is waited for, and each device that several stages share."""
        found = {stage.name: stage.seconds / stage.units for stage in self.stages}
        for device, units in self.capacity.items():
            sharing = [stage for stage in self.stages if stage.device == device]
            if len(sharing) > 1 and device != NODE:  # a node reads and sends at the same time
                found[f"{device}s"] = sum(stage.seconds for stage in sharing) / units
        return found

    @property
    def bottleneck(self) -> str:
        """The stage, "cores" or "GPUs", that the phase waits for."""
        loads = self.loads()
        return max(loads, key=lambda name: loads[name])

    @property
    def hours(self) -> float:
        """Wall time."""
        return (max(self.loads().values()) + self.start) / 3600

    def busy(self, device: str) -> dict[str, float]:
        """Stage -> its share of the work on cores or GPUs."""
        sharing = {stage.name: stage.seconds for stage in self.stages if stage.device == device}
        return {name: seconds / sum(sharing.values()) for name, seconds in sharing.items()}


def streaming(work: Workload, cluster: Cluster, rates: dict[str, Rate]) -> Phase:
    """Decode, encode and train every epoch anew."""
    return _placed(
        "streaming", work, cluster, rates, {"decode": work.streamed, "encode": work.streamed, "train": work.trained}
    )


def from_cache(work: Workload, cluster: Cluster, rates: dict[str, Rate]) -> tuple[Phase, Phase]:
    """Extract once; then train on what lies on disk."""
    first = _placed("extract", work, cluster, rates, {"decode": work.extracted, "encode": work.extracted})
    return first, _placed("train from cache", work, cluster, rates, {"train": work.trained})


def cache_bytes(work: Workload, rates: dict[str, Rate]) -> float:
    """Disk that a cache takes."""
    return work.extracted * rates["cache_bytes"].value


def _placed(name: str, work: Workload, cluster: Cluster, rates: dict[str, Rate], clips: dict[str, float]) -> Phase:
    """The placement that fills the cluster best: the fewest training workers of those that end first.

    Raises:
        InputError: rates are missing, or the cluster has no place for an encoder, a worker and a decoder.
    """
    missing = work.missing(rates, cluster)
    if missing:
        remedy = "give them by --rates FILE or --rate NAME=VALUE, or measure them by --measure"
        raise InputError(f"rates: {', '.join(missing)} missing; {remedy}")
    phases = [
        phase
        for workers in (_divisors(work.config.training.batch_size) if "train" in clips else [0])
        for shared in (False, True)
        if (phase := _phase(name, work, cluster, rates, clips, workers, shared))
    ]
    if not phases:
        raise InputError(
            f"--cpus, --gpus: {cluster.nodes} nodes of {cluster.cpus} CPUs and {cluster.gpus} GPUs have no place for an"
            " encoder, a training worker and a decoder as stream.encoder_*, trainer_* and decode_cpus ask for;"
            " add some, or"
            " plan with stream.encoder_gpus=0 stream.trainer_gpus=0"
        )
    return min(phases, key=lambda phase: phase.hours)


def _phase(  # noqa: PLR0913 -- what one placement is computed from
    name: str,
    work: Workload,
    cluster: Cluster,
    rates: dict[str, Rate],
    clips: dict[str, float],
    workers: int,
    shared: bool,
) -> Phase | None:
    """One way to place the stages; None: it does not fit.

    Args:
        clips: stage -> clips that pass it.
        workers: training workers, each on a GPU, or a core with one thread.
        shared: the one training worker has a GPU together with an encoder; several need one each (NCCL).
    """
    stream, gpus, cores = work.config.stream, cluster.nodes * cluster.gpus, float(cluster.nodes * cluster.cpus)
    device = {stage: CORE if stage == "decode" else work.device(stage, cluster) for stage in clips}
    encode, train = device.get("encode"), device.get("train")
    trainer_gpus = 0.5 if stream.trainer_gpus == "auto" else stream.trainer_gpus  # where it shares a GPU
    if shared and not (encode == train == GPU and workers == 1 and trainer_gpus < 1):
        return None
    apart = workers if train == GPU and not shared else 0  # GPUs that no encoder has
    encoders = {GPU: gpus - apart, CORE: int(cores), None: 0}[encode]
    # who works on a GPU also occupies the cores that it asks for; those who work on cores share what is left
    at_least = (stream.decode_cpus if "decode" in clips else 0) if train != CORE else workers
    cores -= workers * stream.trainer_cpus if train == GPU else 0
    if encode == GPU:
        encoders = min(encoders, max(0, math.floor((cores - at_least) / stream.encoder_cpus + 1e-6)))
        cores -= encoders * stream.encoder_cpus
    if apart > gpus or cores < at_least or (encode and encoders < 1):
        return None
    units = {"decode": cores, "encode": encoders, "train": workers}
    stages = [Stage(stage, count / rates[stage].value, device[stage], units[stage]) for stage, count in clips.items()]
    settings = {}
    if encode:
        settings |= {"stream.encoders": encoders}
        share = round(1 - trainer_gpus, 3) if shared else 1
        settings |= {"stream.encoder_gpus": share} if encode == GPU else {"stream.encoder_cpus": 0.25}
    if train:
        settings |= {"stream.num_workers": workers}
        share = trainer_gpus if shared else 1
        settings |= {"stream.trainer_gpus": share} if train == GPU else {"stream.trainer_cpus": 0.5}
    capacity = {CORE: cores, GPU: gpus, NODE: cluster.nodes}
    start = rates["start"].value if "start" in rates else 0.0
    return Phase(name, tuple(stages + _traffic(name, work, cluster, rates, workers)), capacity, settings, start)


def _traffic(name: str, work: Workload, cluster: Cluster, rates: dict[str, Rate], workers: int) -> list[Stage]:
    """Reading from the cache, and what reaches nodes over the network.

    A thread of each worker reads ahead: beside a GPU's steps, but on the same cores as steps on cores.

    Network: at the most, as though neighbouring steps met on a node by chance alone. What training workers read or are
    sent goes to no more nodes than there are workers.
    """
    features = rates["cache_bytes"].value
    receivers = min(cluster.nodes, workers)
    if name == "train from cache":
        read = features * (work.trained_views + work.validated)
        arriving = [Stage("network", read / cluster.network, NODE, receivers)] if cluster.network else []
        on = CORE if work.device("train", cluster) == CORE else NODE
        return [Stage("read", read / rates["read"].value, on, receivers), *arriving]
    if not cluster.network:
        return []
    clips, elsewhere = (work.extracted if name == "extract" else work.streamed), 1 - 1 / cluster.nodes
    moved = rates["video_bytes"].value + elsewhere * rates["frame_bytes"].value
    if name == "extract":
        return [Stage("network", clips * (moved + features) / cluster.network, NODE, cluster.nodes)]
    moved += elsewhere * features
    sent = Stage("to workers", clips * elsewhere * features / cluster.network, NODE, receivers)
    return [Stage("network", clips * moved / cluster.network, NODE, cluster.nodes), sent]


def _divisors(number: int) -> list[int]:
    return [one for one in range(1, number + 1) if number % one == 0]
