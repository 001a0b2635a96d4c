"""How a training or an evaluation ended, for people: what it reached, what it could not use, where everything is.

Hashes, ids and the rest stand in the summary's JSON.
"""

import json
import math
from pathlib import Path

import pandas as pd

from ..errors import InputError, printable
from ..plan import Plan
from ..run_folder import EVALUATION, FIGURES, PREDICTIONS, QUARANTINE, SUMMARY, WORST, output_of
from ..store_uri import experiment_page
from ..stored_format import read_run
from ..training.display import duration
from ..training.state import changed_text
from .names import runs_of

PROBE = "linear_probe"
NAMED = 5  # quarantined clips that are named
SHOWN = 3  # wrong clips
SPLITS = {"train": "training", "val": "validation", "test": "test"}


def result_text(plan: Plan, summary: dict, folder: Path, leads: Path | None = None) -> str:
    """The end of a training in about fifteen lines.

    Args:
        folder: where the results under the plan's testing views lie.
        leads: the link that leads to the run, where there is one.
    """
    found = [f"{split} {c['found']} of {c['listed']}" for split, c in summary["coverage"].items() if c]
    used = f"{summary['num_train_clips']} trained on, {summary['num_val_clips']} validated"
    lines = [
        _scores(plan, summary, "val"),
        *_unseen_and_tail(summary),
        *_best(summary),
        *([("ended", summary["ended"])] if "ended" in summary else []),
        ("clips", f"{', '.join(found)} videos; {used}"),
        *_fetched(summary),
        *_quarantined(summary, folder),
        *_worst(folder),
        ("time", _time(summary)),
        ("run", f"{leads or plan.folder}{f' -> {plan.folder.name}' if leads else ''}"),
        ("results", f"{folder}: {SUMMARY}, {PREDICTIONS}, {WORST}, {FIGURES}/"),
        ("MLflow", experiment_page(summary["mlflow_uri"], summary.get("mlflow_experiment_id"))),
    ]
    return "\n".join(f"{name:<11}{printable(text)}" for name, text in lines)


def evaluation_text(plan: Plan, split: str, summary: dict, clips: list[dict], kept: Path | None) -> str:
    """The end of an evaluation in about ten lines.

    Args:
        summary, clips: as `evaluate.evaluate_checkpoint` gives them.
        kept: the folder that they are kept in, if they are.
    """
    coverage = summary["coverage"][split]
    found = f"{split} {coverage['found']} of {coverage['listed']} videos; " if coverage else ""
    looked_at = f"{summary[f'num_{split}_clips']} looked at, {summary['num_labelled_clips']} of them labelled"
    broken = [(clip["clip_id"], clip["problem"]) for clip in clips if clip["problem"]]
    lines = [
        _scores(plan, summary, split),
        *([("top-5", _percent(summary["top5"]))] if "top5" in summary else []),
        *_unseen_and_tail(summary),
        ("clips", f"{found}{looked_at}"),
        *_fetched(summary),
        *_left_out(broken, str(kept / PREDICTIONS) if kept else None),
        *_worst(kept),
        ("features", f"{summary['features']}, on {summary['device']}"),
        *([("changed", f"{changed_text(summary['changed'])}; the training had others")] if summary["changed"] else []),
        ("checkpoint", summary["checkpoint"]),
        *([("results", f"{kept}: {EVALUATION}, {PREDICTIONS}, {WORST}, {FIGURES}/")] if kept else []),
    ]
    return "\n".join(f"{name:<11}{printable(text)}" for name, text in lines)


def linear_probe(plan: Plan) -> float | None:
    """Top-1 of the newest finished linear probe below the same output, on the same clips and backbone."""
    ours = {"manifest_hash": plan.manifest.content_hash(), "backbone_hash": plan.backbone_hash}
    for folder in runs_of(output_of(plan.folder)):
        try:
            record = read_run(folder)
            summary = json.loads((folder / SUMMARY).read_text())
        except (InputError, OSError, ValueError):  # unfinished, or of another version
            continue
        same = {name: record.get(name) for name in ours} == ours
        if same and str(summary.get("method", "")).endswith(f".{PROBE}") and _top1(summary) is not None:
            return _top1(summary)
    return None


def _top1(summary: dict) -> float | None:
    value = summary.get("action_top1", summary.get("top1"))
    return None if value is None or math.isnan(value) else value


def _scores(plan: Plan, summary: dict, split: str) -> tuple[str, str]:
    top1, clips = _top1(summary), f"{summary[f'num_{split}_clips']} {SPLITS[split]} clips"
    if not plan.config.method.classifies:
        return "loss", f"{summary.get('loss', math.nan):.3f} of {clips}; no classes"
    if top1 is None:
        return "top-1", f"none: no {SPLITS[split]} clip has a label"
    if "action_top1" in summary:  # verb and noun both right: what chance is of one head alone says nothing of it
        heads = f"verbs {_percent(summary['verb_top1'])}, nouns {_percent(summary['noun_top1'])}"
        return "top-1", f"{_percent(top1)} of the actions of {clips}; {heads}"
    beside = [f"chance {_percent(summary['chance'])}"]
    probe = None if split != "val" or plan.config.method.name == PROBE else linear_probe(plan)
    beside += [f"linear probe {_percent(probe)}"] if probe is not None else []
    return "top-1", f"{_percent(top1)} of {clips} in {summary['views']} views; {', '.join(beside)}"


def _unseen_and_tail(summary: dict) -> list[tuple[str, str]]:
    """Of EPIC-KITCHENS-100's parts of the clips, those that there are clips of."""
    lines = []
    for part, words in (("unseen", "of unseen participants"), ("tail", "of tail classes")):
        if f"{part}_action_top1" in summary:
            heads = [
                f"{name}s {_percent(summary[f'{part}_{name}_top1'])}"
                for name in ("action", "verb", "noun")
                if f"{part}_{name}_top1" in summary
            ]
            lines.append(("", f"{', '.join(heads)} {words} ({summary[f'num_{part}_clips']} clips)"))
    return lines


def _best(summary: dict) -> list[tuple[str, str]]:
    best = summary["best"]
    if not best or math.isnan(best["top1"]):
        return []
    where = "the last" if best["epoch"] == summary["epochs"] else f"in best/; the last of {summary['epochs']} is above"
    return [("best epoch", f"{best['epoch']}, with {_percent(best['top1'])}: {where}")]


def _fetched(summary: dict) -> list[tuple[str, str]]:
    if "bytes_fetched" not in summary:
        return []
    whole, each = summary["bytes_fetched"] / 1e6, summary["bytes_fetched_a_clip"] / 1e3
    return [("read", f"{whole:,.1f} MB over the network, {each:,.1f} kB a clip shown ({summary['clips_shown']:,})")]


def _quarantined(summary: dict, folder: Path) -> list[tuple[str, str]]:
    if not summary["quarantined"]:
        return []
    table = pd.read_csv(folder / QUARANTINE, keep_default_na=False)
    broken = [
        (clip, f"{stage}: {reason}")
        for clip, stage, reason in table[["clip_id", "stage", "reason"]].itertuples(index=False)
    ]
    return _left_out(broken, str(folder / QUARANTINE))


def _left_out(broken: list[tuple[str, str]], where: str | None) -> list[tuple[str, str]]:
    """Clips and what is wrong with them: how many, where all of them stand, and the first by name."""
    if not broken:
        return []
    what = f"{len(broken)} clip{'s' * (len(broken) > 1)} could not be used"
    shown = [("", f"{clip}: {problem}") for clip, problem in broken[:NAMED]]
    return [("left out", f"{what}; all are in {where}" if where else what), *shown]


def _worst(folder: Path | None) -> list[tuple[str, str]]:
    if folder is None or not (folder / WORST).exists():
        return []
    table = pd.read_csv(folder / WORST, keep_default_na=False)
    rows = [
        f"{row['clip_id']}: {row['true']} {_percent(row['of_true'])},"
        f" said {row['predicted']} {_percent(row['of_predicted'])}"
        for row in table.head(SHOWN).to_dict("records")
    ]
    return [(name, row) for name, row in zip(["worst", *[""] * SHOWN], rows, strict=False)]


def _time(summary: dict) -> str:
    waited = summary.get("data_wait_share")
    of_it = "" if waited is None else f"; the last epoch waited {100 * waited:.0f} % of its time for clips"
    learn = f"{summary['tunable_parameters']:,} parameters learned"
    return f"{duration(summary['seconds'])} on {summary['device']}{of_it}; {learn}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
