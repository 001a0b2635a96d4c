"""The frozen features of a plan's clips, batch by batch, from the cache, or encoded once and held.

Training clips are as a training saw them first, validation clips in their first test view.
"""

import dataclasses

import torch

from objadapt import job
from objadapt.errors import InputError
from objadapt.pipeline.schedule import Schedule
from objadapt.pipeline.source import Source
from objadapt.plan import Plan

ONE_VIEW = ["evaluation.temporal_clips=1", "evaluation.spatial_crops=1"]  # overrides of a config that is looked at so


def stored_clips(planned: Plan) -> tuple[Source, Schedule]:
    """A source and its schedule, whose two segments are training and validation clips.

    Raises:
        InputError: a method on frames, a cache that is not whole, or features that do not fit into the object store.
    """
    if planned.takes_frames:
        raise InputError("config: its method takes frames; this command looks at frozen features")

    from objadapt.pipeline.cache import open_cache
    from objadapt.pipeline.source import Stored
    from objadapt.training.trainer import hold_features

    config, cache, held = planned.config, None, None
    if config.stream.cache:
        cache = open_cache(config.stream.cache, planned.cache_key, dataclasses.replace(planned.contents, views=1))
    else:
        job.start_ray()
        held = hold_features(planned)
    schedule = dataclasses.replace(planned.schedule.for_holding(1), workers=1)
    clip_ids = planned.manifest.table["clip_id"].tolist()
    source = Stored(held, cache, clip_ids, planned.labels, config).source(schedule, 0, torch.device("cpu"))
    return source, schedule
