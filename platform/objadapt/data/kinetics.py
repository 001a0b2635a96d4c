"""Kinetics-400 (also 600, 700): CSV `label,youtube_id,time_start,time_end,split[,is_cc]`, one trimmed file a clip."""

import logging
import re
from collections import defaultdict
from collections.abc import Callable

import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotation_file import read_table, refuse, require_columns, whole_numbers
from .annotations import (
    SPLITS,
    Listing,
    class_ids,
    refuse_paths,
    sorted_classes,
    split_names,
)
from .places import data_files, data_root, videos_folder
from .remote import is_url, name_below
from .video_file import seconds_of
from .video_files import Listed, by_stem, list_folder, refuse_twins, shown, stem, warn_left_out

ID_LENGTH = 11  # letters of a YouTube id, '-' and '_' among them
# what may follow the id in a file's name
TIMES = re.compile(r"[_-](\d+(?:\.\d+)?)(?:[_-](\d+(?:\.\d+)?))?(?![0-9A-Za-z.])")
# a folder such as `train`, `k400_val`, `train_256`
OF_A_SPLIT = re.compile(rf"(?:.*[_-])?({'|'.join(SPLITS)})(?:[_-]\d.*)?")

LOOKED_AT, MARGIN = 3, 5  # files whose length is looked at; seconds that a trimmed one may be longer

log = logging.getLogger(__name__)


def read_kinetics(data: Data) -> Listing:
    """Class id = position among the sorted training labels. The test split may lack labels (-1).

    Files are `{id}_{start:06d}_{end:06d}.*`, or as `_match` says. A clip without a file of its own is missing.
    """
    root, files, tables = data_root(data), data_files(data), []
    for split, source in files.items():
        table = read_table(source, labels=("label", "split"))
        require_columns(
            table, ["youtube_id", "time_start", "time_end", *(["label"] if split == "train" else [])], source
        )
        table["youtube_id"] = table["youtube_id"].str.strip()
        refuse_paths(table["youtube_id"], source)
        last = table.columns[-1]
        table["label"] = table["label"].str.strip() if "label" in table else ""
        listed_as = split_names(table["split"], source) if "split" in table else pd.Series("", index=table.index)
        alone = not files.keys() - {"train", "test"}  # else a copy's word for a split means no more than the file
        table["split"] = listed_as.where((listed_as == "test") | (alone & (listed_as != "")), split)
        for column in ("time_start", "time_end"):
            refuse(
                table[column], table[column] == "", source, "is empty: a clip is known by its times; correct that row"
            )
            table[column] = whole_numbers(table[column].str.replace(r"\.0*$", "", regex=True), source)
        if last == "time_end":  # half a number is a number
            half = (table["time_end"] <= table["time_start"]) & (table.index == table.index[-1])
            refuse(table["time_end"], half, source, "is not after its time_start")
        tables.append((source, table))
    classes = sorted_classes(tables[0][1]["label"])
    for source, table in tables:
        table["name"] = table["label"]
        table["label"] = class_ids(table["label"], classes, source)
    rows = pd.concat([table for _, table in tables], ignore_index=True)
    times = (rows["time_start"], rows["time_end"])
    rows["clip_id"] = [
        f"{name}_{start:06d}_{end:06d}" for name, start, end in zip(rows["youtube_id"], *times, strict=True)
    ]
    rows["path"] = _match(rows, list_folder(videos_folder(data, root, "videos")))
    _refuse_untrimmed(rows)
    return Listing(rows[["clip_id", "label", "split", "path"]], {"label": classes}, flip=True)


def _refuse_untrimmed(rows: pd.DataFrame) -> None:
    """InputError where files named by their id alone are whole videos: such a file is taken to be the trimmed clip."""
    here = [row for row in rows.itertuples() if isinstance(row.path, str) and not is_url(row.path)]
    for row in [one for one in here if stem(one.path) == one.youtube_id][:LOOKED_AT]:
        seconds, wanted = seconds_of(row.path), row.time_end - row.time_start
        if seconds is not None and seconds > 2 * wanted + MARGIN:
            wrong = f"lasts {seconds:.0f} s, and the clip is the {wanted} s from {row.time_start} on"
            raise InputError(f"{row.path}: {wrong}; cut it, or name the cut file {row.clip_id}")


def _match(rows: pd.DataFrame, listed: Listed) -> list[str | None]:
    """The file of each clip, or None; a file serves at most one clip.

    A file of exactly the clip's name comes first. Then come files with its times in another form (`{id}_{start}_{end}`,
    `{id}_{start}`), with the bare id, and with words behind the id (`{id}_scaled`). A file with other times is another
    clip's. A file without times serves a clip only where no other clip of its id lacks a file. It must not lie in a
    folder of another split or class.

    Raises:
        InputError: two files of one name.
    """
    exact = by_stem(listed.videos)
    refuse_twins([exact[clip_id] for clip_id in dict.fromkeys(rows["clip_id"]) if len(exact.get(clip_id, ())) > 1])
    files = {row: exact[clip_id][0] for row, clip_id in enumerate(rows["clip_id"]) if clip_id in exact}
    taken = set(files.values())
    wanted, offered = defaultdict(list), defaultdict(list)  # YouTube id -> rows without a file, files without a row
    for row, name in enumerate(rows["youtube_id"]):
        if row not in files:
            wanted[name].append(row)
    for path in listed.videos:
        name = stem(path)
        if path not in taken and (name in wanted or name[:ID_LENGTH] in wanted):
            offered[name if name in wanted else name[:ID_LENGTH]].append(path)
    fits, unclear, twins = _Fits(rows, listed.folder), [], []
    rules = (fits.times, fits.bare_id, fits.words)
    for name, paths in offered.items():
        left = wanted[name]
        for rule in rules:
            pairs = _pairs(left, paths, rule, twins)
            files |= pairs
            left = [row for row in left if row not in pairs]
            paths = [path for path in paths if path not in pairs.values()]
            if not left or not paths:
                break
        unclear += [path for path in paths if any(rule(row, path) for row in left for rule in rules)]
    refuse_twins(twins)
    if unclear:
        which = "several clips and one file, or several files and one clip, fit each other"
        log.warning("%d files serve no clip, since %s: %s", len(unclear), which, shown(sorted(unclear), listed.folder))
    missing = rows[[row not in files for row in range(len(rows))]]
    warn_left_out({*missing["clip_id"], *missing["youtube_id"]}, listed)
    return [files.get(row) for row in range(len(rows))]


def _pairs(
    wanted: list[int], paths: list[str], fits: Callable[[int, str], bool], twins: list[list[str]]
) -> dict[int, str]:
    """Row -> file, where each fits the other alone. Of files of one name the first counts; `twins` gets them."""
    files = {row: [path for path in paths if fits(row, path)] for row in wanted}
    if len(paths) > 1:
        same = [named for fitting in files.values() for named in by_stem(fitting).values() if len(named) > 1]
        twins += [named for number, named in enumerate(same) if named not in same[:number]]
        others = {path for named in same for path in named[1:]}
        files = {row: [path for path in fitting if path not in others] for row, fitting in files.items()}
    asked = [path for fitting in files.values() for path in fitting]
    return {row: fitting[0] for row, fitting in files.items() if len(fitting) == 1 and asked.count(fitting[0]) == 1}


class _Fits:
    """Whether a file, of whose name a row's YouTube id is the beginning, may be the row's clip."""

    def __init__(self, rows: pd.DataFrame, folder: str):
        plain = {name: _plain(name) for name in rows["name"].unique()}
        self.ids, self.splits, self.names = (
            rows["youtube_id"].tolist(),
            rows["split"].tolist(),
            rows["name"].map(plain).tolist(),
        )
        self.spans = list(zip(rows["time_start"].tolist(), rows["time_end"].tolist(), strict=True))
        self.classes, self.folder = set(self.names), folder

    def times(self, row: int, path: str) -> bool:
        """`{id}_{start}_{end}` or `{id}_{start}`, padded or not."""
        match = TIMES.match(stem(path), len(self.ids[row]))
        given = tuple(float(time) for time in match.groups() if time) if match else ()
        return bool(given) and given == self.spans[row][: len(given)]

    def bare_id(self, row: int, path: str) -> bool:
        """`{id}`."""
        return stem(path) == self.ids[row] and self._in_its_folder(row, path)

    def words(self, row: int, path: str) -> bool:
        """`{id}_scaled`: something that is not a time."""
        rest = stem(path)[len(self.ids[row]) :]
        return bool(rest) and not rest[0].isalnum() and not TIMES.match(rest) and self._in_its_folder(row, path)

    def _in_its_folder(self, row: int, path: str) -> bool:
        for part in name_below(self.folder, path).split("/")[:-1]:
            split = OF_A_SPLIT.fullmatch(part.lower())
            if split and (SPLITS[split[1]] == "train") != (self.splits[row] == "train"):
                return False
            name = _plain(part)
            if name in self.classes and name != self.names[row]:
                return False
        return True


def _plain(name: str) -> str:
    """A class's name as its folder may bear it."""
    return re.sub(r"\W|_", " ", name).lower().strip()
