"""The scores of a finished run in one metric: what claims pair, row by row, seed by seed."""

import json

import pandas as pd

from ..metric import Metric
from ..run_folder import CLIPS
from ..runs.discovery_test import discovery_result
from ..runs.object_test import JOINT, MEASURES
from ..runs.run import results_folder
from .rows import Place


def scores_of(metric: Metric, place: Place, summary: dict) -> pd.Series | None:
    """A score a unit, whose mean is the run's number in the summary; None where there is none.

    Args:
        summary: of the run, with what its objects scored and what it costs.

    Returns:
        Of accuracies bool by clip_id, of masks float by sequence, of a metric without units one float.
    """
    match metric.kind:
        case "accuracy":
            return _of_clips(metric, place)
        case "masks":
            return _of_sequences(metric, place)
        case _:
            return pd.Series([float(summary[metric.name])], index=[""]) if metric.name in summary else None


def _of_clips(metric: Metric, place: Place) -> pd.Series | None:
    """Whether each validation clip is right; None where the data set has none, or has no such head."""
    path = results_folder(place.plan) / CLIPS
    if not path.exists():
        return None
    clips = pd.read_parquet(path, columns=["row", "head", "rank"])
    prefix, _, top = metric.name.rpartition("top")  # "verb_", "1"
    heads = {f"{prefix}label"} if prefix else {"label", "action"}
    clips = clips[clips["head"].isin(heads)]
    if clips.empty:
        return None
    clip_ids = place.plan.manifest.table["clip_id"].iloc[clips["row"]]
    return pd.Series((clips["rank"] < int(top)).to_numpy(), index=clip_ids.to_numpy())


def _of_sequences(metric: Metric, place: Place) -> pd.Series | None:
    """Of each sequence, the sum over its objects, in such a scale that the mean of all is the mean over objects."""
    if place.test is None:
        return None
    path, more = place.test.result(place.plan), discovery_result(place.test, place.plan)
    if not path.exists() or metric.of_discovery and not more.exists():
        return None
    official = json.loads(path.read_text())
    if not metric.of_discovery:
        return _by_sequence(official, MEASURES[metric.name])
    found = json.loads(more.read_text())
    beside = _by_sequence(found["per_frame" if metric.name == "per_frame_jf" else "k-means"], JOINT)
    return _by_sequence(official, JOINT) - beside if metric.name == "over_kmeans" else beside


def _by_sequence(found: dict, measure: str) -> pd.Series:
    objects = pd.DataFrame(found["objects"])
    sums = objects.groupby("sequence")[measure].sum()
    return sums * len(sums) / len(objects)
