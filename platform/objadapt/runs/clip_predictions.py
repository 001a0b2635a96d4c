"""What a model says of every clip: probabilities of all classes, the best names, and the place of the true one.

CSV, a row a clip: clip_id, path, split, views, problem; for each head `true`, `rank` (of the true class, 1: it came
first) and `top1` .. `top5` (names), then the probabilities, a column a class (`label: NAME`). Of two heads each column
begins with its own (`verb_rank`, `noun_top1`, `verb_label: NAME`), and of their product, the action, there are rank and
names.

JSON holds the same: `classes` by head, and for each of `clips` a list of probabilities by head, in the order of the
classes.
"""

import csv
import io
import json
from pathlib import Path

import torch

from ..data.manifest import Manifest
from ..evaluation.recognition import Scores, Seen, true_rank
from ..files import write_whole

TOP = 5
DIGITS = 6


def predictions(
    scores: Scores | Seen, manifest: Manifest, split: str, quarantined: dict[int, tuple[str, str]]
) -> list[dict]:
    """Every clip of a split, in the order of the manifest.

    Args:
        quarantined: manifest row -> (stage, reason) of clips that could not be used: they have no probabilities.

    Returns:
        For each clip: clip_id, path, split, views, problem (None: none) and heads: head -> true (name, None where there
        is no label), rank (from 1), top (names, at most `TOP`), probabilities (a float a class).
    """
    found: dict[int, dict] = {}
    for place, seen in enumerate(scores.seen.to_dict("records")):
        heads = {}
        for head, names in manifest.classes.items():
            heads[head] = _head(scores.probabilities[head][place], seen[head], names)
        if list(manifest.classes) == ["verb_label", "noun_label"]:
            heads["action"] = _action(
                *(scores.probabilities[head][place] for head in manifest.classes), seen, manifest.classes
            )
        found[seen["row"]] = {"views": seen["views"], "problem": None, "heads": heads}
    clips = manifest.table[manifest.table["split"] == split]
    rows = []
    for row, clip in zip(clips.index.tolist(), clips.to_dict("records"), strict=True):
        problem = quarantined.get(row)
        missing = {"views": 0, "problem": ": ".join(problem) if problem else "not looked at", "heads": {}}
        what = found.get(row, missing)
        if row in found and problem:  # other views of the clip were usable
            what = what | {"problem": ": ".join(problem)}
        rows.append({"clip_id": clip["clip_id"], "path": clip["path"], "split": split, **what})
    return rows


def write_predictions(path: str, clips: list[dict], classes: dict[str, list[str]], about: dict) -> None:
    """Write what `predictions` gives as CSV or JSON, by the file's suffix.

    Args:
        about: what they are of (checkpoint, split, views), for the JSON.
    """
    if Path(path).suffix.lower() == ".json":
        write_whole(Path(path), json.dumps(about | {"classes": classes, "clips": clips}) + "\n")
        return
    names = {head: names for head, names in classes.items()} | (
        {"action": None} if list(classes) == ["verb_label", "noun_label"] else {}
    )
    columns = ["clip_id", "path", "split", "views", "problem"]
    for head in names:
        columns += [column(head, name) for name in ("true", "rank", *(f"top{place}" for place in range(1, TOP + 1)))]
    columns += [f"{head}: {name}" for head, all_names in names.items() for name in all_names or ()]
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="")
    writer.writeheader()
    for clip in clips:
        row = {name: clip[name] for name in columns[:5]}
        for head, said in clip["heads"].items():
            row |= {column(head, name): said[name] for name in ("true", "rank")}
            row |= {column(head, f"top{place}"): name for place, name in enumerate(said["top"], 1)}
            row |= {
                f"{head}: {name}": value
                for name, value in zip(names[head] or (), said.get("probabilities", ()), strict=False)
            }
        writer.writerow(row)
    write_whole(Path(path), file.getvalue())


def column(head: str, name: str) -> str:
    """The column of what is said of a head: `rank` of the head "label", `verb_rank`, `action_rank`."""
    prefix = head.removesuffix("label")
    return f"{prefix}{'_' * (bool(prefix) and not prefix.endswith('_'))}{name}"


def _head(probabilities: torch.Tensor, true: int, names: list[str]) -> dict:
    return _ranked(probabilities, true, names) | {
        "probabilities": [round(value, DIGITS) for value in probabilities.tolist()]
    }


def _ranked(probabilities: torch.Tensor, true: int, names: "list[str] | _Pairs") -> dict:
    top = probabilities.argsort(descending=True, stable=True)[:TOP].tolist()
    rank = int(true_rank(probabilities[None], torch.tensor([true]))) + 1 if true >= 0 else None
    return {"true": names[true] if true >= 0 else None, "rank": rank, "top": [names[one] for one in top]}


def _action(verbs: torch.Tensor, nouns: torch.Tensor, seen: dict, classes: dict[str, list[str]]) -> dict:
    """The product of both heads: a verb and a noun; its probabilities follow from those of the heads."""
    labels = [seen[head] for head in classes]
    true = labels[0] * len(nouns) + labels[1] if min(labels) >= 0 else -1
    return _ranked((verbs[:, None] * nouns[None]).flatten(), true, _Pairs(*classes.values()))


class _Pairs:
    """Names of actions: `verb noun`, as many as verbs times nouns, none of them made before it is asked for."""

    def __init__(self, verbs: list[str], nouns: list[str]):
        self.verbs, self.nouns = verbs, nouns

    def __getitem__(self, number: int) -> str:
        verb, noun = divmod(number, len(self.nouns))
        return f"{self.verbs[verb]} {self.nouns[noun]}"
