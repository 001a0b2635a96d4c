"""What "auto" becomes where it depends on the clips: batch size, epochs, and whether features are kept.

What is chosen stands in the run's config, and so in its identity, as if it had been set.
"""

import math
import shutil
from pathlib import Path

import numpy as np

from .. import config
from ..config_where import AUTO
from ..run_folder import FEATURES

FEWEST_STEPS = 5  # of an epoch: with fewer, what is learnt between two validations is a matter of luck
LARGEST_BATCH = 64  # the paper's
STEPS = 500  # of a training
EPOCHS = (20, 300)  # at the least, at the most
HELD_BYTES = 1e9  # fits into half of Ray's object store on a machine with 8 GB
SHARE_OF_DISK = 0.25  # of what is free, for a cache that nobody asked for by name


def fit_training(
    settings: config.Experiment, clips: int, labels: np.ndarray | None = None
) -> tuple[config.Experiment, list[str]]:
    """The config with numbers for `training.batch_size` and `training.epochs`, and a line for each that was "auto".

    Args:
        clips: to train on.
        labels: int64 [clips], -1 without: groups of `training.clips_per_class` are padded, and so make more steps.
            None: each class is taken to fill its groups.
    """
    training, said = settings.training, []
    batch, epochs = training.batch_size, training.epochs
    places = clips * training.repeats
    if (group := training.clips_per_class) and labels is not None:
        sizes = np.unique(labels[labels >= 0], return_counts=True)[1]
        places = int((-(-sizes // group) * group).sum() + (labels < 0).sum())
    if batch == AUTO:
        batch = _batch(settings, clips)
        steps = -(-places // batch)
        said.append(f"batch    {batch}: {clips} training clips make {steps} step{'s' * (steps > 1)} an epoch")
    if epochs == AUTO:
        steps = max(1, -(-places // batch))
        epochs = min(max(math.ceil(STEPS / steps), EPOCHS[0]), EPOCHS[1])
        said.append(f"epochs   {epochs}: {epochs * steps:,} steps in all")
    fitted = training.model_copy(update={"batch_size": batch, "epochs": epochs})
    return settings.model_copy(update={"training": fitted}), said


def fit_features(settings: config.Experiment, views: int, view_bytes: int) -> tuple[config.Experiment, list[str]]:
    """The config with an answer for `stream.hold`, and a line where it was "auto".

    Few features are held, more are cached below `output`, and what the disk has no room for is streamed.

    Args:
        views: clip views that would be kept.
        view_bytes: of one; 0: the method takes frames, which are not kept.
    """
    stream = settings.stream
    if stream.hold != "auto":
        return settings, []
    size, folder = views * view_bytes, Path(settings.output).absolute() / FEATURES
    many = f"{views:,} clip views, {size / 1e9:.2f} GB"
    hold, cache, said = False, stream.cache, f"from the cache {stream.cache}"
    if not view_bytes:
        said = "none are kept: the method takes frames"
    elif not cache and size <= HELD_BYTES:
        hold, said = True, f"encoded once and held in memory: {many}"
    elif not cache and size <= SHARE_OF_DISK * _room(folder):
        cache, said = str(folder), f"encoded once into {folder}: {many}"
    elif not cache:
        said = f"encoded anew in each epoch: {many}, more than a quarter of the free disk"
    fitted = stream.model_copy(update={"hold": hold, "cache": cache})
    return settings.model_copy(update={"stream": fitted}), [f"features {said}"]


def _batch(settings: config.Experiment, clips: int) -> int:
    """The largest of 2, 4, 8, ... with `FEWEST_STEPS` steps an epoch; a multiple of what workers and classes share."""
    least, most = settings.stream.worker_range
    unit = settings.training.unit(math.lcm(*range(least, most + 1)))
    batch = unit if unit > 1 else 2
    while 2 * batch <= min(LARGEST_BATCH, clips * settings.training.repeats / FEWEST_STEPS):
        batch *= 2
    return batch


def _room(folder: Path) -> int:
    """Bytes of the disk that features may share: what is free, and what features take already.

    Without the latter a cache that was filled would leave less than it needs, and the same command would choose anew.
    """
    taken = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return taken + shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
