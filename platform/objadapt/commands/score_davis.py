"""Score masks of videos against a DAVIS folder: region similarity J, boundary measure F and J&F, per object and in all.

    python jobs/score_davis.py --predictions outputs/masks --davis path/of/DAVIS
    python jobs/score_davis.py --predictions outputs/masks --davis path/of/DAVIS --protocol per_frame --json scores.json

Whoever made them, masks are indexed PNGs `SEQUENCE/NNNNN.png` (ids 1 .. 20, 0 background) of the annotations' size; for
`per_frame` soft masks `SEQUENCE/NNNNN.npz` (key `masks`, float16 [P, H, W] in 0 .. 1, P up to 300). `official` and
`official_semi_supervised` agree with the official package. `per_frame` chooses anew in each frame which mask belongs to
which object and so gives higher numbers for the same binary masks: never put them beside official ones. The two CSV
files are those of the official package and do not name the protocol: give each protocol an `--output` of its own.
"""

import argparse
from pathlib import Path

import pandas as pd

from .. import job
from ..data.davis import ANNOTATIONS, NAMES, Sequence, davis_sequences
from ..errors import InputError, printable
from ..evaluation.predictions import refuse_gaps, score_predictions
from ..evaluation.segmentation import MEASURES, PROTOCOLS, mean_scores


def score_all(sequences: list[Sequence], predictions: Path, protocol: str, show) -> dict[str, list[dict]]:
    """`score_predictions` of each sequence in a Ray task of its own; -> sequence -> rows,
    in the order of `sequences`.
    """
    import ray

    @ray.remote(num_cpus=1)
    def task(sequence: Sequence) -> list[dict] | InputError:
        try:
            return score_predictions(sequence, predictions, protocol)
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
    return {
        "protocol": protocol,
        "global": mean_scores(objects),
        "sequences": sequences,
        "objects": objects,
        "without_objects": [name for name, rows in found.items() if not rows],
    }


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
        raise InputError(
            f"--output: cannot write to {folder} ({error.strerror}); name a folder that can be written"
        ) from None


def table_lines(summary: dict) -> str:
    """The summary for people: a row a sequence, then the mean over all objects."""
    rows = [*summary["sequences"], {"sequence": "all objects", "objects": len(summary["objects"])} | summary["global"]]
    width = max(len(row["sequence"]) for row in rows)
    header = [f"{'sequence':<{width}}", "objects", *(f"{name:>8}" for name in MEASURES)]
    table = [header]
    for row in rows:
        table.append(
            [f"{row['sequence']:<{width}}", f"{row['objects']:>7}", *(f"{row[name]:8.4f}" for name in MEASURES)]
        )
    return "\n".join([f"protocol {summary['protocol']}", *("  ".join(line) for line in table)])


def absolute(arguments: argparse.Namespace, option: str) -> Path | None:
    """A path of the command line as Ray's workers see it, which may have another working directory."""
    path = getattr(arguments, option)
    job.refuse_relative(f"--{option}", str(path or ""))
    return path and path.absolute()


def main():
    options = job.parser(__doc__)
    options.add_argument(
        "--predictions", type=Path, required=True, metavar="DIR", help="a folder of masks for each sequence"
    )
    options.add_argument(
        "--davis", type=Path, required=True, metavar="DIR", help="folder in DAVIS layout, with annotations"
    )
    options.add_argument("--sequences", type=Path, metavar="FILE", help=f"one name a line; default: {NAMES}")
    options.add_argument("--protocol", choices=PROTOCOLS, default="official")
    options.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for the two CSV files; default: the predictions"
    )
    job.add_json_option(options, "the summary, with a row for each object,")
    arguments = options.parse_args()
    places = ("predictions", "davis", "sequences", "output")
    predictions, davis, names, output = (absolute(arguments, option) for option in places)
    kinds = ANNOTATIONS[::-1] if arguments.protocol == "official_semi_supervised" else ANNOTATIONS
    sequences = davis_sequences(davis, names, kinds)
    ignored = refuse_gaps(sequences, predictions, arguments.protocol)

    from ..training.progress import Display

    job.start_ray()
    display = Display()
    try:
        summary = summarise(score_all(sequences, predictions, arguments.protocol, display), arguments.protocol)
    finally:
        display.close()
    if not summary["objects"]:
        raise InputError(
            f"--davis: no object in the first frame of any sequence; are these the annotations of {davis}?"
        )
    print(table_lines(summary))
    if summary["without_objects"]:
        print(f"without an object in the first frame, so not in the means: {', '.join(summary['without_objects'])}")
    if ignored:
        more = ", ..." if len(ignored) > 5 else ""
        print(f"{len(ignored)} names in {predictions} are not scored: {printable(', '.join(ignored[:5]))}{more}")
    write_csv(output or predictions, summary)
    job.write_json(
        arguments.json, summary | {"predictions": str(predictions), "davis": str(davis), "not_scored": ignored}
    )
