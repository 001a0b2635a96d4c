"""Action recognition scores over averaged views: top-1, top-5, per class, confusion; verb, noun and action for EPIC.

Worker-safe: each worker updates with its own clips or views, and `compute` merges them to the same result on all
workers.
"""

from dataclasses import dataclass

import pandas as pd
import torch
import torch.distributed as dist
from matplotlib.figure import Figure
from torch import Tensor

from ..methods.distributed import workers


@dataclass
class Scores:
    """The result of one evaluation; of a method without a classifier it is the clips that were seen, and no score.

    `metrics` are shares in [0, 1], nan where no clip counts. The head "label" has "top1", "top5" and
    "mean_class_accuracy". The heads of verb and noun have the prefixes "verb_" and "noun_", beside "action_top1" and
    "action_top5".
    """

    metrics: dict[str, float]
    per_class: dict[str, Tensor]  # head -> [C] float64, share of the class's clips that are right, nan without clips
    confusion: dict[str, Tensor]  # head -> [C, C] int64, rows the true class, columns the predicted one
    clips: int
    views: int  # the most views that any clip was seen in
    # a row per labelled clip and head: row, head, true, predicted, its probability, rank of the true class
    table: pd.DataFrame
    seen: pd.DataFrame  # a row a clip, labelled or not: row, views, and its label by head (-1: none)
    probabilities: dict[str, Tensor]  # head -> [rows of `seen`, C] float64, means over the views

    def clip_probabilities(self) -> pd.DataFrame:
        """`seen` with a float64 column `head: number` for each class; `Seen.of` takes it apart again."""
        columns = {
            f"{head}: {number}": column.numpy()
            for head, values in self.probabilities.items()
            for number, column in enumerate(values.T)
        }
        return pd.concat([self.seen, pd.DataFrame(columns, index=self.seen.index)], axis=1)


@dataclass
class Seen:
    """What of `Scores` a clip's predictions are made of."""

    seen: pd.DataFrame
    probabilities: dict[str, Tensor]

    @classmethod
    def of(cls, table: pd.DataFrame, heads: dict[str, int]) -> "Seen":
        """From `Scores.clip_probabilities`, which may have been on disk; `heads`: head -> number of classes."""
        columns = {head: [f"{head}: {number}" for number in range(classes)] for head, classes in heads.items()}
        found = {head: torch.tensor(table[names].to_numpy("float64")) for head, names in columns.items()}
        return cls(table.loc[:, ["row", "views", *heads]], found)


class Recognition:
    """Collects probabilities over views and batches; the views of a clip share its `row`."""

    def __init__(self, heads: dict[str, int]):
        """`heads`: head -> number of classes, in the order of the columns of `batch["labels"]`."""
        self.heads = heads
        # row -> (views, labels [H], probability sums [sum of C]; None where the method gives no class scores)
        self._clips: dict[int, tuple[int, Tensor, Tensor | None]] = {}

    @torch.no_grad()
    def update(self, logits: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
        """Add one view of some clips: logits head -> [B, C], `row` and `valid` [B], `labels` [B, H] (-1: none).

        Args:
            logits: of every head, or empty: the method has no classifier.
        """
        valid = batch["valid"]
        if not logits:
            for row, labels in zip(batch["row"][valid].tolist(), batch["labels"][valid].cpu(), strict=True):
                self._add(row, 1, labels, None)
            return
        # float64 sums, so that the order of views and workers leaves no trace
        probabilities = torch.cat([logits[head][valid].double().softmax(dim=1) for head in self.heads], dim=1).cpu()
        for row, labels, added in zip(
            batch["row"][valid].tolist(), batch["labels"][valid].cpu(), probabilities, strict=True
        ):
            self._add(row, 1, labels, added)

    def _add(self, row: int, views: int, labels: Tensor, added: Tensor | None) -> None:
        if row in self._clips:
            seen, labels, total = self._clips[row]
            views, added = views + seen, None if added is None or total is None else added + total
        # clones: a row must not keep its whole batch alive
        self._clips[row] = (views, labels.clone(), None if added is None else added.clone())

    def compute(self) -> Scores:
        """Scores over the clips of all workers. Every worker must call it, and gets the same.

        Raises:
            FloatingPointError: logits of a valid clip are not finite.
        """
        self._merge_workers()
        rows = sorted(self._clips)
        views = torch.tensor([self._clips[row][0] for row in rows], dtype=torch.float64)
        labels = torch.empty(len(rows), len(self.heads), dtype=torch.int64)
        heads = {} if any(total is None for *_, total in self._clips.values()) else self.heads
        sums = torch.empty(len(rows), sum(heads.values()), dtype=torch.float64)
        for position, row in enumerate(rows):
            _, labels[position], total = self._clips[row]
            if total is not None:
                sums[position] = total
        widths = list(heads.values())
        per_head = list((sums / views[:, None]).split(widths, dim=1)) if widths else []
        for head, probabilities in zip(heads, per_head, strict=True):
            if not probabilities.isfinite().all():  # logits that are not finite give NaN
                raise FloatingPointError(
                    f"logits of head {head!r} are not finite: training has diverged; lower training.lr"
                )

        seen = pd.DataFrame(
            {"row": rows, "views": views.long(), **dict(zip(self.heads, labels.T.numpy(), strict=False))}
        )
        scores = Scores(
            {},
            {},
            {},
            len(rows),
            int(max(views, default=0)),
            pd.DataFrame(),
            seen,
            dict(zip(heads, per_head, strict=True)),
        )
        if not heads:
            return scores
        clip_rows, parts = torch.tensor(rows, dtype=torch.int64), []
        for column, (head, probabilities) in enumerate(zip(heads, per_head, strict=True)):
            parts.append(_clip_table(head, clip_rows, probabilities, labels[:, column]))
            _score_head(scores, head, parts[-1], self.heads[head])
        if list(self.heads) == ["verb_label", "noun_label"]:
            parts.append(_action_table(clip_rows, per_head[0], per_head[1], labels))
            scores.metrics |= _top_k(parts[-1], "action_")
        scores.table = pd.concat(parts, ignore_index=True)
        return scores

    def _merge_workers(self) -> None:
        rank, world = workers()
        if world == 1:
            return
        everyone: list[dict] = [{} for _ in range(world)]
        dist.all_gather_object(everyone, self._clips)
        self._clips = {}
        for clips in everyone:  # rank order on each worker, so that all get the same sums
            for row, (views, labels, added) in clips.items():
                self._add(row, views, labels, added)


def true_rank(probabilities: Tensor, true: Tensor) -> Tensor:
    """Classes placed before the true one, int64 [M], for [M, C] probabilities; the lower class id wins a tie."""
    of_true = probabilities.gather(1, true[:, None])
    earlier = torch.arange(probabilities.shape[1]) < true[:, None]
    return ((probabilities > of_true) | ((probabilities == of_true) & earlier)).sum(dim=1)


def _clip_table(head: str, rows: Tensor, probabilities: Tensor, true: Tensor) -> pd.DataFrame:
    labelled = true >= 0
    probabilities, true = probabilities[labelled], true[labelled]
    best, predicted = probabilities.max(dim=1) if len(true) else (true.double(), true)
    rank = true_rank(probabilities, true)
    columns = {"row": rows[labelled], "true": true, "predicted": predicted, "probability": best, "rank": rank}
    table = pd.DataFrame({name: column.numpy() for name, column in columns.items()})
    table.insert(1, "head", head)
    return table


def _action_table(rows: Tensor, verbs: Tensor, nouns: Tensor, labels: Tensor) -> pd.DataFrame:
    """As `_clip_table` for the product of the two softmaxes; action id = verb x number of nouns + noun."""
    action = torch.where((labels >= 0).all(dim=1), labels[:, 0] * nouns.shape[1] + labels[:, 1], -1)
    chunks = [  # 97 x 300 actions a clip: a few clips at a time
        _clip_table("action", rows[at], (verbs[at, :, None] * nouns[at, None, :]).flatten(1), action[at])
        for at in torch.arange(len(rows)).split(64)
    ]
    return pd.concat(chunks, ignore_index=True)


def _top_k(table: pd.DataFrame, prefix: str) -> dict[str, float]:
    rank = table["rank"]
    return {
        f"{prefix}top{k}": float((rank < k).mean())  # pyright: ignore[reportArgumentType]  # pandas: of a column, a number
        for k in (1, 5)
    }


def _score_head(scores: Scores, head: str, table: pd.DataFrame, classes: int) -> None:
    prefix = head.removesuffix("label")  # "label" -> "", "verb_label" -> "verb_"
    pairs = torch.tensor((table["true"] * classes + table["predicted"]).to_numpy())
    confusion = pairs.bincount(minlength=classes**2).view(classes, classes)
    per_class = confusion.diagonal() / confusion.sum(dim=1).double()  # 0 / 0 = nan: no clip of the class
    scores.metrics |= _top_k(table, prefix) | {f"{prefix}mean_class_accuracy": float(per_class.nanmean())}
    scores.confusion[head], scores.per_class[head] = confusion, per_class


def confusion_figure(confusion: Tensor, class_names: list[str]) -> Figure:
    """Confusion matrix as a picture: rows (true classes) as shares; counts and all names are shown where they fit."""
    classes = len(class_names)
    shares = confusion / confusion.sum(dim=1, keepdim=True).clamp(min=1)
    side = min(4 + 0.28 * classes, 16)
    figure = Figure(figsize=(side + 1, side), layout="constrained")  # no pyplot: works without a display, leaks nothing
    axes = figure.subplots()
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    shown = range(0, classes, -(-classes // 45))  # with many classes, the name of every n-th
    names = [class_names[i] if len(class_names[i]) <= 40 else class_names[i][:39] + "…" for i in shown]
    axes.set_xticks(shown, names, rotation=90, fontsize=8, parse_math=False)  # a class name may hold a $
    axes.set_yticks(shown, names, fontsize=8, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if classes <= 20:
        for true, predicted in confusion.nonzero().tolist():
            color = "white" if shares[true, predicted] > 0.5 else "black"
            axes.text(
                predicted, true, str(int(confusion[true, predicted])), ha="center", va="center", color=color, fontsize=8
            )
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure
