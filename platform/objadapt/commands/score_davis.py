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
import csv
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from .. import job
from ..data.davis import ANNOTATIONS, NAMES, Sequence, davis_sequences, notes_on_objects
from ..errors import InputError, printable
from ..evaluation.prediction_files import MEASURES, PROTOCOLS, refuse_gaps

GLOBAL, EACH = "global_results.csv", "per-sequence_results.csv"  # as the official package calls them


def score_all(sequences: list[Sequence], predictions: Path, protocol: str) -> dict[str, list[dict]]:
    """`score_predictions` of each sequence, by as many processes as there are cores; -> sequence -> rows, in the order
    of `sequences`.
    """
    from ..evaluation.predictions import score_predictions

    found, at_once = {}, min(len(os.sched_getaffinity(0)), len(sequences))
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        tasks = {pool.submit(score_predictions, one, predictions, protocol): one.name for one in sequences}
        done = tqdm(as_completed(tasks), total=len(tasks), unit="sequence", disable=not sys.stderr.isatty())
        try:
            for task in done:
                found[tasks[task]] = task.result()
        except InputError:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            done.close()
    return {sequence.name: found[sequence.name] for sequence in sequences}


def summarise(found: dict[str, list[dict]], protocol: str) -> dict:
    """What `--json` writes: the protocol, means over all objects, over each sequence's, and each object."""
    from ..evaluation.segmentation import mean_scores

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
    columns = ["J-Mean", "F-Mean"]
    objects = [
        [name, *(row[column] for column in columns)] for name, row in zip(names, summary["objects"], strict=True)
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_rows(folder / GLOBAL, list(summary["global"]), [list(summary["global"].values())])
        _write_rows(folder / EACH, ["Sequence", *columns], objects)
    except OSError as error:
        raise InputError(
            f"--output: cannot write to {folder} ({error.strerror}); name a folder that can be written"
        ) from None


def _write_rows(path: Path, header: list[str], rows: list[list]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([value if isinstance(value, str) else f"{value:.3f}" for value in row] for row in rows)


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
    """A path of the command line, absolute, since it is also written into the summary."""
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
    notes = notes_on_objects(sequences)
    summary = summarise(score_all(sequences, predictions, arguments.protocol), arguments.protocol)
    print(table_lines(summary))
    for note in notes:
        print(f"note: {printable(note)}")
    if ignored:
        more = ", ..." if len(ignored) > 5 else ""
        print(f"{len(ignored)} names in {predictions} are not scored: {printable(', '.join(ignored[:5]))}{more}")
    folder = output or predictions
    if there := [name for name in (GLOBAL, EACH) if (folder / name).exists()]:
        print(f"note: {' and '.join(there)} of {folder} were there, and are written anew")
    write_csv(folder, summary)
    job.write_json(
        arguments.json, summary | {"predictions": str(predictions), "davis": str(davis), "not_scored": ignored}
    )
