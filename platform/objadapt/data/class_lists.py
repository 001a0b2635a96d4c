"""UCF101, HMDB51 and J-HMDB: official splits as text files of `class/clip`, three of each; `data.split` chooses one.

Their test lists are validated on, as `val`. A clip is known by class and name, since HMDB51 may have a name twice.
"""

import re
from collections import defaultdict
from pathlib import PurePosixPath

import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotation_file import AGAIN, read_lines
from .annotations import Listing, warn_of_lookalikes
from .places import data_files, data_root, files_in, join, videos_folder
from .repeats import Repeat, and_others, repeated
from .video_files import Listed, by_stem, is_hidden, list_folder, refuse_twins, warn_left_out

UCF_CLASS = re.compile(r"([0-9]{1,9})\s+(\S+)")
UCF_CLIP = re.compile(r"([^/\s]+)/([^/\s]+)\.avi(?:\s+([0-9]{1,9}))?")
HMDB_FILE = re.compile(r"(.+)_test_split(\d)\.txt")
HMDB_CLIP = re.compile(r"([^/\s][^/]*)\.avi\s+([012])")
HMDB_USES = {"0": None, "1": "train", "2": "val"}  # 0: not used in this split
UCF_FOLDERS, HMDB_FOLDERS = ("UCF-101", "UCF101", "videos"), ("hmdb51_org", "HMDB51", "videos")
JHMDB_FOLDERS = ("ReCompress_Videos", "Rename_Images", "Frames", "videos", "clips")


def read_ucf101(data: Data) -> Listing:
    """`trainlist01.txt` (`class/clip.avi number`), `testlist01.txt` (without the number), `classInd.txt`
    (`number class`, numbered from 1).
    """
    files = data_files(data)
    classes = _ucf_classes(files["labels"])
    rows = []
    for split in (one for one in ("train", "val") if one in files):
        for line, text in read_lines(files[split]):
            label = _ucf_label(text, classes, split, f"{files[split]}: line {line}: {text[:60]!r}")
            rows.append((label, text.partition("/")[2].partition(".avi")[0], split))
    return _listing(data, rows, classes, UCF_FOLDERS)


def read_hmdb51(data: Data) -> Listing:
    """`CLASS_test_split1.txt` for each class, lines `clip.avi use` (0: not used, 1: train, 2: test)."""
    return _hmdb(data, HMDB_FOLDERS)


def read_jhmdb(data: Data) -> Listing:
    """As HMDB51, of whose clips its own are parts; also as folders of frames (`Rename_Images/CLASS/CLIP/00001.png`)."""
    return _hmdb(data, JHMDB_FOLDERS)


def _hmdb(data: Data, folders: tuple[str, ...]) -> Listing:
    source, splits = data_files(data)["train"], defaultdict(set)
    for name in (one for one in files_in(source) if not is_hidden(one)):
        if match := HMDB_FILE.fullmatch(name):
            splits[match[2]].add(match[1])
    classes = sorted(splits[str(data.split)])
    if not classes:
        remedy = "give their folder as data.train, or, for a table with a path and a label a row, format csv"
        raise InputError(f"data.train: no CLASS_test_split{data.split}.txt in {source}; {remedy}")
    if missing := sorted(set.union(*splits.values()) - set(classes)):
        raise InputError(f"{source}: no {missing[0]}_test_split{data.split}.txt, which other splits have; {AGAIN}")
    warn_of_lookalikes(classes)
    rows, again = [], []
    for label in classes:
        listed = set()
        path = join(source, f"{label}_test_split{data.split}.txt")
        for line, text in read_lines(path):
            match = HMDB_CLIP.fullmatch(text)
            if not match:
                raise InputError(f"{path}: line {line}: {text[:60]!r} is not `clip.avi` and 0, 1 or 2; {AGAIN}")
            if match[1] in listed:
                again.append((f"{label}/{match[1]}", f"{path}: line {line}: {match[1]}.avi"))
            listed.add(match[1])
            if split := HMDB_USES[match[2]]:
                rows.append((label, match[1], split))
    if again:
        clips, places = zip(*again, strict=True)
        repeated(Repeat(f"{places[0]} is listed twice{and_others(clips)}; {AGAIN}", list(clips)))
    return _listing(data, rows, classes, folders)


def _ucf_classes(source: str) -> list[str]:
    names = []
    for line, text in read_lines(source):
        match = UCF_CLASS.fullmatch(text)
        if not match or int(match[1]) != len(names) + 1 or match[2] in names:
            wrong = f"{text[:60]!r} is not `{len(names) + 1} class`, numbered from 1"
            raise InputError(f"{source}: line {line}: {wrong}; give the data set's own file")
        names.append(match[2])
    return names


def _ucf_label(text: str, classes: list[str], split: str, place: str) -> str:
    """The class of one line; InputError where its number is another class's."""
    match = UCF_CLIP.fullmatch(text)
    if not match or (split == "train" and not match[3]):
        form = "`class/clip.avi number`" if split == "train" else "`class/clip.avi`"
        raise InputError(f"{place} is not {form}: the file is damaged or cut off; {AGAIN}")
    if match[1] not in classes:
        raise InputError(f"{place}: no class {match[1]!r} in classInd.txt; the files are of different data sets")
    number = classes.index(match[1]) + 1
    if match[3] and int(match[3]) != number:
        wrong = f"its number is {match[3]}, class {match[1]} is {number} in classInd.txt, which counts from 1"
        raise InputError(f"{place}: {wrong}: is the file cut off, or of another data set?")
    return match[1]


def _listing(data: Data, rows: list[tuple[str, str, str]], classes: list[str], folders: tuple[str, ...]) -> Listing:
    """Rows of (class, clip, split) -> a listing with each clip's file."""
    listed = list_folder(videos_folder(data, data_root(data), *folders))
    number = {name: place for place, name in enumerate(classes)}
    table = pd.DataFrame(
        [(f"{label}/{name}", number[label], split) for label, name, split in rows],
        columns=["clip_id", "label", "split"],
    )
    table["path"] = _find([(label, name) for label, name, _ in rows], number, listed)
    return Listing(table, {"label": classes}, flip=True)


def _find(clips: list[tuple[str, str]], classes: dict[str, int], listed: Listed) -> list[str | None]:
    """The video of each (class, clip): in the class's own folder, else in none that is another class's.

    Raises:
        InputError: two files fit one clip.
    """
    named, found = by_stem(listed.videos), []
    for label, name in clips:
        fitting = [(path, PurePosixPath(path).parent.name) for path in named.get(name, ())]
        own = [path for path, folder in fitting if folder == label]
        found.append(own or [path for path, folder in fitting if folder not in classes])
    refuse_twins([paths for paths in found if len(paths) > 1])
    warn_left_out({name for (_, name), paths in zip(clips, found, strict=True) if not paths}, listed)
    return [paths[0] if paths else None for paths in found]
