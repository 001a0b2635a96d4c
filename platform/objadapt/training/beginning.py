"""What a method sets from the data before its first step, from a frame of each of the first training clips."""

import math
from collections.abc import Iterator
from itertools import chain, islice

import numpy as np
import torch

from ..errors import InputError
from ..methods.distributed import workers
from ..methods.method import Method
from ..pipeline.source import Batch
from .loop import merge_objects


def begin(method: Method, batches: Iterator[Batch], batch_size: int, seed: int) -> Iterator[Batch]:
    """Let the method see its first clips; -> all batches, those that were looked at among them.

    The first batches are those of the schedule, and a clip's frame is drawn by its row: the sample is the same for any
    number of workers, and for streamed, held and cached features. What was looked at stays in memory until it is
    trained on: the features of `first_clips` clips, over all workers together.

    Args:
        batches: this worker's batches of the first epoch, from its first step on.
        batch_size: of all workers together.

    Raises:
        InputError: none of these clips could be read.
    """
    first = list(islice(batches, math.ceil(method.first_clips / batch_size)))
    mine = {}
    for batch in first:
        for row, view, valid, patches in zip(
            batch["row"].tolist(), batch["view"].tolist(), batch["valid"], batch["patches"], strict=True
        ):
            if valid:
                mine[row, view] = patches[np.random.default_rng([seed, row, view]).integers(len(patches))]
    everyone = {key: tokens for one in merge_objects(mine) for key, tokens in one.items()}  # pyright: ignore[reportAttributeAccessIssue]
    if not everyone:
        raise InputError(f"data.root: none of the first {len(first) * batch_size} training clips could be read")
    method.begin(torch.stack([everyone[key] for key in sorted(everyone)]))
    agree(method)
    return chain(first, batches)


def agree(method: Method) -> None:
    """Every worker gets the first one's weights: k-means on another processor may round otherwise."""
    rank, world = workers()
    if world == 1:
        return
    state = {name: value.cpu() for name, value in method.state_dict().items()} if rank == 0 else None
    method.load_state_dict(merge_objects(state)[0])  # pyright: ignore[reportArgumentType]  # of rank 0
