"""A decode task: a block of the schedule -> cropped frames. Imports no backbone, since every decode process pays for it."""

from functools import lru_cache

import numpy as np
import pandas as pd
import ray

from .. import config
from ..data.clip import read_clip
from ..data.probe import DecodeError
from ..data.transforms import test_transform, train_transform
from .quarantine import DECODERS, REASON_BYTES, encode_reason


class DecodeBlock:
    """Positions of the schedule -> decoded, cropped frames uint8 [b, T, S, S, 3], or a quarantine reason in their place."""

    def __init__(self, schedule: ray.ObjectRef, clips: ray.ObjectRef, settings: config.Experiment, size: int, flip: bool):
        self.schedule, self.clips = schedule, clips
        self.settings, self.size, self.flip = settings, size, flip

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows, views, training = fetch(self.schedule).locate(np.asarray(block["id"]))
        clips = fetch(self.clips)
        frames = np.zeros((len(rows), self.settings.sampling.frames, self.size, self.size, 3), np.uint8)
        notices = {
            "row": rows,
            "view": views,
            "valid": np.zeros(len(rows), bool),
            "short": np.zeros(len(rows), bool),
            "decoder": np.zeros(len(rows), np.uint8),
            "reason": np.zeros((len(rows), REASON_BYTES), np.uint8),
        }
        for place, (row, view, train) in enumerate(zip(rows, views, training)):
            if row < 0:
                continue
            try:
                frames[place], clip = self._view(clips.loc[row], int(row), int(view), bool(train))
                notices["valid"][place], notices["short"][place] = True, clip.short
                notices["decoder"][place] = DECODERS.index(clip.decoder)
            except DecodeError as error:
                notices["reason"][place] = encode_reason(error.stage, error.reason)
            except MemoryError:  # one huge video must not end the job
                notices["reason"][place] = encode_reason("decode", "out of memory")
        return {"frames": frames, **notices}

    def _view(self, clip: pd.Series, row: int, view: int, train: bool):
        sampling, evaluation = self.settings.sampling, self.settings.evaluation
        if train:
            rng = np.random.default_rng([self.settings.seed, 1, row, view])
            read = read_clip(clip.path, clip.start_s, clip.end_s, sampling, rng)
            return train_transform(read.frames, self.size, self.settings.transform, self.flip, rng), read
        temporal, crop = divmod(view, evaluation.spatial_crops)
        read = read_clip(clip.path, clip.start_s, clip.end_s, sampling, None, temporal, evaluation.temporal_clips)
        frames = read.frames[::-1] if evaluation.reverse else read.frames
        return test_transform(frames, self.size, crop, evaluation.spatial_crops), read


@lru_cache(maxsize=8)
def fetch(reference: ray.ObjectRef):
    """What every decode task of a stream needs, fetched once a process."""
    return ray.get(reference)
