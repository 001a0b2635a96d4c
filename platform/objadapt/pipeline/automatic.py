"""What "auto" becomes: where encoders and training workers go on the nodes there are.

Encoders come first, since the backbone is most of the work, then training workers. A GPU for each, as far as they go;
where there is one GPU for both, they share it. Features that are encoded before the training (`stream.hold`,
`stream.cache`) leave all GPUs to the encoders, then all to the workers. What is set in the config is kept, and the rest
arranged around it. Without GPUs an encoder has a core to itself where nothing trains meanwhile.

A method that takes frames has the backbone in its training workers: no encoders run, and the workers have all GPUs.

What is chosen fits on the nodes part by part, with CPUs for a decode task: nothing that is started waits for ever.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from .. import config
from ..errors import InputError
from .placement import Nodes, limits, nodes

MOST = 2**20  # as many as there is room for
MOST_ON_CPUS = 16  # encoders on CPUs; each keeps the backbone in memory
MOST_SHARING = 4  # of the config's encoders on a GPU, that are tried; more where they are more


def within_reach() -> list[Nodes]:
    """The nodes that are placed by: all that an autoscaler may start, where its limits are known,
    else those there are.
    """
    return limits() or nodes()


def encoded_before(stream: config.Stream) -> bool:
    """Whether a training finds its features encoded, so that encoders and training workers never run at the same
    time.
    """
    return bool(stream.hold) or stream.cache is not None


def place(
    settings: config.Experiment,
    there: list[Nodes] | None = None,
    inputs: Literal["features", "frames"] = "features",
) -> config.Stream:
    """The stream's settings with a number in place of each "auto".

    Args:
        there: nodes to place on, by default those `within_reach`.
        inputs: of the method; "frames" leaves no encoders, whatever the config says of them.

    Raises:
        InputError: features are to be stored for a method that takes frames.
    """
    stream, batch = settings.stream, settings.training.batch_size
    if inputs == "frames":
        stream = _without_encoders(stream)
    there = within_reach() if there is None else there
    if "auto" not in (stream.num_workers, stream.trainer_gpus, stream.encoders, stream.encoder_gpus):
        return stream
    least, most = _workers(stream)
    if not stream.encoders:
        training = _best(stream, least, most, False, there)
        encoders, encoder_gpus = 0, 0.0
    elif encoded_before(stream):
        training = _best(stream, least, most, False, there)
        encoders, encoder_gpus = _encoders_alone(stream, there)
    else:
        training = _best(stream, least, 1 if stream.num_workers == "auto" else most, True, there)
        encoders, encoder_gpus = training.encoders, training.encoder_gpus
    trainer_gpus, workers = training.trainer_gpus, stream.num_workers
    if workers == 0 and stream.trainer_gpus == "auto":
        trainer_gpus = float(torch.cuda.is_available())  # of this process, which Ray counts for nothing
    if workers == "auto":
        alone = stream.encoders != 0 and not encoded_before(stream) or trainer_gpus < 1
        fitting = (n for n in range(1, max(1, training.workers) + 1) if batch % settings.training.unit(n) == 0)
        workers = 1 if alone else max(fitting)
    placed = {"num_workers": workers, "trainer_gpus": trainer_gpus, "encoders": encoders, "encoder_gpus": encoder_gpus}
    return stream.model_copy(update=placed)


def _without_encoders(stream: config.Stream) -> config.Stream:
    """For a method that takes frames."""
    for name, off in (("cache", "null"), ("hold", "false")):
        if getattr(stream, name):
            why = "is for features, and this method takes frames"
            raise InputError(f"stream.{name}: {why}; leave it out, or set it to {off}")
    return stream.model_copy(update={"encoders": 0, "encoder_gpus": 0.0})


def place_encoders(stream: config.Stream, there: list[Nodes] | None = None) -> config.Stream:
    """As `place`, for encoders that run alone: those that fill a cache, segment videos or encode sequences."""
    if "auto" not in (stream.encoders, stream.encoder_gpus):
        return stream
    encoders, encoder_gpus = _encoders_alone(stream, within_reach() if there is None else there)
    return stream.model_copy(update={"encoders": encoders, "encoder_gpus": encoder_gpus})


def _encoders_alone(stream: config.Stream, there: list[Nodes]) -> tuple[int, float]:
    """How many encoders, and what each has of a GPU, where nothing trains meanwhile.

    On CPUs an encoder computes on one thread, so there is one for each core that decoding leaves room on.
    """
    alone = _best(stream, 0, 0, True, there)
    if alone.encoder_gpus or stream.encoders != "auto":
        return alone.encoders, alone.encoder_gpus
    rooms = [
        (min(math.floor(node.cpus), math.floor((node.cpus - stream.decode_cpus) / stream.encoder_cpus + 1e-6)), node)
        for node in there
    ]
    fitting = sum(max(0, room) * (node.number if math.isfinite(node.number) else 1) for room, node in rooms)
    return max(alone.encoders, min(MOST_ON_CPUS, fitting)), 0.0


def _workers(stream: config.Stream) -> tuple[int, int]:
    """Least and most training workers that ask the cluster for room; with auto, as many as there may be."""
    if stream.num_workers == "auto":
        return 1, MOST
    return stream.worker_range if stream.num_workers else (0, 0)


@dataclass(frozen=True)
class _Arrangement:
    """Numbers of parts that have found room, what each has of a GPU, and how many GPUs have something to do."""

    encoders: int
    encoder_gpus: float
    workers: int
    trainer_gpus: float
    busy: int = 0

    @property
    def worth(self) -> tuple:
        """Greater is better: the encoders on GPUs, the workers too, GPUs at work,
        then little left over and few that share.
        """
        given = self.encoders * self.encoder_gpus + self.workers * self.trainer_gpus
        return (
            self.encoder_gpus > 0,
            self.trainer_gpus > 0,
            self.busy,
            round(given, 3),
            self.encoder_gpus + self.trainer_gpus,
        )


def gpus_of(there: list[Nodes]) -> int:
    """GPUs of all nodes; of a kind without a limit, one node counts."""
    return sum(math.floor(node.gpus) * (node.number if math.isfinite(node.number) else 1) for node in there)


def busy_gpus(placed: config.Stream, there: list[Nodes], encode: bool, train: bool) -> int:
    """GPUs of these nodes that have something to do where encoders, training workers or both are placed so."""
    least, most = _workers(placed) if train else (0, 0)
    return _best(placed, least, most, encode, there).busy


def _best(stream: config.Stream, least: int, most: int, encode: bool, there: list[Nodes]) -> _Arrangement:
    """The best of all ways to set what is auto.

    Where none fits, what is asked of CPUs, for `check_placement` to refuse.
    """
    found = []
    for trainer_gpus in _trainer_shares(stream, most, encode):
        for encoder_gpus in _encoder_shares(stream, trainer_gpus if most else 0.0, there) if encode else [0.0]:
            one = _arrange(stream, least, most, trainer_gpus, encode, encoder_gpus, there)
            if one is not None:
                found.append(one)
    if found:
        return max(found, key=lambda one: one.worth)  # the first of equals
    number = 1 if stream.encoders == "auto" else stream.number_of_encoders or 1
    gpus, trainer_gpus = (0.0 if one == "auto" else float(one) for one in (stream.encoder_gpus, stream.trainer_gpus))
    return _Arrangement(number, gpus, least, trainer_gpus)


def _trainer_shares(stream: config.Stream, most: int, encode: bool) -> list[float]:
    """GPUs of a training worker that are tried."""
    if stream.trainer_gpus != "auto":
        return [float(stream.trainer_gpus)]
    if most == 0:
        return [0.0]
    if most > 1 or not encode:
        return [1.0, 0.0]  # NCCL wants a GPU for each
    left = [] if stream.encoder_gpus == "auto" else [_share(1 - stream.gpus_of_encoder)]
    return [1.0, 0.5, *left, 0.0]


def _encoder_shares(stream: config.Stream, trainer_gpus: float, there: list[Nodes]) -> list[float]:
    """GPUs of an encoder that are tried: a whole one, what a training worker leaves of it, and where the config has
    more encoders than there are GPUs, even parts of both.
    """
    if stream.encoder_gpus != "auto":
        return [float(stream.encoder_gpus)]
    parts = 1
    if stream.encoders != "auto":
        parts = max(MOST_SHARING, math.ceil(stream.number_of_encoders / max(1, gpus_of(there))))
    whole = [1.0] if trainer_gpus >= 1 or not trainer_gpus else [1.0, 1 - trainer_gpus]
    return [share for number in range(1, parts + 1) for one in whole if (share := _share(one / number)) > 0] + [0.0]


def _share(gpu: float) -> float:
    """Rounded down to what Ray can count."""
    return max(0.0, math.floor(gpu * 1e4 + 1e-6) / 1e4)


class _Free:
    """What is still free of one node."""

    def __init__(self, node: Nodes):
        self.cpus, self.gpus = node.cpus, [1.0] * math.floor(node.gpus)

    def take(self, cpus: float, gpus: float) -> bool:
        """Give a part its place, if there is one; a share of a GPU is of one GPU."""
        fitting = [number for number, left in enumerate(self.gpus) if left >= min(gpus, 1) - 1e-9] if gpus else []
        needed = math.ceil(gpus)
        if self.cpus < cpus - 1e-6 or len(fitting) < needed:
            return False
        self.cpus -= cpus
        for number in fitting[:needed]:
            self.gpus[number] -= min(gpus, 1)
        return True

    def give_back(self, cpus: float, gpus: float) -> None:
        """Free the place of a part again: for counting, it does not matter which of the GPUs it had."""
        self.cpus += cpus
        taken = [number for number, left in enumerate(self.gpus) if left <= 1 - min(gpus, 1) + 1e-9]
        for number in taken[-math.ceil(gpus) :]:
            self.gpus[number] += min(gpus, 1)


def _arrange(  # noqa: PLR0913 -- the numbers that are tried
    stream: config.Stream,
    least: int,
    most: int,
    trainer_gpus: float,
    encode: bool,
    encoder_gpus: float,
    there: list[Nodes],
) -> _Arrangement | None:
    """Give each part its place; None where not all that is needed has one."""
    free = [_Free(node) for node in there for _ in range(node.number if math.isfinite(node.number) else 1)]
    free.sort(key=lambda node: len(node.gpus))  # who needs no GPU goes where there are few

    def put(number: int, cpus: float, gpus: float) -> list[_Free]:
        taken: list[_Free] = []
        for node in free:
            while len(taken) < number and node.take(cpus, gpus):
                taken.append(node)
        return taken

    def can_decode() -> bool:
        return any(node.cpus >= stream.decode_cpus - 1e-6 for node in free)

    if not encode:
        workers = put(most if trainer_gpus else least, stream.trainer_cpus, trainer_gpus)
        while not stream.encoders and not can_decode() and len(workers) > least:  # frames are decoded meanwhile
            workers.pop().give_back(stream.trainer_cpus, trainer_gpus)
        if not stream.encoders and not can_decode():
            return None
        busy = sum(left < 1 for node in free for left in node.gpus)
        return _Arrangement(0, 0.0, len(workers), trainer_gpus, busy) if len(workers) >= least else None
    any_number, wanted = stream.encoders == "auto", 1 if stream.encoders == "auto" else int(stream.encoders)
    encoders = put(wanted, stream.encoder_cpus, encoder_gpus) if encoder_gpus and trainer_gpus >= 1 else []
    # workers that wait for the stream must not take the GPUs that it waits for, however many of them start
    needed = most if trainer_gpus else least
    workers = put(needed, stream.trainer_cpus, trainer_gpus)
    encoders = encoders or put(wanted, stream.encoder_cpus, encoder_gpus)
    if len(workers) < needed or len(encoders) < wanted:
        return None
    if any_number and encoder_gpus:
        most_encoders = gpus_of(there) if stream.encoder_gpus == "auto" else MOST
        encoders += put(most_encoders - len(encoders), stream.encoder_cpus, encoder_gpus)
    while not can_decode():
        if not any_number or len(encoders) == 1:
            return None
        encoders.pop().give_back(stream.encoder_cpus, encoder_gpus)
    busy = sum(left < 1 for node in free for left in node.gpus)
    return _Arrangement(len(encoders), encoder_gpus, len(workers), trainer_gpus, busy)
