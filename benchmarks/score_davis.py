"""Milliseconds that J and F cost for each (frame, object, proposal), beside the straightforward way,
in one run on one core.

    pip install opencv-python-headless                  # for the straightforward way alone; nothing else here needs it
    python benchmarks/score_davis.py                    # random blobs, 480 x 854 pixels
    python benchmarks/score_davis.py --davis path/of/DAVIS --predictions path/of/masks --sequences names.txt

The straightforward way is what the official package does: for each pair of an object and a proposal two masks of the
whole frame, intersection and union by counting, and for F both boundaries found anew and dilated by a disc with OpenCV.
Both sides take turns frame by frame and must agree. Process time, masks already in memory.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import numpy as np

from objadapt import job
from objadapt.data.davis import davis_sequences, read_ids
from objadapt.errors import InputError
from objadapt.evaluation.boundary import boundaries_of_ids, boundary_f, boundary_radius
from objadapt.evaluation.segmentation import VOID, jaccard_of_ids, object_count

try:
    import cv2
except ModuleNotFoundError:
    cv2 = None


def random_frames(frames: int, objects: int, proposals: int) -> Iterator[tuple[np.ndarray, np.ndarray, int, int]]:
    """Frames of 480 x 854 with ellipses as objects and as proposals: (true ids, ids, objects, proposals)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :854]

    def picture(count: int) -> np.ndarray:
        ids = np.zeros((480, 854), np.uint8)
        for one in range(1, count + 1):
            middle, radii, wave = rng.uniform((60, 100), (420, 750)), rng.uniform(30, 120, 2), rng.uniform(0, 0.2)
            dy, dx = (y - middle[0]) / radii[0], (x - middle[1]) / radii[1]
            ids[dy**2 + dx**2 < 1 + wave * np.sin(9 * np.arctan2(dy, dx))] = one
        return ids

    for _ in range(frames):
        yield picture(objects), picture(proposals), objects, proposals


def stored_frames(davis: Path, predictions: Path, names: Path | None, frames: int) -> Iterator[tuple]:
    """As `random_frames`, for `frames` evenly spaced frames of each sequence of a DAVIS folder."""
    for sequence in davis_sequences(davis, names):
        objects = object_count(read_ids(sequence.annotations[0]))
        chosen = [sequence.annotations[at] for at in np.linspace(0, len(sequence.annotations) - 1, frames).astype(int)]
        pairs = [(read_ids(path), read_ids(predictions / sequence.name / path.name)) for path in chosen]
        proposals = max(objects, *(int(ids.max()) for _, ids in pairs))
        for true, ids in pairs:
            void = true == VOID
            yield np.where(true > objects, 0, true), np.where(void, 0, ids), objects, proposals


def f_once(true: np.ndarray, ids: np.ndarray, objects: int, proposals: int) -> np.ndarray:
    """F of all pairs [P, O] as this package finds it: each boundary once."""
    return boundary_f(boundaries_of_ids(true, objects), boundaries_of_ids(ids, proposals), boundary_radius(*true.shape))


def per_pair(score: Callable[[np.ndarray, np.ndarray], float]) -> Callable[..., np.ndarray]:
    """A score of two masks, computed pair by pair; -> [P, O]."""

    def every(true: np.ndarray, ids: np.ndarray, objects: int, proposals: int) -> np.ndarray:
        truth = [true == one for one in range(1, objects + 1)]
        masks = [ids == one for one in range(1, proposals + 1)]
        return np.array([[score(one, mask) for one in truth] for mask in masks])

    return every


def pair_j(truth: np.ndarray, mask: np.ndarray) -> float:
    union = (truth | mask).sum()
    return (truth & mask).sum() / union if union else 1.0


def pair_f(truth: np.ndarray, mask: np.ndarray) -> float:
    radius = boundary_radius(*truth.shape)
    rise = np.arange(-radius, radius + 1)
    disc = (rise[:, None] ** 2 + rise**2 <= radius**2).astype(np.uint8)
    edges = [whole_boundary(one) for one in (mask, truth)]
    wide = [cv2.dilate(edge.astype(np.uint8), disc) > 0 for edge in edges]
    lengths = [edge.sum() for edge in edges]
    if not all(lengths):
        return float(not any(lengths))
    precision, recall = (edges[0] & wide[1]).sum() / lengths[0], (edges[1] & wide[0]).sum() / lengths[1]
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def whole_boundary(mask: np.ndarray) -> np.ndarray:
    """Boundary of a mask as a picture of the whole frame: not the same as to the right, below or to the lower right."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask ^ padded[:-1, 1:]) | (mask ^ padded[1:, :-1]) | (mask ^ padded[1:, 1:])


def main():
    options = job.parser(__doc__)
    options.add_argument("--davis", type=Path, metavar="DIR", help="folder in DAVIS layout; without it, random blobs")
    options.add_argument(
        "--predictions", type=Path, metavar="DIR", help="folder with a folder of indexed PNGs a sequence"
    )
    options.add_argument("--sequences", type=Path, metavar="FILE", help="names of the sequences, one a line")
    options.add_argument("--frames", type=int, default=10, help="frames (of each sequence)")
    options.add_argument("--objects", type=int, default=2, help="objects a frame, for random blobs")
    options.add_argument("--proposals", type=int, default=20, help="proposals a frame, for random blobs")
    options.add_argument("--repeat", type=int, default=3, help="times that each frame is scored; the fastest counts")
    job.add_json_option(options, "the figures")
    arguments = options.parse_args()
    if cv2 is None:
        raise InputError("cv2: not installed, and the straightforward way needs it; pip install opencv-python-headless")
    if (arguments.davis is None) != (arguments.predictions is None):
        raise InputError(
            "--davis and --predictions belong together: annotations, and masks to score; give both or none"
        )
    cv2.setNumThreads(1)
    if arguments.davis:
        frames = stored_frames(arguments.davis, arguments.predictions, arguments.sequences, arguments.frames)
    else:
        frames = random_frames(arguments.frames, arguments.objects, arguments.proposals)
    sides = {"J": (jaccard_of_ids, per_pair(pair_j)), "F": (f_once, per_pair(pair_f))}
    seconds, pairs, seen = {(kind, side): 0.0 for kind in sides for side in (0, 1)}, 0, 0
    for frame in frames:
        pairs, seen = pairs + frame[2] * frame[3], seen + 1
        for kind, functions in sides.items():
            fastest, found = [float("inf")] * 2, [None, None]
            for _ in range(arguments.repeat):
                for side, function in enumerate(functions):
                    start = time.process_time()
                    found[side] = function(*frame)
                    fastest[side] = min(fastest[side], time.process_time() - start)
            np.testing.assert_allclose(*found, rtol=0, atol=1e-12)
            for side in (0, 1):
                seconds[kind, side] += fastest[side]
    figures = {"frames": seen, "pairs": pairs}
    for kind in sides:
        ours, theirs = (1e3 * seconds[kind, side] / pairs for side in (0, 1))
        figures |= {
            f"{kind}_ms_a_pair": ours,
            f"{kind}_ms_a_pair_straightforward": theirs,
            f"{kind}_ratio": theirs / ours,
        }
    totals = [seconds["J", side] + seconds["F", side] for side in (0, 1)]
    figures["J_and_F_ratio"] = totals[1] / totals[0]
    for name, value in figures.items():
        print(f"{name:<32} {value:.4f}" if isinstance(value, float) else f"{name:<32} {value}")
    job.write_json(arguments.json, figures)


if __name__ == "__main__":
    job.run(main)
