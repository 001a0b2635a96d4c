"""Tar shards in WebDataset's layout, local or by URL: files of one name but for the suffix are one clip.

    000123.mp4  000123.cls      the video, and its class as a number, or
    000123.json                 an object with `data.label_column`, or
    000123.txt                  its class in words

A manifest is made of the headers, and of the labels between them. Of a clip it keeps where its bytes lie, and these
alone are read for it later.
"""

import json
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotations import Listing, sorted_classes
from .containers import is_video_name
from .places import data_files, data_root, leads_out
from .remote import RemoteError, is_url, list_names, name_below, read_range, url_below
from .shard_names import SUFFIX, expand
from .strict_json import KeyTwice, keys_once
from .tar_members import Ahead, Member, TarError, members
from .video_files import is_hidden, list_folder, shown

LABELS = ("json", "cls", "txt")  # suffixes; of those that hold labels, the first is taken for all clips
LARGEST = 2**20  # bytes of a label
MOST_LABEL = 10**6  # greater ones are no class numbers
AT_ONCE = 16  # shards read at the same time
UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # in a name: control characters, and bytes that are no UTF-8

log = logging.getLogger(__name__)


@dataclass
class Sample:
    """The files of one name in a shard."""

    shard: str
    key: str
    video: Member | None = None
    labels: dict[str, str] = field(default_factory=dict)  # suffix -> text

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        return f"{self.shard}: {self.key}"


def read_shards(data: Data) -> Listing:
    """Every sample of the shards of `data.train` and `data.val` (and of a folder `test` beside them) is a clip.

    One without a video is listed and not found. Whether a mirrored clip keeps its class is unknown, so flipping is off
    unless `transform.flip` says otherwise.

    Raises:
        InputError: a shard is not there, damaged or cut off; a file is there twice; some clips have a label and others
            none; a validation clip is of an unknown class.
    """
    root, splits = data_root(data), {}
    for split, pattern in data_files(data).items():
        archives = _archives(pattern, f"data.{split}")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(_samples, archives))
        splits[split] = [sample for samples, _ in found for sample in samples]
        read = sum(size for _, size in found)
        log.info(
            "%s: %d clips in %d shards, of which %d bytes were read", split, len(splits[split]), len(archives), read
        )
    columns = data.label_columns
    source = _source([sample for samples in splits.values() for sample in samples], columns)
    tables = {split: _rows(samples, split, root, source, columns) for split, samples in splits.items()}
    if source == "cls":
        tables = {split: table.assign(label=table["label"].map(_plain_number)) for split, table in tables.items()}
    classes = {head: _classes(tables["train"][head], source) for head in columns}
    for split, table in tables.items():
        for head, names in classes.items():
            table[head] = _class_ids(table[head], names, splits[split])
    return Listing(pd.concat(list(tables.values()), ignore_index=True), classes, flip=False)


def _archives(pattern: str, name: str) -> list[str]:
    """Paths or URLs of the shards that a pattern names, or that lie in the folder that it names."""
    if "{" in pattern or pattern.endswith(SUFFIX):
        return expand(pattern, name)
    if is_url(pattern):
        try:
            found = [url_below(pattern, one) for one in sorted(list_names(pattern)) if not is_hidden(one)]
        except RemoteError as error:
            raise InputError(f"{name}: {pattern} cannot be listed ({error.reason}); give a pattern of shards") from None
    else:
        listed = list_folder(pattern)
        found = listed.left_out
        if others := listed.videos + [path for path in found if not path.endswith(SUFFIX)]:
            log.warning(
                "%s: %d files are no %s and are not read: %s", pattern, len(others), SUFFIX, shown(others, pattern)
            )
    archives = [path for path in found if path.endswith(SUFFIX)]
    if not archives:
        raise InputError(f"{name}: no {SUFFIX} in {pattern}; give a folder of shards, or shard-{{000000..000009}}.tar")
    return archives


def _samples(archive: str) -> tuple[list[Sample], int]:
    """The samples of a shard in their order, and the bytes read of it."""
    samples: dict[str, Sample] = {}
    try:
        ahead = Ahead(_reader(archive))
        for member in members(ahead):
            name = member.name.removeprefix("./")
            if is_hidden(name):
                continue
            if UNFIT.search(name):
                raise TarError(f"the name {name!r} is no plain UTF-8")
            if name.startswith("/") or leads_out(name):
                raise TarError(f"the name {name!r} leads out of the archive")
            folder, slash, file = name.rpartition("/")
            key, _, suffix = file.partition(".")
            sample = samples.setdefault(key := folder + slash + key, Sample(archive, key))
            if is_video_name(name):
                if sample.video:
                    raise TarError(f"{key} has two videos, {sample.video.name!r} and {member.name!r}; keep one of them")
                sample.video = member
            elif suffix in LABELS:
                if suffix in sample.labels:
                    raise TarError(f"{name} is there twice; a key may be used once in a shard")
                sample.labels[suffix] = _text(ahead, member)
    except TarError as error:
        raise InputError(f"{archive}: {error}; write or copy that shard again") from None
    except (OSError, RemoteError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise InputError(f"{archive}: cannot be read ({reason}); give shards that are there") from None
    return list(samples.values()), ahead.bytes


def _reader(archive: str) -> Callable[[int, int], bytes]:
    """(start, stop) -> bytes of an archive."""
    if is_url(archive):
        return lambda start, stop: read_range(archive, start, stop)

    def read(start: int, stop: int) -> bytes:
        with open(archive, "rb") as file:
            file.seek(start)
            return file.read(stop - start)

    return read


def _text(ahead: Ahead, member: Member) -> str:
    if member.size > LARGEST:
        raise TarError(f"{member.name!r} has {member.size} bytes, which is no label")
    try:
        return ahead(member.start, member.size).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise TarError(f"{member.name!r} is no UTF-8 text") from None


def _source(samples: list[Sample], columns: dict[str, str]) -> str | None:
    """Suffix of the files that hold the labels of all clips; None: they have none.

    Args:
        columns: head -> field of a JSON object.
    """
    if columns == {"label": ""}:
        return None
    if any(set(columns.values()) & _object(one).keys() for one in samples if "json" in one.labels):
        return "json"
    if list(columns) != ["label"]:
        raise InputError(f"data.label_column: no .json of a clip has {' or '.join(columns.values())}; name its fields")
    return next((kind for kind in LABELS[1:] if any(kind in one.labels for one in samples)), None)


def _object(sample: Sample) -> dict:
    try:
        found = json.loads(sample.labels["json"], object_pairs_hook=keys_once)
    except KeyTwice as error:
        raise InputError(f"{sample.name}.json: {error}; write that shard again") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{sample.name}.json is no JSON object; write that shard again")
    return found


def _label(sample: Sample, source: str | None, column: str) -> str:
    """The label of one head; '' where there is none to be had."""
    if source is None or sample.video is None:
        return ""
    value = sample.labels.get(source)
    if source == "json":
        value = _object(sample).get(column) if value is not None else None
        column = f"{column!r}, a text or a whole number,"
    else:
        column = "label"
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise InputError(
            f"{sample.name} has no {column} in a .{source}, as other clips do; add it, or leave the clip out"
        )
    if UNFIT.search(label := str(value).strip()):
        raise InputError(f"{sample.name} has the label {label[:40]!r} in a .{source}; a label is one line of text")
    return label


def _rows(samples: list[Sample], split: str, root: str, source: str | None, columns: dict[str, str]) -> pd.DataFrame:
    rows = [
        {
            "clip_id": f"{name_below(root, sample.shard).removesuffix(SUFFIX)}/{sample.key}",
            "path": sample.video.path(sample.shard) if sample.video else None,
            "split": split,
        }
        | {head: _label(sample, source, column) for head, column in columns.items()}
        for sample in samples
    ]
    return pd.DataFrame(rows, columns=["clip_id", "path", "split", *columns], dtype=object)


def _plain_number(label: str) -> str:
    """`07` -> `7`: a .cls holds a number, if it holds none in words."""
    return str(int(label)) if label.isdecimal() else label


def _classes(labels: pd.Series, source: str | None) -> list[str]:
    """Class names in the order of their ids; numbers of a .cls are the ids themselves, also where one has no clip."""
    names = sorted_classes(labels)
    if source != "cls" or not names or not all(re.fullmatch("-?[0-9]+", name) for name in names):
        return names
    if names[0].startswith("-"):
        wrong = f"a .cls holds {names[0]}, which is no class number"
        raise InputError(f"data.train: {wrong}; write that shard again, without a .cls for a clip without a class")
    if (most := int(names[-1])) > MOST_LABEL:
        raise InputError(f"data.train: a .cls holds {most}, which is no class number; write that shard again")
    if absent := sorted(set(range(most + 1)) - set(map(int, names))):
        log.warning("no clip has class %d; %d of %d classes stay without clips", absent[0], len(absent), most + 1)
    return [str(number) for number in range(most + 1)]


def _class_ids(labels: pd.Series, classes: list[str], samples: list[Sample]) -> pd.Series:
    """int64 positions among the classes of the training clips; -1: no label."""
    numbers = labels.map({name: number for number, name in enumerate(classes)} | {"": -1})
    if numbers.isna().any():
        place = int(numbers.isna().to_numpy().argmax())
        wrong = f"class {labels.iloc[place]!r} is not among the {len(classes)} training classes"
        raise InputError(f"{samples[place].name}: {wrong}; correct or remove it")
    return numbers.astype("int64")
