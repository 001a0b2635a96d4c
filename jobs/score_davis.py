"""Score masks of videos against a DAVIS folder: region similarity J, boundary measure F and J&F, per object and in all.

    python jobs/score_davis.py --predictions outputs/masks --davis path/of/DAVIS
    python jobs/score_davis.py --predictions outputs/masks --davis path/of/DAVIS --protocol per_frame --json scores.json

Whoever made them, masks are indexed PNGs `SEQUENCE/NNNNN.png` (ids 1 .. 20, 0 background) of the annotations' size; for
`per_frame` soft masks `SEQUENCE/NNNNN.npz` (key `masks`, float16 [P, H, W] in 0 .. 1, P up to 300). `official` and
`official_semi_supervised` agree with the official package. `per_frame` chooses anew in each frame which mask belongs to which
object and so gives higher numbers: never put them beside official ones. The two CSV files are those of the official package
and do not name the protocol: give each protocol an `--output` of its own.
"""

import argparse
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import numpy as np
import pandas as pd
import ray

from objadapt import job
from objadapt.data.davis import ANNOTATIONS, NAMES, Sequence, davis_sequences, read_ids, sorted_files
from objadapt.errors import InputError
from objadapt.evaluation.segmentation import (
    MAX_PROPOSALS,
    MAX_SOFT_PROPOSALS,
    MEASURES,
    PROTOCOLS,
    mean_scores,
    object_count,
    object_rows,
    score_sequence,
    score_soft_sequence,
)
from objadapt.training.progress import Display


def prediction_file(folder: Path, annotation: Path, protocol: str) -> Path:
    """Where the prediction for an annotated frame lies."""
    return folder / f"{annotation.stem}{'.npz' if protocol == 'per_frame' else '.png'}"


def scored_frames(sequence: Sequence, protocol: str) -> tuple[Path, ...]:
    """Annotations of the frames that count; semi-supervised, the first mask is given and the last frame left out."""
    return sequence.annotations[1:-1] if protocol == "official_semi_supervised" else sequence.annotations


def refuse_gaps(sequences: list[Sequence], predictions: Path, protocol: str) -> list[str]:
    """Names in the folder of predictions that are not scored.

    Raises:
        InputError: no folder, a sequence without annotations or predictions, or a frame without its file.
    """
    if not predictions.is_dir():
        raise InputError(f"--predictions: no folder {predictions}; give one with a folder of masks for each sequence")
    ignored = {path.name for path in predictions.iterdir() if path.is_dir()} - {sequence.name for sequence in sequences}
    for sequence in sequences:
        folder, frames = predictions / sequence.name, scored_frames(sequence, protocol)
        if not frames:
            annotated = f"{sequence.name} has {len(sequence.annotations)} annotated frames"
            raise InputError(f"--davis: {annotated}, none of which {protocol} scores; leave it out by --sequences")
        wanted = {prediction_file(folder, annotation, protocol) for annotation in sequence.annotations}
        for annotation in frames:
            path = prediction_file(folder, annotation, protocol)
            if not path.is_file():
                raise InputError(f"{path}: missing; {protocol} needs one mask file an annotated frame, named as it is")
        ignored |= {f"{path.parent.name}/{path.name}" for path in sorted_files(folder, path.suffix) if path not in wanted}
    return sorted(ignored)


def read_masks(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Soft masks [P, H, W] of a frame of `size` (H, W); InputError where the file does not hold such."""
    wanted = f"give key 'masks', float16 [P, {size[0]}, {size[1]}] in 0 .. 1"
    try:
        with np.load(path) as archive:  # an .npy file has no `with`
            masks = archive["masks"]
    except (OSError, KeyError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: no readable soft masks ({error or type(error).__name__}); {wanted}") from None
    if masks.ndim != 3 or masks.shape[1:] != size or masks.dtype.kind not in "fb":
        raise InputError(f"{path}: {masks.dtype} {list(masks.shape)}; {wanted}")
    if len(masks) > MAX_SOFT_PROPOSALS:
        raise InputError(f"{path}: {len(masks)} masks, per_frame allows {MAX_SOFT_PROPOSALS}; leave some out")
    if masks.size and not (masks.min() >= 0 and masks.max() <= 1):  # also where there is a nan
        raise InputError(f"{path}: values from {masks.min()} to {masks.max()}; {wanted}")
    return masks


def score(sequence: Sequence, predictions: Path, protocol: str) -> list[dict]:
    """Rows of a sequence's objects; reads frame by frame, so that its length does not matter.

    Raises:
        InputError: a file that cannot be read, of another size, or with more ids than the protocol allows.
    """
    folder, scored = predictions / sequence.name, set(scored_frames(sequence, protocol))
    first = read_ids(sequence.annotations[0])
    allowed = object_count(first) if protocol == "official_semi_supervised" else MAX_PROPOSALS

    def checked(path: Path) -> np.ndarray:
        ids = read_ids(path)
        if ids.shape != first.shape:
            sizes = f"{ids.shape[1]} x {ids.shape[0]} pixels, {sequence.annotations[0]} has {first.shape[1]} x {first.shape[0]}"
            raise InputError(f"{path}: {sizes}; write masks at the size of the annotations (nearest neighbour keeps ids)")
        return ids

    def proposals() -> Iterator[np.ndarray]:
        for annotation in sequence.annotations:
            path = prediction_file(folder, annotation, protocol)
            if annotation not in scored:
                yield np.zeros_like(first)
                continue
            ids = checked(path)
            if ids.max() > allowed:
                raise InputError(f"{path}: id {ids.max()}, {protocol} allows ids up to {allowed} here; leave masks out")
            yield ids

    truth = map(checked, sequence.annotations)
    if protocol == "per_frame":
        soft = (read_masks(prediction_file(folder, annotation, protocol), first.shape) for annotation in sequence.annotations)
        return object_rows(sequence.name, score_soft_sequence(truth, soft))
    return object_rows(sequence.name, score_sequence(truth, proposals(), protocol))


def score_all(sequences: list[Sequence], predictions: Path, protocol: str, show) -> dict[str, list[dict]]:
    """`score` of each sequence in a Ray task of its own; -> sequence -> rows, in the order of `sequences`."""

    @ray.remote(num_cpus=1)
    def task(sequence: Sequence) -> list[dict] | InputError:
        try:
            return score(sequence, predictions, protocol)
        except InputError as error:  # raised through Ray it would carry a traceback in its text
            return error

    running = {task.remote(sequence): sequence.name for sequence in sequences}
    found: dict[str, list[dict]] = {}
    while running:
        [ready], _ = ray.wait(list(running))
        name, rows = running.pop(ready), ray.get(ready)
        if isinstance(rows, InputError):
            for other in running:
                ray.cancel(other)
            raise rows
        found[name] = rows
        show("sequences", len(found), len(sequences), name)
    return {sequence.name: found[sequence.name] for sequence in sequences}


def summarise(found: dict[str, list[dict]], protocol: str) -> dict:
    """What `--json` writes: the protocol, means over all objects, over each sequence's, and each object."""
    objects = [row for rows in found.values() for row in rows]
    sequences = [{"sequence": name, "objects": len(rows)} | mean_scores(rows) for name, rows in found.items() if rows]
    return {"protocol": protocol, "global": mean_scores(objects), "sequences": sequences, "objects": objects,
            "without_objects": [name for name, rows in found.items() if not rows]}  # fmt: skip


def write_csv(folder: Path, summary: dict) -> None:
    """global_results.csv and per-sequence_results.csv, columns and digits as the official package writes them."""
    names = [f"{one['sequence']}_{place}" for one in summary["sequences"] for place in range(1, one["objects"] + 1)]
    per_object = pd.DataFrame(summary["objects"])[["J-Mean", "F-Mean"]]
    per_object.insert(0, "Sequence", names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame([summary["global"]]).to_csv(folder / "global_results.csv", index=False, float_format="%.3f")
        per_object.to_csv(folder / "per-sequence_results.csv", index=False, float_format="%.3f")
    except OSError as error:
        raise InputError(f"--output: cannot write to {folder} ({error.strerror}); name a folder that can be written") from None


def table_lines(summary: dict) -> str:
    """The summary for people: a row a sequence, then the mean over all objects."""
    rows = [*summary["sequences"], {"sequence": "all objects", "objects": len(summary["objects"])} | summary["global"]]
    width = max(len(row["sequence"]) for row in rows)
    header = [f"{'sequence':<{width}}", "objects", *(f"{name:>8}" for name in MEASURES)]
    table = [header]
    for row in rows:
        table.append([f"{row['sequence']:<{width}}", f"{row['objects']:>7}", *(f"{row[name]:8.4f}" for name in MEASURES)])
    return "\n".join([f"protocol {summary['protocol']}", *("  ".join(line) for line in table)])


def absolute(arguments: argparse.Namespace, option: str) -> Path | None:
    """A path of the command line as Ray's workers see it, which may have another working directory."""
    path = getattr(arguments, option)
    if path and job.submitted() and not path.is_absolute():
        raise InputError(f"--{option}: {path} is relative, and a submitted job runs in a temporary copy; give an absolute path")
    return path and path.absolute()


def main():
    options = job.parser(__doc__.split("\n\n")[0])
    options.add_argument("--predictions", type=Path, required=True, metavar="DIR", help="a folder of masks for each sequence")
    options.add_argument("--davis", type=Path, required=True, metavar="DIR", help="folder in DAVIS layout, with annotations")
    options.add_argument("--sequences", type=Path, metavar="FILE", help=f"one name a line; default: {NAMES}")
    options.add_argument("--protocol", choices=PROTOCOLS, default="official")
    options.add_argument("--output", type=Path, metavar="DIR", help="folder for the two CSV files; default: the predictions")
    options.add_argument("--json", metavar="FILE", help="write the summary, with a row for each object, as JSON")
    arguments = options.parse_args()
    places = ("predictions", "davis", "sequences", "output")
    predictions, davis, names, output = (absolute(arguments, option) for option in places)
    kinds = ANNOTATIONS[::-1] if arguments.protocol == "official_semi_supervised" else ANNOTATIONS
    sequences = davis_sequences(davis, names, kinds)
    ignored = refuse_gaps(sequences, predictions, arguments.protocol)
    job.start_ray()
    display = Display()
    try:
        summary = summarise(score_all(sequences, predictions, arguments.protocol, display), arguments.protocol)
    finally:
        display.close()
    if not summary["objects"]:
        raise InputError(f"--davis: no object in the first frame of any sequence; are these the annotations of {davis}?")
    print(table_lines(summary))
    if summary["without_objects"]:
        print(f"without an object in the first frame, so not in the means: {', '.join(summary['without_objects'])}")
    if ignored:
        more = ", ..." if len(ignored) > 5 else ""
        print(f"{len(ignored)} names in {predictions} are not scored: {', '.join(ignored[:5])}{more}")
    write_csv(output or predictions, summary)
    job.write_json(arguments.json, summary | {"predictions": str(predictions), "davis": str(davis), "not_scored": ignored})


if __name__ == "__main__":
    job.run(main)
