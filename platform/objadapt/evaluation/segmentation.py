"""DAVIS-2017 scores of one sequence: region similarity J and boundary measure F of each object, under three protocols.

- `official` is the unsupervised task of the official package. Objects are the ids 1 .. n of the first frame's ground
  truth. Void (255) is left out of both sides. There are up to 20 proposals; empty ones are added where they are fewer
  than the objects. One assignment for the sequence maximises the sum of (mean J + mean F) / 2. Rows are in the order
  of the proposals' ids.
- `official_semi_supervised` does not score the first and the last frame, matches ids as they are, and takes void as
  background.
- `per_frame` is what this paper's predecessors (SMTC, SSL-UVOS) report. Up to 300 soft masks are cut at a threshold
  and may overlap. Each frame has an assignment of its own, which can only raise the score of the same binary masks.
  Objects, void and padding are those of `official`. Rows are in the order of the objects; the predecessors mix
  objects, which changes no mean over all of them.

J = intersection / union. Where an object is absent from a frame, an empty mask has J = F = 1 and any other mask has 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from .boundary import boundaries_of_ids, boundaries_of_masks, boundary_f, boundary_radius
from .prediction_files import ID_PROTOCOLS, MEASURES

VOID = 255
MAX_PROPOSALS = 20
MAX_SOFT_PROPOSALS = 300
THRESHOLD = 0.3


@dataclass(frozen=True)
class SequenceScore:
    """J and F of each object in each scored frame, in the order in which the protocol lists objects."""

    gt_ids: list[int]  # [O]
    proposal_ids: Sequence[int | None]  # [O]; above all ids: an added empty mask; None: another proposal in each frame
    j: np.ndarray  # float64 [O, T]
    f: np.ndarray  # float64 [O, T]


def object_count(first_truth: np.ndarray) -> int:
    """Number of scored objects: the largest id of the first frame's ground truth uint8 [H, W], void aside."""
    return int(np.where(first_truth == VOID, 0, first_truth).max())


def score_sequence(truth: Iterable[np.ndarray], proposals: Iterable[np.ndarray], protocol: str) -> SequenceScore:
    """Score disjoint masks.

    Args:
        truth: ids uint8 [H, W] of each frame (an array [T, H, W], or an iterator that reads frame by frame).
        proposals: the same for the masks to be scored; as many frames as `truth`.
        protocol: `official` or `official_semi_supervised`.

    Raises:
        ValueError: another protocol, frames that do not fit together, an id above the allowed ones, no scored frame.
    """
    if protocol not in ID_PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} does not score ids; choose one of {', '.join(ID_PROTOCOLS)}")
    official, objects, allowed = protocol == "official", 0, 0
    scores, largest = [], []  # of each frame: [2, P, O], largest id among the proposals
    for true, ids in zip(truth, proposals, strict=True):
        if not scores:
            objects = object_count(true)
            allowed = MAX_PROPOSALS if official else objects
        largest.append(int(ids.max()))
        ids = np.where((ids > allowed) | (official & (true == VOID)), 0, ids)
        scores.append(_score_ids(_objects(true, objects), ids, objects, max(allowed, objects)))
    if not official:
        scores, largest = scores[1:-1], largest[1:-1]
    if not scores:
        raise ValueError(f"{protocol}: no frame to score")
    if max(largest) > allowed:
        raise ValueError(f"{protocol}: id {max(largest)} among the proposals, at most {allowed} are allowed")
    proposal_count = max(*largest, objects)
    j, f = np.stack(scores, axis=-1)[:, :proposal_count]  # [2, P, O, T] without the proposals that no frame has
    rows, columns = np.arange(objects), np.arange(objects)
    if official:
        rows, columns = linear_sum_assignment(-(j.mean(axis=-1) + f.mean(axis=-1)) / 2)
    return SequenceScore((columns + 1).tolist(), (rows + 1).tolist(), j[rows, columns], f[rows, columns])


def score_soft_sequence(
    truth: Iterable[np.ndarray], masks: Iterable[np.ndarray], threshold: float = THRESHOLD
) -> SequenceScore:
    """Score soft masks under `per_frame`.

    Args:
        truth: ids uint8 [H, W] of each frame.
        masks: of each frame, real numbers [P, H, W]; P may differ from frame to frame. A mask is what is above
            `threshold`, taken as a number of the same type: 0.3 in float16 is not above 0.3.

    Raises:
        ValueError: frames that do not fit together, more masks than the protocol allows, or no frame.
    """
    objects, j, f = 0, [], []
    for true, soft in zip(truth, masks, strict=True):
        if not j:
            objects = object_count(true)
        if len(soft) > MAX_SOFT_PROPOSALS:
            raise ValueError(f"per_frame: {len(soft)} masks in a frame, at most {MAX_SOFT_PROPOSALS} are allowed")
        proposals = (soft > threshold) & (true != VOID)
        j_frame, f_frame = _score_masks(_objects(true, objects), proposals, objects)
        rows, columns = linear_sum_assignment(-(j_frame + f_frame) / 2)  # columns: some order of 0 .. O - 1
        order = np.argsort(columns)
        j.append(j_frame[rows, columns][order])
        f.append(f_frame[rows, columns][order])
    if not j:
        raise ValueError("per_frame: no frame to score")
    return SequenceScore(list(range(1, objects + 1)), [None] * objects, np.stack(j, axis=-1), np.stack(f, axis=-1))


def _objects(true: np.ndarray, objects: int) -> np.ndarray:
    """Ground truth in which void, and objects that come after the first frame, are background."""
    return np.where(true > objects, 0, true)


def _score_ids(true: np.ndarray, ids: np.ndarray, objects: int, proposals: int) -> np.ndarray:
    """J and F, float64 [2, P, O], of ids 1 .. P [H, W] against ids 1 .. O [H, W]."""
    f = boundary_f(boundaries_of_ids(true, objects), boundaries_of_ids(ids, proposals), boundary_radius(*true.shape))
    return np.stack([jaccard_of_ids(true, ids, objects, proposals), f])


def jaccard_of_ids(true: np.ndarray, ids: np.ndarray, objects: int, proposals: int) -> np.ndarray:
    """J of every pair, float64 [P, O], of ids uint8 [H, W] up to P against ids up to O, from one joint histogram."""
    joint = true.astype(np.int64)  # the pair of ids at each pixel as one number
    joint *= proposals + 1
    joint += ids
    pixels = np.bincount(joint.ravel(), minlength=(objects + 1) * (proposals + 1)).reshape(objects + 1, proposals + 1).T
    return _jaccard(pixels[1:], pixels.sum(axis=0))


def _score_masks(true: np.ndarray, masks: np.ndarray, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """J and F, float64 [max(1, P, O), O] each, of masks bool [P, H, W] against ids 1 .. O [H, W].

    Empty masks fill up P, which is at least 1.
    """
    missing = max(0, max(1, objects) - len(masks))
    masks = np.concatenate([masks, np.zeros((missing, *true.shape), bool)])
    pixels = np.stack([np.bincount(true[mask], minlength=objects + 1) for mask in masks])  # [P, 1 + O]
    f = boundary_f(boundaries_of_ids(true, objects), boundaries_of_masks(masks), boundary_radius(*true.shape))
    return _jaccard(pixels, np.bincount(true.ravel(), minlength=objects + 1)), f


def _jaccard(pixels: np.ndarray, of_truth: np.ndarray) -> np.ndarray:
    """J [P, O] from each proposal's pixels in the background and in each object, [P, 1 + O], and their totals."""
    common = pixels[:, 1:]
    union = pixels.sum(axis=1, keepdims=True) + of_truth[1:] - common
    return np.where(union == 0, 1.0, common / np.maximum(union, 1))


def statistics(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, recall (share of frames above 0.5) and decay of J or F over the scored frames, float64 [T].

    Decay is the mean of the first of four bins minus that of the last; neighbours share their edge frame. The official
    package holds the edges in 8 bits, so its decay is wrong above 256 frames. Here it is right.
    """
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(np.int64) - 1
    first, last = values[: edges[1] + 1], values[edges[3] :]
    return float(values.mean()), float((values > 0.5).mean()), float(first.mean() - last.mean())


def object_rows(name: str, score: SequenceScore) -> list[dict]:
    """A row an object: sequence, gt_id, proposal_id and the seven `MEASURES`."""
    rows = []
    for gt_id, proposal_id, j, f in zip(score.gt_ids, score.proposal_ids, score.j, score.f, strict=True):
        means = dict(zip(MEASURES[1:], (*statistics(j), *statistics(f)), strict=True))
        both = {"J&F-Mean": (means["J-Mean"] + means["F-Mean"]) / 2}
        rows.append({"sequence": name, "gt_id": gt_id, "proposal_id": proposal_id} | both | means)
    return rows


def mean_scores(rows: list[dict]) -> dict[str, float]:
    """Means of the `MEASURES` over rows of objects, whatever the lengths of their sequences; nan without rows."""
    return {measure: float(np.mean([row[measure] for row in rows])) if rows else float("nan") for measure in MEASURES}
