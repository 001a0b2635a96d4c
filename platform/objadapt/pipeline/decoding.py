"""A decode task: a block of the schedule -> cropped frames.

Imports no backbone, since every decode process pays for it.

A decoder that dies (a segmentation fault, the memory monitor) takes its process along. Ray runs the task again; then
each clip is decoded in a process of its own, so that the one that kills is found and quarantined and the others come
through.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import ray

from .. import config
from ..data.clip import DecodedClip, read_grids
from ..data.downloads import Downloads
from ..data.probe import DecodeError
from ..data.transforms import test_transform, train_transform
from ..ray_private import attempt
from .apart import apart
from .metrics import count_decoded
from .quarantine import DECODERS, REASON_BYTES, encode_reason


@dataclass(frozen=True)
class Unusable:
    """Why a clip could not be used."""

    stage: str
    reason: str


class DecodeGrids:
    """Positions of the schedule -> frames uint8 [b, F, S, S, 3], cropped, or a quarantine reason in their place.

    The F frames are those that the grid of each T of `lengths` takes, one grid after the other, from one pass over a
    video. Beside them a row a place: id, row, view, training, valid, short [b, number of T], decoder, fetched (bytes),
    reason.
    """

    def __init__(
        self,
        schedule: ray.ObjectRef,
        clips: ray.ObjectRef,
        settings: config.Experiment,
        lengths: tuple[int, ...],
        size: int,
        flip: bool,
    ):
        self.schedule, self.clips, self.settings, self.size, self.flip = schedule, clips, settings, size, flip
        self.time_stamps = Path(settings.stream.cache or settings.output).absolute() / "time_stamps"
        kept = settings.stream.download_cache
        self.downloads = (
            Downloads(Path(kept).absolute() if kept else None, round(1e9 * settings.stream.download_gb))
            if settings.stream.download_gb
            else None
        )
        self.grids = [settings.sampling.model_copy(update={"frames": frames}) for frames in lengths]

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows, views, training = fetch(self.schedule).locate(np.asarray(block["id"]))
        clips, size = fetch(self.clips), len(rows)
        frames = np.zeros((size, sum(grid.frames for grid in self.grids), self.size, self.size, 3), np.uint8)
        notices = {
            "id": block["id"],
            "row": rows,
            "view": views,
            "training": training,
            "valid": np.zeros(size, bool),
            "short": np.zeros((size, len(self.grids)), bool),
            "decoder": np.zeros(size, np.uint8),
            "fetched": np.zeros(size, np.int64),
            "reason": np.zeros((size, REASON_BYTES), np.uint8),
        }
        careful, stages = _died_before(), []
        for place, (row, view, train) in enumerate(zip(rows, views, training, strict=True)):
            if row < 0:
                continue
            asked = clips.loc[row], int(row), int(view), bool(train)
            read = self._apart(*asked) if careful else self.clip(*asked)
            if isinstance(read, Unusable):
                notices["reason"][place] = encode_reason(read.stage, read.reason)
                stages.append(read.stage)
                continue
            frames[place], notices["short"][place], notices["decoder"][place], notices["fetched"][place] = read
            notices["valid"][place] = True
        count_decoded(notices["valid"], stages, int(notices["fetched"].sum()))
        return {"frames": frames, **notices}

    def clip(
        self, clip: pd.Series, row: int, view: int, train: bool
    ) -> tuple[np.ndarray, list[bool], int, int] | Unusable:
        """-> frames uint8 [F, S, S, 3], whether each T found fewer frames than it asked for, index of the decoder, and
        the bytes read over the network.
        """
        try:
            frames, read = self._view(clip, row, view, train)
        except DecodeError as error:
            return Unusable(error.stage, error.reason)
        except MemoryError:  # one huge video must not end the job
            return Unusable("decode", "out of memory")
        return frames, [one.short for one in read], DECODERS.index(read[0].decoder), read[0].fetched

    def _apart(self, *asked) -> tuple[np.ndarray, list[bool], int, int] | Unusable:
        """As `clip`, in a process of its own, which may die of it."""
        try:
            return apart(self.clip, *asked)
        except DecodeError as error:
            return Unusable(error.stage, error.reason)

    def _view(self, clip: pd.Series, row: int, view: int, train: bool) -> tuple[np.ndarray, list[DecodedClip]]:
        evaluation, crops = self.settings.evaluation, self.settings.evaluation.spatial_crops
        if train:  # a generator for each T: its view is the same whichever other T are read with it
            rngs = [np.random.default_rng([self.settings.seed, 1, row, view]) for _ in self.grids]
            read = read_grids(
                clip.path,
                clip.start_s,
                clip.end_s,
                list(zip(self.grids, rngs, strict=True)),
                folder=self.time_stamps,
                downloads=self.downloads,
            )
            transform = self.settings.transform
            parts = [
                train_transform(one.frames, self.size, transform, self.flip, rng)
                for one, rng in zip(read, rngs, strict=True)
            ]
        else:
            temporal, crop = divmod(view, crops)
            grids = [(grid, None) for grid in self.grids]
            read = read_grids(
                clip.path,
                clip.start_s,
                clip.end_s,
                grids,
                temporal,
                evaluation.temporal_clips,
                self.time_stamps,
                self.downloads,
            )
            played = [one.frames[::-1] if evaluation.reverse else one.frames for one in read]
            parts = [test_transform(frames, self.size, crop, crops) for frames in played]
        return np.concatenate(parts), read


def _died_before() -> bool:
    """Whether this task was begun before, in a process that died: it may have been one of its clips that ended it."""
    return attempt() > 0


class DecodeBlock(DecodeGrids):
    """As `DecodeGrids`, for the config's own T, as the stream carries it: frames [b, T, S, S, 3], `short` [b]."""

    def __init__(
        self, schedule: ray.ObjectRef, clips: ray.ObjectRef, settings: config.Experiment, size: int, flip: bool
    ):
        super().__init__(schedule, clips, settings, (settings.sampling.frames,), size, flip)

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        decoded = super().__call__(block)
        del decoded["id"], decoded["training"]
        return decoded | {"short": decoded["short"][:, 0]}


@lru_cache(maxsize=8)
def fetch(reference: ray.ObjectRef):
    """What every decode task of a stream needs, fetched once a process."""
    return ray.get(reference)
