"""What a metric is: its name, its unit, how it is written, and what one score of it is of.

Summaries hold shares and counts. Tables, claims and the results app show them in the unit that stands here.
"""

import math
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["accuracy", "masks", "norm", "cost", "time"]


@dataclass(frozen=True)
class Metric:
    """A number of a run.

    Attributes:
        name: in summaries, tables and MLflow.
        label: in headers, without the unit.
        unit: "%", "M" (millions), "GFLOPs", "h", or "" of a plain number.
        kind: what it is measured on. An accuracy has a score a validation clip, masks have one an annotated sequence,
            a norm is one number a run. A cost is one number, the same for every seed; a time is one that is not.
    """

    name: str
    label: str
    unit: str
    decimals: int
    kind: Kind

    @property
    def title(self) -> str:
        """The label with its unit, for headers and axes."""
        return self.label if self.unit in self.label else f"{self.label} ({self.unit})"

    @property
    def scale(self) -> float:
        """The unit's numbers are those of a summary times this."""
        return {"%": 100, "M": 1e-6}.get(self.unit, 1)

    @property
    def units(self) -> str | None:
        """What a run has a score of each of; None: it has one number alone."""
        return {"accuracy": "validation clips", "masks": "sequences"}.get(self.kind)

    @property
    def exact(self) -> bool:
        """Whether it is the same for every seed, without any error."""
        return self.kind == "cost"

    @property
    def larger_is_better(self) -> bool:
        """Whether more of it is better; of costs and times, less is."""
        return self.kind not in ("cost", "time")

    @property
    def of_objects(self) -> bool:
        """Whether it is measured on the slots of annotated sequences."""
        return self.kind in ("masks", "norm") or self.of_discovery

    @property
    def of_discovery(self) -> bool:
        """Whether `runs/discovery_test.py` finds it, which takes a while."""
        return self.name in DISCOVERY

    def value(self, summary: dict) -> float | None:
        """It in a run's summary, in its unit; None where there is no number."""
        value = summary.get(stored_name(self.name, summary))
        return self.scale * value if isinstance(value, (int, float)) and math.isfinite(value) else None

    def text(self, value: float) -> str:
        """A value in its unit as it is written: `71.6 %`."""
        return f"{value:.{self.decimals}f} {self.unit}".rstrip()


def stored_name(name: str, metrics: Container[str]) -> str:
    """Under which name metrics hold it: where a clip has a verb and a noun, `top1` is that of the action."""
    return f"action_{name}" if f"action_{name}" in metrics else name


DISCOVERY = ("per_frame_jf", "kmeans_jf", "over_kmeans", "segments", "mask_seconds")
TOP1 = Metric("top1", "top-1", "%", 1, "accuracy")
JF = Metric("davis_jf", "DAVIS J&F", "%", 1, "masks")


def jf_on(sequences: str) -> Metric:
    """J&F on further sequences, called so; a column of its own beside `JF`, about which no claim is made."""
    return replace(JF, name=f"{JF.name}.{sequences}", label=f"J&F on {sequences}")


METRICS = {
    metric.name: metric
    for metric in (
        TOP1,
        Metric("top5", "top-5", "%", 1, "accuracy"),
        Metric("verb_top1", "verb top-1", "%", 1, "accuracy"),
        Metric("noun_top1", "noun top-1", "%", 1, "accuracy"),
        JF,
        Metric("davis_j", "J", "%", 1, "masks"),
        Metric("davis_f", "F", "%", 1, "masks"),
        Metric("foreground_norm", "norm, foreground", "", 2, "norm"),
        Metric("background_norm", "norm, background", "", 2, "norm"),
        Metric("norm_ratio", "norm, foreground / background", "", 2, "norm"),
        Metric("per_frame_jf", "J&F, per frame", "%", 1, "masks"),
        Metric("kmeans_jf", "J&F of k-means, as many segments", "%", 1, "masks"),
        Metric("over_kmeans", "J&F above that k-means", "%", 1, "masks"),
        Metric("segments", "segments a frame", "", 1, "norm"),
        Metric("mask_seconds", "seconds a frame", "s", 3, "time"),
        Metric("adapter_gflops", "adapter GFLOPs", "GFLOPs", 2, "cost"),
        Metric("gflops", "total GFLOPs", "GFLOPs", 1, "cost"),
        Metric("device_hours", "device hours", "h", 3, "time"),
        Metric("tunable_parameters", "parameters", "M", 3, "cost"),
    )
}
