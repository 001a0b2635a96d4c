"""Say what of a data set is there: clips missing, unreadable, duplicated or unlabelled, by split and class.

    python jobs/manifest.py --format ucf101 --annotations ucfTrainTestlist --videos UCF-101 data.split=2
    python jobs/manifest.py --format kinetics --annotations k400 --videos k400/val --check open --output k400.parquet
    python jobs/manifest.py --format kinetics --annotations kinetics-400_val.csv --videos k400/val
    python jobs/manifest.py --format video_list --annotations lists --videos frames data.train=train_list.txt

It reads the annotations as a training does (docs/data.md) and compares their counts with the published ones. `davis`
is read as well. Missing clips are what this command finds, not a failure of it: it ends with exit code 0 once all is
told. `--check` looks at every video that is there, with as many processes as this machine has cores; `open` takes
seconds where `decode` takes hours, and misses what is broken behind the first frame.
"""

import os
import sys
from typing import get_args

from tqdm import tqdm

from .. import job
from ..config import Data
from ..errors import InputError, printable

REPORT = 0.5  # any `data.holdout`: a report needs no validation clips
SHOWN = 5  # names or classes, at the most, of a kind
FORMATS = (*get_args(Data.model_fields["format"].annotation), "davis")
KINDS = ("listed", "found", "missing", "unreadable", "duplicated", "unlabelled")


class TableToWrite(job.NewFileToWrite):
    """`NewFileToWrite` for .parquet or .csv."""

    def __call__(self, parser, namespace, path, option_string=None):
        super().__call__(parser, namespace, path, option_string)
        if os.path.splitext(path)[1].lower() not in (".csv", ".parquet"):
            raise InputError(f"{self.option_strings[0]}: {path} ends in neither .csv nor .parquet; give one of them")


def count_lines(counts: dict[str, dict[str, int]], checked: bool) -> list[str]:
    """A row a split."""
    kinds = [kind for kind in KINDS if checked or kind != "unreadable"]
    rows = [["split", *kinds], *([split, *(f"{one[kind]:,}" for kind in kinds)] for split, one in counts.items())]
    return ["  ".join([f"{row[0]:<6}", *(f"{cell:>10}" for cell in row[1:])]) for row in rows]


def class_lines(by_class: dict[str, list[dict]]) -> list[str]:
    """The classes of which most is missing or that have duplicates, and those without a clip."""
    said = []
    for head, rows in by_class.items():
        empty = [row["class"] for row in rows if not row["listed"]]
        incomplete = [row for row in rows if row["found"] < row["listed"]]
        twice = [row for row in rows if row["duplicated"]]
        worst = [row for row in rows if row["found"] < row["listed"] or row["duplicated"]]
        with_twice = f", {len(twice)} with duplicated clips" if twice else ""
        said.append(f"{head}: {len(rows)} classes, {len(incomplete)} of them incomplete{with_twice}")
        said += [f"  {row['class']}: {_class_counts(row)}" for row in worst[:SHOWN]]
        said += [f"  and {len(worst) - SHOWN} more"] if len(worst) > SHOWN else []
        said += [f"  without a clip in the annotations: {_first(empty)}"] if empty else []
    return said


def _class_counts(row: dict) -> str:
    """`found 1 of 4, 2 missing, 1 unreadable`: what is amiss with a class."""
    amiss = [f"{row[kind]:,} {kind}" for kind in ("missing", "unreadable", "duplicated") if row.get(kind)]
    return ", ".join([f"found {row['found']:,} of {row['listed']:,}", *amiss])


def name_lines(names: dict[str, list[str]], output: str | None) -> list[str]:
    """The first names of each kind; all are in the file."""
    where = f"; all are in {output}" if output else "; --output FILE lists all"
    return [f"{kind}: {_first(clips)}{where if len(clips) > SHOWN else ''}" for kind, clips in names.items() if clips]


def refused_lines(messages: list[str]) -> list[str]:
    """What must be put right before a training."""
    more = [f"  and {len(messages) - SHOWN} more"] if len(messages) > SHOWN else []
    return ["a training refuses:", *(f"  {one}" for one in messages[:SHOWN]), *more] if messages else []


def official_lines(official: dict | None) -> list[str]:
    """Whether the counts are the published ones."""
    if official is None:
        return ["official counts: none are known for this format"]
    name = official["name"] + "".join(f", {split} not read" for split in official["not_read"])
    if official["agrees"]:
        return [f"official counts: agree with {name}"]
    return [f"official counts: differ from {name}", *(f"  {one}" for one in official["differs"])]


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def data_of(form: str, annotations: str, videos: str | None, overrides: list[str]) -> Data:
    """The section `data` that these options stand for; other keys of it may be overridden."""
    job.check_overrides(overrides)
    if wrong := next((one for one in overrides if not one.startswith("data.")), None):
        raise InputError(f"override {wrong!r}: this command reads data alone; give keys such as data.split=2")
    options = {"data.format": "--format", "data.root": "--annotations", "data.videos": "--videos"}
    if twice := next((key for key in options if any(one.startswith(f"{key}=") for one in overrides)), None):
        raise InputError(f"override {twice}: give it by {options[twice]}")
    given = [f"data.format={form}"] if form != "davis" else []
    data = job.load_config(None, [*given, *overrides]).data
    root, train, val = _place(annotations), data.train, data.val
    if os.path.isfile(root):
        if train:
            raise InputError(f"override data.train: {annotations} is a file; give its folder, or leave data.train out")
        root, train = os.path.split(root)
        val = val or ""  # not the one that may lie beside it
    places = {"root": root, "train": train, "val": val, "videos": videos and _place(videos)}
    return data.model_copy(update={**places, "holdout": data.holdout or REPORT})


def _place(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


def main():
    options = job.parser(__doc__)
    options.add_argument("--format", choices=FORMATS, required=True, help="how the annotations are written")
    options.add_argument(
        "--annotations",
        metavar="DIR",
        required=True,
        help="folder of the annotations (data.root; others by data.train)",
    )
    options.add_argument("--videos", metavar="DIR", help="folder of the videos; default: the format's own")
    options.add_argument(
        "--check",
        choices=("open", "decode"),
        help="find broken videos: open each and decode its first frame, or decode each to its last",
    )
    options.add_argument(
        "--output", metavar="FILE", action=TableToWrite, help="write a row for each clip, as .parquet or .csv"
    )
    job.add_json_option(options, "the report, with all names,")
    job.add_overrides(options, "values of data, e.g. data.split=2")
    arguments = options.parse_intermixed_args()
    for option in ("annotations", "videos"):
        job.refuse_relative(f"--{option}", getattr(arguments, option) or "")
    data = data_of(arguments.format, arguments.annotations, arguments.videos, arguments.overrides)
    if arguments.format == "davis" and arguments.videos:
        raise InputError("--videos: the pictures of davis lie in --annotations, in JPEGImages; leave it out")
    if arguments.format != "davis":
        from ..data.places import data_files

        files = map(os.path.realpath, data_files(data).values())
        if arguments.json and os.path.realpath(arguments.json) in files:
            raise InputError(f"--json: {arguments.json} is an annotation file, which is read; give another name")

    from ..data.coverage import cover, with_checked

    coverage = cover(data, arguments.format)
    if arguments.check:
        coverage = with_checked(coverage, checked(coverage.table["path"].dropna().unique().tolist(), arguments.check))
    names, official = coverage.names(), coverage.official()
    lines = [*count_lines(coverage.counts(), bool(arguments.check)), *class_lines(coverage.by_class())]
    refused = [one.message for one in coverage.repeats]
    lines += [*name_lines(names, arguments.output), *refused_lines(refused), *official_lines(official)]
    print("\n".join(map(printable, lines)))
    if arguments.output:
        write_table(coverage.table, arguments.output)
    report = {"format": arguments.format, "counts": coverage.counts(), "classes": coverage.classes}
    report |= {"by_class": coverage.by_class(), "names": names, "refused": refused, "official": official}
    job.write_json(arguments.json, report)


def checked(paths: list[str], level: str) -> list[dict]:
    """What `check` finds of the files."""
    from ..data.check import check, glance, look

    rows = check(paths, glance if level == "open" else look)
    return list(tqdm(rows, total=len(paths), unit="file", desc="videos", disable=not sys.stderr.isatty()))


def write_table(table, path: str) -> None:
    """Write the table of clips."""
    if path.lower().endswith(".csv"):
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)
