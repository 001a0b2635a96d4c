"""What an evaluation leaves in a folder: every clip's probabilities, what is taken for what, and the worst clips.

predictions.csv           a row a clip: path, true and best classes, all probabilities (clip_predictions.py)
worst.csv                 labelled clips that are wrong, the least probable true class first
per_class_<head>.csv      class, its clips, the share that is right; worst first
confusion_<head>.csv      a row a true class, a column a predicted one, numbers of clips
figures/                  both as pictures
"""

from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from ..evaluation.recognition import Seen, confusion_figure
from ..plan import Plan
from ..run_folder import FIGURES, LAST, PREDICTIONS, PROBABILITIES, WORST
from .clip_predictions import predictions, write_predictions


def keep(folder: Path, clips: list[dict], classes: dict[str, list[str]], about: dict) -> dict[str, Figure]:
    """Write what came out; -> the figures by their file names, which are written, too.

    Args:
        clips: as `clip_predictions.predictions` gives them.
        classes: head -> class names.
        about: checkpoint, split and views.
    """
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    write_predictions(str(folder / PREDICTIONS), clips, classes, about)
    worst_clips(clips, classes).to_csv(folder / WORST, index=False)
    figures: dict[str, Figure] = {}
    for head, names in classes.items():
        confusion = confusion_of(clips, head, names)
        if not int(confusion.sum()):  # clips without labels
            continue
        pd.DataFrame(confusion.numpy(), names, names).to_csv(folder / f"confusion_{head}.csv", index_label="true")
        accuracy = per_class(confusion, names)
        accuracy.to_csv(folder / f"per_class_{head}.csv", index=False)
        figures[f"confusion_{head}.png"] = confusion_figure(confusion, names)
        figures[f"per_class_accuracy_{head}.png"] = per_class_figure(accuracy, head)
    for name, figure in figures.items():
        figure.savefig(folder / FIGURES / name, dpi=120)
    return figures


def keep_training(plan: Plan, result: dict, folder: Path, views: str) -> dict[str, Figure]:
    """`keep` what a training's last validation said; -> its figures, none without validation clips.

    Args:
        result: as the workers have left it in `folder`, beside the probabilities.
        views: testing views, in words.
    """
    path = folder / PROBABILITIES
    if not path.exists() or "val_clips" not in result:
        return {}
    quarantined = {row: (stage, reason) for row, stage, reason in result["quarantine"]}
    seen = Seen.of(pd.read_parquet(path), plan.manifest.heads)
    clips = predictions(seen, plan.manifest, "val", quarantined)
    about = {"checkpoint": str(plan.folder / LAST), "split": "val", "views": views}
    return keep(folder, clips, plan.manifest.classes, about)


def confusion_of(clips: list[dict], head: str, names: list[str]) -> torch.Tensor:
    """int64 [C, C]: rows the true class, columns the predicted one."""
    number = {name: place for place, name in enumerate(names)}
    found = torch.zeros(len(names), len(names), dtype=torch.int64)
    for clip in clips:
        said = clip["heads"].get(head)
        if said and said["true"] is not None:
            found[number[said["true"]], number[said["top"][0]]] += 1
    return found


def per_class(confusion: torch.Tensor, names: list[str]) -> pd.DataFrame:
    """Columns class, clips, accuracy (nan: no clips); worst first, so that failures are seen first."""
    clips = confusion.sum(dim=1)
    accuracy = (confusion.diagonal() / clips.double()).numpy()
    table = pd.DataFrame({"class": names, "clips": clips.numpy(), "accuracy": accuracy})
    return table.sort_values("accuracy", kind="stable", na_position="last", ignore_index=True)


def worst_clips(clips: list[dict], classes: dict[str, list[str]]) -> pd.DataFrame:
    """Wrong clips, the surest mistakes first: clip_id, path, head, true and predicted with their probabilities."""
    rows = []
    for head, names in classes.items():
        number = {name: place for place, name in enumerate(names)}
        for clip in clips:
            said = clip["heads"].get(head)
            if not said or said["true"] is None or said["rank"] == 1:
                continue
            chosen = said["top"][0]
            of_true, of_chosen = (said["probabilities"][number[name]] for name in (said["true"], chosen))
            rows.append((clip["clip_id"], clip["path"], head, said["true"], of_true, chosen, of_chosen))
    columns = ["clip_id", "path", "head", "true", "of_true", "predicted", "of_predicted"]
    return pd.DataFrame(rows, columns=columns).sort_values("of_true", kind="stable", ignore_index=True)


def per_class_figure(accuracy: pd.DataFrame, head: str) -> Figure:
    """Bars of accuracy a class, with the number of its clips; worst first."""
    known = accuracy[accuracy["clips"] > 0]
    figure = Figure(figsize=(8, min(max(2.5, 0.8 + 0.24 * len(known)), 100)), layout="constrained")
    axes = figure.subplots()
    places = range(len(known))
    axes.barh(places, known["accuracy"], color="#0072B2")
    names = [name if len(name) <= 40 else name[:39] + "…" for name in known["class"]]
    axes.set_yticks(places, names, fontsize=8, parse_math=False)  # a class name may hold a $
    for place, (share, clips) in enumerate(zip(known["accuracy"], known["clips"], strict=True)):
        axes.text(share + 0.01, place, f"{100 * share:.0f} % of {clips}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_ylim(len(known) - 0.4, -0.6)
    axes.set_xlim(0, 1.18)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_xlabel(f"share of the clips that is right ({head})")
    return figure
