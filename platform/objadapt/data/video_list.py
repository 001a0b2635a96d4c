"""Lists as mmaction2, PySlowFast and TSM write them: a line for each video, ended by its label.

    abseiling/0wR5jVB-WPk.mp4 0             path label
    182040 58 93                            path frames label           a folder of frames
    P01_101 143 50 3                        path offset frames label    a part of one

Separators are spaces, a tab or a comma. A path may hold them, too, since numbers are taken from the end of the line.
Labels count from 0. A whole list may lack them, as a test list does.
"""

import logging
import os
import re
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pandas as pd

from ..config import Data
from ..errors import InputError
from ..passwords import redact
from .annotation_file import AGAIN, read_lines, refuse, refuse_repeated_rows
from .annotations import Listing
from .containers import is_video_name
from .frame_names import NUMBERED
from .listed_paths import locate
from .places import data_files, data_root, videos_folder
from .remote import is_http

NUMBERS = re.compile(r"((?:\s+-?[0-9]{1,18})+|(?:\s*,\s*-?[0-9]{1,18})+)$")  # behind one separator
SEVERAL = re.compile(r"[\s,]+-?[0-9]+$")  # a number behind another separator: `a.mp4 3,5`
LOOKED_AT = 3  # lines, by which a list without labels is told
HEADER = re.compile(r"(?<![a-z])(id|name|label|class|index)(?![a-z])")  # in the first line of a table of names
TITLE = {"id", "name", "names", "label", "labels", "class", "classes", "index"}  # words that are no class
SHOWN = 5  # labels, at the most, in a message
MOST_LABEL = 10**6  # greater ones are no class numbers
KINDS = {1: "path label", 2: "path frames label", 3: "path offset frames label"}  # by how many numbers
NO_URL = "is a folder of frames at a URL, which is not read; copy it here"
FRAME_LIST = "original_vido_id"  # sic, first word of PySlowFast's lists of frames

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Line:
    """One line of a list."""

    number: int
    path: str
    numbers: tuple[int, ...]  # at its end, without the label
    label: int  # -1: none


def read_video_list(data: Data) -> Listing:
    """Class names are the lines of a `label_map.txt` (`data.labels`), else numbers up to the greatest training label.

    A folder of frames gives the span of frames that its line names; one that holds fewer is quarantined when read.
    Whether a mirrored clip keeps its class is unknown, so flipping is off unless `transform.flip` is set.

    Raises:
        InputError: a line of another form than the others, a label beyond the classes, several labels in one line.
    """
    files = data_files(data)
    videos = videos_folder(data, data_root(data), "videos", "rawframes")
    lists = {split: _lines(files[split], split) for split in ("train", "val", "test") if split in files}
    numbers = {split: len(lines[0].numbers) for split, lines in lists.items()}
    for split in numbers.keys() - {"train"}:
        first = lists[split][0]
        if numbers[split] < numbers["train"] and first.label >= 0 and not is_video_name(first.path):
            # `path frames` beside `path frames label`: the label is lacking
            if split == "val":
                lacks = f"its lines have fewer numbers than those of {files['train']}"
                raise InputError(f"{files[split]}: {lacks}; {AGAIN}")
            lists[split] = [replace(line, numbers=(*line.numbers, line.label), label=-1) for line in lists[split]]
    classes = _classes(files, lists["train"])
    tables = []
    for split, lines in lists.items():
        table = pd.DataFrame(
            {"name": [line.path for line in lines], "label": [line.label for line in lines]},
            index=[line.number for line in lines],
        )
        beyond = f"is beyond the {len(classes)} classes, which count from 0"
        refuse(
            table["label"].astype(str),
            table["label"] >= len(classes),
            files[split],
            f"{beyond}; give the list's own label_map",
        )
        spans = np.array([_span(line) for line in lines])
        names = table["name"].rename("path")
        table["path"] = paths = locate(names, videos, files[split], frames=bool(lines[0].numbers))
        remote = np.array(["://" in (path or "") for path in paths])
        refuse(names, ~np.isnan(spans[:, 0]) & remote, files[split], NO_URL)
        table["start_s"], table["end_s"], table["split"] = *spans.T, split
        table["clip_id"] = _clip_ids(names.str.removeprefix(f"{videos}/"), lines)
        shown = names.map(lambda name: redact(name) if is_http(name) else name)
        refuse_repeated_rows(shown, table["clip_id"], files[split], "list each clip once")
        tables.append(table)
    rows = pd.concat(tables, ignore_index=True).drop(columns="name")
    _refuse_frame_counts(rows[rows["split"] == "train"], lists["train"], files["train"])
    _warn_of_gaps(rows[rows["split"] == "train"], files["train"], named="labels" in files)
    for split, lines in lists.items():
        _warn_of_ends(lines, files[split])
    return Listing(rows, {"label": classes}, flip=False)


def _lines(source: str, split: str) -> list[_Line]:
    """The lines of a list, which all have one form; InputError names the first that does not."""
    lines = read_lines(source)
    if lines[0][1].split()[0] == FRAME_LIST:
        remedy = "give the data set's own annotations and, as data.videos, the folder of its frames"
        raise InputError(f"{source}: PySlowFast's list of single frames, whose labels lie elsewhere; {remedy}")
    parts = [_split(text) for _, text in lines]
    counts = [len(numbers) for _, numbers in parts]
    form = max(set(counts), key=lambda count: (counts.count(count), count))
    read = []
    for (line, text), (path, numbers) in zip(lines, parts, strict=True):
        place = f"{source}: line {line}: {text[-60:]!r}"
        if len(numbers) != form or not path:
            last = "; it is the last line: is the file cut off?" if line == lines[-1][0] else ""
            wrong = "no path" if not path else f"{len(numbers)} numbers behind its path, other lines have {form}"
            raise InputError(f"{place} has {wrong}; correct that line{last}")
        if form == 0:
            *before, _ = ["", *re.split(r"[\s,;]+", path)]
            if (
                split != "train" and not is_video_name(path) and is_video_name(before[-1])
            ):  # `a.mp4 1.0`, `a.mp4;1`, `a.mp4 run`
                raise InputError(f"{place} ends in no whole number; write `path label`, labels counted from 0")
            read.append(_Line(line, path, (), -1))
            continue
        of_video = is_video_name(path) or is_video_name(SEVERAL.sub("", path))
        if form > len(KINDS) or (of_video and (form > 1 or SEVERAL.search(path))):
            forms = ", ".join(f"`{kind}`" for kind in KINDS.values())
            raise InputError(f"{place} has several labels; one is read, in the forms {forms} (frames: of a folder)")
        *span, label = numbers
        if not -1 <= label <= MOST_LABEL or min(span, default=0) < 0 or (span and span[-1] == 0):
            raise InputError(f"{place} is not `{KINDS[form]}` with numbers that can be; correct that line")
        read.append(_Line(line, path, tuple(span), label))
    if split == "train" and all(line.label < 0 for line in read):
        raise InputError(f"{source}: no line ends in a label, and it is trained on; {AGAIN}, or give the other list")
    return read


def _split(text: str) -> tuple[str, tuple[int, ...]]:
    """A line without its numbers at the end, and these."""
    match = NUMBERS.search(text)
    numbers = tuple(map(int, re.split(r"[\s,]+", match[1].strip(" \t,")))) if match else ()
    return text[: match.start() if match else None].strip(" \t\"'"), numbers


def _span(line: _Line) -> tuple[float, float]:
    """[start, end) in frames, NaN: the whole of a video file."""
    if not line.numbers:
        return np.nan, np.nan
    *offset, frames = line.numbers
    start = offset[0] if offset else 0
    return float(start), float(start + frames)


def _clip_ids(names: pd.Series, lines: list[_Line]) -> list[str]:
    """The paths; of parts of a folder with the frame at which they begin. A signature in a URL is no part of a name."""
    shown = (redact(name) if is_http(name) else name for name in names)
    return [
        f"{name}:{line.numbers[0]}" if len(line.numbers) > 1 else name for name, line in zip(shown, lines, strict=True)
    ]


def _refuse_frame_counts(rows: pd.DataFrame, lines: list[_Line], source: str) -> None:
    """InputError where what stands for the labels are the numbers of frames: `path frames` of a list without labels."""
    if lines[0].numbers:
        return
    pairs = zip(rows["path"], rows["label"], strict=True)
    folders = list(
        islice(((path, label) for path, label in pairs if isinstance(path, str) and os.path.isdir(path)), LOOKED_AT)
    )
    counts = [sum(bool(NUMBERED.fullmatch(name)) for name in os.listdir(path)) for path, _ in folders]
    if len(folders) > 1 and counts == [label for _, label in folders]:
        wrong = f"{lines[0].path} has {counts[0]} frames, and so in other lines: these are no labels"
        raise InputError(f"{source}: {wrong}; give the list with labels, `path frames label`")


def _warn_of_ends(lines: list[_Line], source: str) -> None:
    """Warn where `path start end label` may be meant by what is read as `path offset frames label`."""
    if len(lines) < LOOKED_AT or len(lines[0].numbers) != 2:
        return
    if all(line.numbers[1] > line.numbers[0] > 0 for line in lines):
        wrong = "in every line the second number is greater than the first: is it the last frame?"
        log.warning("%s: %s It is read as the number of frames, behind the first", source, wrong)


def _classes(files: dict[str, str], train: list[_Line]) -> list[str]:
    if "labels" not in files:
        return [str(number) for number in range(max(line.label for line in train) + 1)]
    lines = read_lines(files["labels"])
    names = [text for _, text in lines]
    _refuse_other_names(files["labels"], lines)
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{files['labels']}: class {twice!r} is there twice; one name a line, in the order of labels")
    return names


def _refuse_other_names(source: str, lines: list[tuple[int, str]]) -> None:
    """InputError for a file of names in another form: a class's place among the lines is its label."""
    names = [text for _, text in lines]
    form = "give a text file with one name a line, in the order of labels"
    if names[0][0] in "{[":
        raise InputError(f"{source}: is JSON; {form}")
    gap = next(
        (before + 1 for (before, _), (line, _) in zip(lines, lines[1:], strict=False) if line > before + 1), None
    )
    if gap:
        raise InputError(f"{source}: line {gap} is blank, and the names behind it would move up; {form}")
    behind_a_header = names[1:] if len(names) > 1 and HEADER.search(names[0].lower()) else names
    for numbered in (r"[0-9]+[\s,;:]+\S.*", r".*\S[\s,;:]+[0-9]+"):
        if all(re.fullmatch(numbered, name) for name in behind_a_header):
            raise InputError(f"{source}: line {lines[-1][0]}: {names[-1]!r} has a number beside the name; {form}")
    words = set(re.findall(r"[^\W_]+", names[0].lower()))
    if words and words <= TITLE and len(names) > 1:
        raise InputError(f"{source}: line 1: {names[0]!r} is a header, and would be class 0; {form}")


def _warn_of_gaps(rows: pd.DataFrame, source: str, named: bool) -> None:
    given = set(rows["label"]) - {-1}
    if given and 0 not in given:
        log.warning("%s: no clip has label 0; do its labels count from 1? Class 0 stays without clips", source)
    elif not named and len(given) <= (most := max(given, default=-1)):
        absent = [
            str(label) for label, _ in zip((one for one in range(most) if one not in given), range(SHOWN), strict=False)
        ]
        left, shown = most + 1 - len(given), ", ".join(absent)
        log.warning(
            "%s: no clip has label %s%s; these %d classes stay without clips",
            source,
            shown,
            ", ..." * (left > SHOWN),
            left,
        )
