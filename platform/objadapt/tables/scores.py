"""The scores of a finished run in one metric: what claims pair, row by row, seed by seed."""

import json

import pandas as pd

from ..metric import Metric
from ..run_folder import CLIPS
from ..runs.object_test import MEASURES
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
    path = place.test.result(place.plan) if place.test else None
    if path is None or not path.exists():
        return None
    objects = pd.DataFrame(json.loads(path.read_text())["objects"])
    sums = objects.groupby("sequence")[MEASURES[metric.name]].sum()
    return sums * len(sums) / len(objects)
