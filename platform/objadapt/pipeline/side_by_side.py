"""Trainings side by side, each in one process (rows of tables, trials of sweeps): what each has of the GPUs."""

import math

from ..config import Stream
from ..errors import InputError
from .automatic import gpus_of, within_reach
from .placement import Nodes
from .placement_text import share_text

MOST_SHARING = 4  # trainings on a GPU, where nobody says how many: each keeps its batches and activations there


def gpus_each(
    option: str, given: float | str, stream: Stream, cpus: float, number: int | None, there: list[Nodes] | None = None
) -> tuple[float, str]:
    """GPUs of each training, and in words where the number comes from.

    Args:
        option: name of the command-line option, for messages; `given` is its value: a number, or auto for what the
            config sets as `stream.trainer_gpus`, or else an even share of the GPUs there are.
        cpus: of each training.
        number: of trainings at once; None: as many as fit.
        there: nodes to share out, by default those within reach.

    Raises:
        InputError: no share of a GPU, and no number of whole ones.
    """
    if not isinstance(given, str):  # else auto
        if not 0 <= given < math.inf or given > 1 and given % 1:
            raise InputError(
                f"{option}: {given:g} is no share of one GPU, and no number of whole ones; 0.25 puts four on each"
            )
        if stream.trainer_gpus not in ("auto", given):
            return given, f"by {option}, in place of stream.trainer_gpus={stream.trainer_gpus:g}"
        return given, f"by {option}"
    if stream.trainer_gpus != "auto":
        return stream.gpus_of_trainer, "by stream.trainer_gpus"
    there = within_reach() if there is None else there
    gpus, fitting = gpus_of(there), sum(node.room(cpus, 0) for node in there)
    wanted = max(1, min(number or fitting, fitting)) if math.isfinite(fitting) else number or 1
    shares = [math.floor(1e4 / sharing) / 1e4 for sharing in range(1, MOST_SHARING + 1)]
    usable = [share for share in shares if sum(node.room(cpus, share) for node in there)]
    if not usable:
        return 0.0, "no node with a GPU has the CPUs of one" if gpus else "no GPUs are there"
    enough = [share for share in usable if sum(node.room(cpus, share) for node in there) >= wanted]
    return max(enough, default=min(usable)), f"an even share of {gpus} GPU{'s' * (gpus > 1)}"


def side_by_side_text(  # noqa: PLR0913 -- what one line says
    what: str, number: int, gpus: float, why: str, there: list[Nodes] | None = None, asked: int | None = None
) -> str:
    """`placement  8 rows at a time, each on 0.25 GPU (an even share of 2 GPUs)`,
    and a warning where a GPU is left idle, or where there is no room for as many as were asked for.

    Args:
        what: "row" or "trial".
        number: of trainings at once.
        gpus, why: of `gpus_each`.
        asked: how many the user wants at once; None: as many as there is room for.
    """
    total = gpus_of(within_reach() if there is None else there)
    lines = [f"placement  {number} {what}{'s' * (number > 1)} at a time, each on {share_text(gpus)} ({why})"]
    if asked and asked > number:
        lines.append(
            f"warning    --concurrent {asked}: there is room for {number}; a smaller --cpus-per-{what} makes more"
        )
    busy = math.ceil(number / math.floor(1 / gpus + 1e-6)) if 0 < gpus < 1 else number * gpus
    if total > busy:
        verb = "is" if total - busy == 1 else "are"
        lines.append(
            f"warning    {total - busy:g} of {total} GPU{'s' * (total > 1)} {verb} left idle by {number}"
            f" {what}{'s' * (number > 1)} at a time"
        )
    return "\n".join(lines)
