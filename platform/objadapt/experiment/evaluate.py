"""Scores of a trained checkpoint on the validation clips of a data set."""

import dataclasses
from collections.abc import Callable

import pandas as pd
import torch

from ..config_file import override, validate
from ..data.manifest import build_manifest
from ..errors import InputError
from ..model.adapter import ObjectCentricAdapter
from ..pipeline.quarantine import Notices
from ..pipeline.schedule import Segment
from ..pipeline.source import Streamed
from ..pipeline.placement import check_placement
from ..training import checkpoint
from ..training.loop import validate as validate_clips
from ..training.trainer import plan
from .run import chance, views_text


def evaluate_checkpoint(
    folder: str, overrides: list[str], show: Callable[[str, int, int, str], None] | None = None
) -> tuple[dict, pd.DataFrame]:
    """Evaluate the adapter in `folder` under its own config with overrides.

    Returns:
        Summary (metrics, chance, coverage, views, quarantine counts) and a table of clips: clip_id, head, true and
        predicted class name, probability of the prediction.

    Raises:
        InputError: not a checkpoint, another backbone or other classes than it was trained with, bad overrides.
    """
    state = checkpoint.read_state(folder)
    config = validate(override(state.config, [*overrides, "stream.num_workers=0"]), source="evaluate")
    experiment = plan(config, build_manifest(config.data, config.seed), training=False)
    if experiment.backbone_hash != state.backbone_hash:
        raise InputError(f"backbone: its weights are not those that {folder} was trained with; give the same backbone")
    if experiment.manifest.classes != state.classes:
        raise InputError(f"data.root: its classes are not those that {folder} was trained on; give the same class names")
    check_placement(config.stream, workers=0, encoders=config.stream.encoders)
    adapter = ObjectCentricAdapter(
        config.model, config.objective, experiment.manifest.heads, state.joint_width, config.sampling.frames, config.interval
    )
    checkpoint.load(folder, adapter)
    segment = Segment("val", 0, experiment.schedule.val_steps())
    schedule = dataclasses.replace(experiment.schedule, segments=(segment,))
    source = Streamed([experiment.stream(schedule).iterator()], experiment.labels, schedule, 0, config.stream.prefetch_batches)
    notices, done = Notices(), []

    def on_batch(batch, _):
        notices.update(batch, batch["view"] == 0)
        done.append(1)
        if show:
            show("evaluate", len(done), segment.steps, "")

    scores = validate_clips(adapter, source.batches(segment), experiment.manifest.heads, torch.device("cpu"), on_batch)
    summary = {
        "checkpoint": str(folder),
        **scores.metrics,
        "chance": chance(experiment),
        "num_val_clips": scores.clips,
        "coverage": {"val": experiment.manifest.coverage.get("val")},
        "views": views_text(experiment),
        **notices.counts(),
    }
    return summary, _named(scores.table, experiment)


def _named(table: pd.DataFrame, experiment) -> pd.DataFrame:
    """Per-clip results with clip ids and class names in place of numbers."""
    named = table.copy()
    named.insert(0, "clip_id", experiment.manifest.table["clip_id"].iloc[table["row"]].to_numpy())
    for column in ("true", "predicted"):
        named[column] = [
            experiment.manifest.classes[head][number] if head in experiment.manifest.classes else number
            for head, number in zip(table["head"], table[column])
        ]
    return named.drop(columns="row")
