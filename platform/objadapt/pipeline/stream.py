"""Schedule -> decode tasks -> backbone actors -> batches, streamed by Ray Data with nothing on disk.

A method that takes frames gets `decoded_stream`, which ends behind the decode tasks. A block of the schedule is the
unit throughout: one decode task, one forward of the backbone, one turn of a training worker. Order is preserved, so Ray
Train's split deals the blocks to the workers in turn (schedule.py).
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
from ..backbone.features import encode_frames
from .decoding import DecodeBlock
from .metrics import count_encoded
from .positions import positions
from .schedule import Schedule


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

    def __init__(self, backbone: config.Backbone, cpus: float, gpus: float | str):
        torch.set_num_threads(math.ceil(cpus))
        # outside of Ray, such as in tests, nobody has placed it: then it has no GPU
        self.encoder = build_backbone(backbone).to("cuda" if gpus not in ("auto", 0) else "cpu")

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        patches, cls = encode_frames(self.encoder, torch.from_numpy(np.array(block.pop("frames"))))
        count_encoded(block["valid"])
        return {"patches": patches.numpy(), "cls": cls.numpy(), **block}


def decoded_stream(
    schedule: Schedule, clips: pd.DataFrame, settings: config.Experiment, size: int, flip: bool
) -> ray.data.Dataset:
    """Decode tasks alone: rows of frames uint8 [T, S, S, 3] and notices, in the order of the schedule."""
    configure_data_context()
    decode = DecodeBlock(ray.put(schedule), ray.put(clips), settings, size, flip)
    task = decode_task(settings.stream)
    asked = positions(schedule.blocks(), task)
    # Ray's stub asks for a function that takes blocks of every format
    return asked.map_batches(decode, batch_size=None, **task)  # pyright: ignore[reportArgumentType]  # stub


def decode_task(stream: config.Stream) -> dict:
    """Ray options of a decode task: tried again where its process or node dies, but not for ever, as Ray Data would."""
    return {"num_cpus": stream.decode_cpus, "max_retries": 10}


def feature_stream(
    schedule: Schedule, clips: pd.DataFrame, settings: config.Experiment, size: int, flip: bool
) -> ray.data.Dataset:
    """Decode tasks into the pool of backbone actors: rows of patches, cls and notices, in the order of the schedule."""
    stream = settings.stream
    decoded = decoded_stream(schedule, clips, settings, size, flip)
    arguments = (settings.backbone, stream.encoder_cpus, stream.encoder_gpus)
    return decoded.map_batches(Encode, fn_constructor_args=arguments, batch_size=None, **encoder_pool(stream))


def encoder_pool(stream: config.Stream) -> dict:
    """Ray Data options of the pool of backbone actors."""
    return {
        "compute": ray.data.ActorPoolStrategy(size=stream.number_of_encoders),
        "num_cpus": stream.encoder_cpus,
        "num_gpus": stream.encoder_gpus,
        "max_restarts": -1,  # as by default; said here, Ray Data does not run the decode step inside the actors
        "max_task_retries": 10,  # of a block that dies with its actor: not for ever, as by default
    }
