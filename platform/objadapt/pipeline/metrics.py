"""Numbers for Ray's dashboard and Prometheus (`ray.util.metrics`): what the stream and the training are doing now.

They count work as it is done, so a clip whose task was run again after a fault counts twice here; summaries and MLflow,
which go by clip and step, do not.
"""

from functools import lru_cache

import numpy as np
import ray
from ray.util.metrics import Counter, Gauge

TRAINING = {
    "objadapt_data_wait_share": "Share of this epoch's time that training waited for clips",
    "objadapt_step_seconds": "Mean seconds a training step in this epoch",
    "objadapt_clips_per_second": "Clips trained a second in this epoch, over all workers",
}


@lru_cache(maxsize=1)
def _counters() -> dict[str, Counter]:
    """Once a process, since Ray keeps metrics by name."""
    return {
        "decoded": Counter("objadapt_clips_decoded", "Clips decoded"),
        "encoded": Counter("objadapt_clips_encoded", "Clips that went through the frozen backbone"),
        "fetched": Counter("objadapt_bytes_fetched", "Bytes of clips read over the network"),
        "quarantined": Counter(
            "objadapt_clips_quarantined", "Clips that could not be used, by stage", tag_keys=("stage",)
        ),
    }


@lru_cache(maxsize=1)
def _gauges() -> dict[str, Gauge]:
    return {name: Gauge(name, text, tag_keys=("run",)) for name, text in TRAINING.items()}


def count_decoded(valid: np.ndarray, stages: list[str], fetched: int = 0) -> None:
    """A decode task is done: `valid` bool [b] clips came out, the others fell out at `stages`.

    Args:
        fetched: bytes read over the network for them.
    """
    if fetched:
        _counters()["fetched"].inc(fetched)
    if valid.any():
        _counters()["decoded"].inc(int(valid.sum()))
    for stage in stages:
        _counters()["quarantined"].inc(1, tags={"stage": stage})


def count_encoded(valid: np.ndarray) -> None:
    """A block has been through the backbone; `valid` bool [b]."""
    if valid.any():
        _counters()["encoded"].inc(int(valid.sum()))


def show_training(run: str, sums: dict[str, float], steps: int) -> None:
    """Where training stands.

    Args:
        run: its folder's name: trials and seeds of one config name are summed, each once.
        sums: over the epoch's `steps` so far: `wait_seconds`, `seconds`, `clips` (training/loop.py).
    """
    if not ray.is_initialized():  # a training from a cache in the driver's process needs no Ray
        return
    values = sums["wait_seconds"] / sums["seconds"], sums["seconds"] / steps, sums["clips"] / sums["seconds"]
    for gauge, value in zip(_gauges().values(), values, strict=False):
        gauge.set(value, tags={"run": run})
