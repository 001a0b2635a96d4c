"""Schedule -> decode tasks -> backbone actors -> batches, streamed by Ray Data with nothing on disk.

A block of `Schedule.block` clips is the unit throughout: one decode task, one forward of the backbone, one turn of a
training worker. Order is preserved, so Ray Train's split deals the blocks to the workers in turn (schedule.py).
"""

import logging
import math
import warnings

import numpy as np
import pandas as pd
import ray
import torch

from .. import config
from ..backbone import build_backbone
from ..errors import InputError
from ..model.features import encode_frames
from .decoding import DecodeBlock
from .metrics import count_encoded
from .positions import positions
from .schedule import Schedule


def placement(stream: config.Stream, workers: int, encoders: int) -> pd.DataFrame:
    """What runs at the same time, one kind a row: (part, number, cpus, gpus), the last two of each one.

    Args:
        workers, encoders: how many training workers and backbone actors there are; with any encoder there is one decode
            task at the least.
    """
    decoding = int(encoders > 0)
    rows = [
        ("decode task", decoding, stream.decode_cpus, 0.0),
        ("encoder", encoders, stream.encoder_cpus, stream.encoder_gpus),
        ("training worker", workers, stream.trainer_cpus, stream.trainer_gpus),
    ]
    return pd.DataFrame(rows, columns=["part", "number", "cpus", "gpus"])


def check_placement(stream: config.Stream, workers: int, encoders: int) -> None:
    """Refuse resources that would leave a job waiting for ever; arguments as for `placement`.

    Raises:
        InputError: the cluster has fewer CPUs or GPUs than they need.
    """
    total, parts = ray.cluster_resources(), placement(stream, workers, encoders)
    for kind, column in (("CPU", "cpus"), ("GPU", "gpus")):
        need = (parts["number"] * parts[column]).sum()
        if need > total.get(kind, 0) + 1e-6:
            raise InputError(
                f"stream: {workers} training workers, {encoders} encoders and {int(encoders > 0)} decode task need {need:g} {kind}s, the"
                f" cluster has {total.get(kind, 0):g}; lower stream.num_workers, trainer_*, encoder_* or decode_cpus"
            )


def configure_data_context() -> ray.data.ExecutionOptions:
    """Deterministic order and quiet progress for this process's Ray Data; -> the same options for Ray Train."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # Ray 2.60 warns of task options without a name of their own (max_retries), and has no other way to give them
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # so that job.py can tell a full disk from a bug
    return context.execution_options


class Encode:
    """Backbone actor: frames uint8 [b, T, S, S, 3] -> patches float16 [b, T, N, J] and cls float16 [b, T, J]."""

    def __init__(self, backbone: config.Backbone, cpus: float, gpus: float):
        torch.set_num_threads(math.ceil(cpus))
        self.encoder = build_backbone(backbone).to("cuda" if gpus > 0 else "cpu")

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        patches, cls = encode_frames(self.encoder, torch.from_numpy(np.array(block.pop("frames"))))
        count_encoded(block["valid"])
        return {"patches": patches.numpy(), "cls": cls.numpy(), **block}


def decoded_stream(schedule: Schedule, clips: pd.DataFrame, settings: config.Experiment, size: int, flip: bool) -> ray.data.Dataset:
    """The decode-only part: rows of frames and notices, in the order of the schedule."""
    configure_data_context()
    decode = DecodeBlock(ray.put(schedule), ray.put(clips), settings, size, flip)
    task = decode_task(settings.stream)
    starts = range(0, len(schedule), schedule.block)
    return positions(starts, schedule.block, task).map_batches(decode, batch_size=None, **task)


def decode_task(stream: config.Stream) -> dict:
    """Ray options of a decode task: tried again where its process or node dies, but not for ever, as Ray Data would."""
    return {"num_cpus": stream.decode_cpus, "max_retries": 10}


def feature_stream(schedule: Schedule, clips: pd.DataFrame, settings: config.Experiment, size: int, flip: bool) -> ray.data.Dataset:
    """Decode tasks into the pool of backbone actors: rows of patches, cls and notices, in the order of the schedule."""
    stream = settings.stream
    decoded = decoded_stream(schedule, clips, settings, size, flip)
    arguments = (settings.backbone, stream.encoder_cpus, stream.encoder_gpus)
    return decoded.map_batches(Encode, fn_constructor_args=arguments, batch_size=None, **encoder_pool(stream))


def encoder_pool(stream: config.Stream) -> dict:
    """Ray Data options of the pool of backbone actors."""
    return {
        "compute": ray.data.ActorPoolStrategy(size=stream.encoders),
        "num_cpus": stream.encoder_cpus,
        "num_gpus": stream.encoder_gpus,
        "max_restarts": -1,  # as by default; said here, Ray Data does not run the decode step inside the actors
    }
