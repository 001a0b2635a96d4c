"""Objects found without labels, as their predecessors report them and beside k-means: the table `discovery`.

The official scores of a run are in `object_test.py`. Here stand, of the same masks of the same sequences:

- J&F by the per-frame protocol, which assigns masks anew in each frame, from soft masks above 0.3. It is never mixed
  with the official one;
- J&F (official) of k-means on the same frozen tokens, with as many clusters a sequence as the method has segments
  there, and how much better the method is;
- segments a frame, and seconds a frame that the masks took, from frozen tokens to masks in patches.

A run's result is `discovery-KEY.json` in its folder, KEY the content of the sequences.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.davis import read_ids
from ..evaluation.mask_baselines import kmeans_masks
from ..evaluation.object_masks import upsample
from ..evaluation.segmentation import mean_scores, object_rows, score_soft_sequence
from ..evaluation.slots_on_sequences import attention_of, score_masks
from ..files import write_whole
from ..plan import Plan
from ..run_folder import LAST, discovery_scores
from ..training import checkpoint
from .object_test import JOINT, ObjectTest, Untrained, given_to, tokens_of, untrained_masks

Maker = Callable[[Tensor, tuple[int, int], list[np.ndarray]], Tensor]  # patches, grid, truth -> masks [T, K, h, w]


def discovery_result(test: ObjectTest, plan: Plan) -> Path:
    """File of a run's result."""
    return plan.folder / discovery_scores(test.key)


def run_discovery_test(test: ObjectTest, plan: Plan) -> dict:
    """Look at the masks of a finished run; nothing where that is done already.

    Returns:
        `per_frame` and `k-means`, each with `scores` (means over objects) and `objects` (a row each); `segments` and
        `seconds`, means over all frames.
    """
    path = discovery_result(test, plan)
    if path.exists():
        return json.loads(path.read_text())
    method = plan.method().eval()
    checkpoint.load(plan.folder / LAST, method)
    found = _looked_at(test, plan, lambda patches, grid, _: attention_of(method, patches, grid), beside_kmeans=True)
    write_whole(path, json.dumps(found, indent=1) + "\n")
    return found


def untrained_discovery(test: ObjectTest, plan: Plan, kind: Untrained) -> dict:
    """The same of masks that need no training; k-means is not set beside itself, and the truth takes no time."""
    path = given_to(test, plan, kind, "discovery-")
    if path.exists():
        return json.loads(path.read_text())

    def made(patches: Tensor, grid: tuple[int, int], truth: list[np.ndarray]) -> Tensor:
        return untrained_masks(plan, kind, patches, grid, truth)

    found = _looked_at(test, plan, made, beside_kmeans=kind == "grid")
    if kind == "ceiling":
        del found["seconds"]
    write_whole(path, json.dumps(found, indent=1) + "\n")
    return found


def discovery_metrics(found: dict, official: dict) -> dict[str, float]:
    """What the table shows; `official`: of `object_test`, for the difference to k-means."""
    shown = {"per_frame_jf": found["per_frame"]["scores"][JOINT], "segments": found["segments"]}
    shown |= {"mask_seconds": found["seconds"]} if "seconds" in found else {}
    if "k-means" in found:
        beside = found["k-means"]["scores"][JOINT]
        shown |= {"kmeans_jf": beside, "over_kmeans": official["scores"][JOINT] - beside}
    return shown


def segments_of(soft: Tensor) -> Tensor:
    """Whether a segment is the strongest of any patch of a frame, bool [T, K], of soft masks [T, K, h, w]."""
    owners = soft.flatten(2).argmax(dim=1)  # [T, N]
    return torch.zeros(soft.shape[:2], dtype=torch.bool).scatter_(1, owners, torch.ones_like(owners, dtype=torch.bool))


def _looked_at(test: ObjectTest, plan: Plan, made: Maker, beside_kmeans: bool) -> dict:
    per_frame, kmeans, frames, segments, seconds = [], [], 0, 0, 0.0
    for sequence, patches, grid in tokens_of(test, plan):
        truth = [read_ids(annotation) for annotation in sequence.annotations]
        started = time.perf_counter()
        soft = made(patches, grid, truth)
        seconds += time.perf_counter() - started
        there = segments_of(soft)
        segments, frames = segments + int(there.sum()), frames + len(there)
        cut = (
            upsample(one[None], true.shape)[0].half().numpy()  # as jobs/segment.py --soft writes them
            for one, true in zip(soft, truth, strict=True)
        )
        per_frame += object_rows(sequence.name, score_soft_sequence(truth, cut))
        if beside_kmeans:
            clusters = int(there.any(dim=0).sum())
            beside = kmeans_masks(patches, clusters, seed=0).unflatten(2, grid)
            kmeans += object_rows(sequence.name, score_masks(beside, truth))
    found = {"per_frame": {"scores": mean_scores(per_frame), "objects": per_frame}}
    if beside_kmeans:
        found["k-means"] = {"scores": mean_scores(kmeans), "objects": kmeans}
    return found | {"segments": segments / frames, "seconds": seconds / frames}
