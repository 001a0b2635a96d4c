"""The placement of a job in one line, with a warning for each GPU that it leaves idle."""

from .. import config
from .automatic import busy_gpus, encoded_before, gpus_of, within_reach
from .placement import Nodes, autoscaled, limits, nodes, starves

SHORT = {"bfloat16": "bf16"}


def training_text(settings: config.Experiment, placed: config.Stream, there: list[Nodes] | None = None) -> str:
    """`placement  2 encoders on 1 GPU in bf16, 1 training worker on 1 GPU`, and warnings in lines of their own.

    Args:
        settings: with the precision that the backbone computes in; its stream as it was asked for.
        placed: that stream, placed.
        there: nodes that it is placed on; by default those of the cluster.
    """
    asked, precision = settings.stream, settings.backbone.precision
    encoders, workers = _encoders(placed, precision), _workers(placed)
    together = [(True, True)]
    if asked.cache:
        line, together = f"{workers}, features from the cache in {_short(precision)}", [(False, True)]
    elif not placed.encoders:
        line, together = f"no encoders, the method takes frames; {workers} in {_short(precision)}", [(False, True)]
    elif asked.hold:
        line, together = f"first {encoders}, then {workers}", [(True, False), (False, True)]
    else:
        line = f"{encoders}, {workers}"
    batch = settings.training.batch_size
    warnings = [text for phase in together for text in _warnings(asked, placed, *phase, batch, there)]
    if not encoded_before(asked) and (problem := starves(placed, nodes() if there is None else there)):
        warnings.append(f"warning    {problem}")
    return "\n".join([f"placement  {line}", *warnings])


def encoding_text(asked: config.Stream, placed: config.Stream, precision: str) -> str:
    """The same of encoders that run alone."""
    return "\n".join([f"placement  {_encoders(placed, precision)}", *_warnings(asked, placed, True, False)])


def share_text(gpus: float) -> str:
    """`1 GPU`, `0.5 GPU`, `3.2 GPUs` or `CPUs`."""
    return f"{gpus:.4g} GPU{'s' if gpus > 1 else ''}" if gpus else "CPUs"


def _short(precision: str) -> str:
    return SHORT.get(precision, precision)


def _encoders(placed: config.Stream, precision: str) -> str:
    number, gpus = placed.number_of_encoders, placed.gpus_of_encoder
    return f"{number} encoder{'s' * (number > 1)} on {share_text(number * gpus)} in {_short(precision)}"


def _workers(placed: config.Stream) -> str:
    if placed.num_workers == 0:
        return f"training in this process on {'its GPU' if placed.trainer_gpus else 'CPUs'}"
    (least, most), each = placed.worker_range, placed.gpus_of_trainer
    gpus = share_text(each * most) if least == most else f"{share_text(each)} each" if each else "CPUs"
    return f"{placed.num_workers} training worker{'s' * (most > 1)} on {gpus}"


def _warnings(
    asked: config.Stream,
    placed: config.Stream,
    encode: bool,
    train: bool,
    batch: int = 0,
    given: list[Nodes] | None = None,
) -> list[str]:
    """A line where GPUs have nothing to do while there is encoding, training or both."""
    alive = nodes() if given is None else given
    there = gpus_of(alive)
    if given is None and not there and autoscaled() and limits() is None:
        what = "no GPU is there yet, and how many the autoscaler may start is not known here; where it starts some, set"
        return [f"warning    {what} stream.encoders, encoder_gpus, trainer_gpus and backbone.precision"]
    here = train and not encode and placed.num_workers == 0 and placed.trainer_gpus  # in this process
    idle = there - (1 if here else busy_gpus(placed, within_reach() if given is None else given, encode, train))
    if idle <= 0:
        return []
    meanwhile = "" if encode and train or not placed.encoders else " while encoding" if encode else " while training"
    why = _why(asked, placed, encode, train, batch, alive)
    return [
        f"warning    {idle} of {there} GPU{'s' * (there > 1)} {'is' if idle == 1 else 'are'} left idle{meanwhile}:"
        f" {why}"
    ]


def _why(asked: config.Stream, placed: config.Stream, encode: bool, train: bool, batch: int, there: list[Nodes]) -> str:
    fields = [*(["encoders", "encoder_gpus"] if encode else []), *(["num_workers", "trainer_gpus"] if train else [])]
    if given := [f"stream.{name}={getattr(asked, name)}" for name in fields if getattr(asked, name) != "auto"]:
        return f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} set; auto uses what it can"
    if not encode and (each := placed.gpus_of_trainer):
        workers, room = placed.num_workers, sum(node.room(placed.trainer_cpus, each) for node in there)
        if isinstance(workers, int) and room > workers:
            return f"training.batch_size={batch} is shared evenly by {workers} workers, and not by more"
    return "their nodes have too few CPUs; lower stream.encoder_cpus, trainer_cpus or decode_cpus"
