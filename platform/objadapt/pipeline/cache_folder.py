"""A folder of feature caches and the record in each (see cache.py): listed and pruned without torch or Ray."""

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..files import write_whole
from ..stored_format import format_of, json_object, marks

RECORD, INDEX = "cache.json", "index.parquet"


@dataclass(frozen=True)
class Contents:
    """What a cache is declared for."""

    frames: tuple[int, ...]  # every T, rising
    views: int  # augmented views a training clip
    temporal_clips: int  # test views: temporal clips x spatial crops
    spatial_crops: int
    train_tested: bool = False  # training clips have test views, too (sweeps validate on some of them)
    storage: Literal["float16", "int8"] = "float16"
    # library and name; one file of weights gives other features under another name's normalisation and activation
    backbone: str | None = None

    @property
    def frames_stored(self) -> int:
        """F, frames a stored view."""
        return sum(self.frames)

    def part(self, frames: int) -> slice:
        """Where the grid of T = `frames` lies among the F frames."""
        start = sum(one for one in self.frames if one < frames)
        return slice(start, start + frames)

    def lacks(self, other: "Contents") -> str | None:
        """What `other` asks for and this has not, in words; None: nothing."""
        if self.backbone and other.backbone and self.backbone != other.backbone:
            return f"it is of the backbone {self.backbone}, not {other.backbone}, with the same weights"
        missing = [str(one) for one in other.frames if one not in self.frames]
        if missing:
            return f"it holds T = {', '.join(map(str, self.frames))}, not {', '.join(missing)}"
        for name, words in (
            ("views", "augmented views a training clip"),
            ("train_tested", "test views of training clips"),
        ):
            if getattr(self, name) < getattr(other, name):
                return f"it holds {int(getattr(self, name))} {words}, not {int(getattr(other, name))}"
        for name in ("temporal_clips", "spatial_crops", "storage"):
            if getattr(self, name) != getattr(other, name):
                return f"its {name} is {getattr(self, name)}, not {getattr(other, name)}"
        return None


def backbone_named(library: str, name: str) -> str:
    """How a backbone is called in `Contents`; the small CLIP has no name."""
    return library if library == "small_clip" else f"{library} {name}"


def read_record(folder: Path) -> dict:
    """The contents of cache.json; formats 1 and 2 differ in the number alone.

    Raises:
        InputError: there is none, it is damaged, or of a newer format.
    """
    again = "delete it and extract again"
    try:
        record = json_object(folder / RECORD)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder}: not a feature cache ({RECORD} is missing); {again}") from None
    except OSError as error:
        raise InputError(f"{folder / RECORD}: cannot be read ({error.strerror or error})") from None
    if record is None:
        raise InputError(f"{folder}: {RECORD} is damaged; {again}")
    format_of(record, folder)
    try:
        contents = record["contents"] | {"frames": tuple(record["contents"]["frames"])}
        if named := record.get("settings", {}).get("backbone"):
            contents["backbone"] = backbone_named(named["library"], named["name"])
        return record | {"contents": Contents(**contents)}
    except (KeyError, TypeError):
        raise InputError(f"{folder}: not a feature cache ({RECORD} does not say what it holds); {again}") from None


def precisions_there(root: str | Path) -> set[str]:
    """What the backbones of the caches below a folder computed in."""
    found = set()
    for path in Path(root).absolute().glob(f"*/{RECORD}"):
        try:
            found.add(json.loads(path.read_text())["settings"]["backbone"]["precision"])
        except (OSError, ValueError, KeyError, TypeError):  # whoever reads it says what is wrong with it
            continue
    return found


def write_record(  # noqa: PLR0913 -- the fields of the record
    folder: Path, key: str, contents: Contents, tokens: int, width: int, block: int, settings: dict
) -> None:
    """Write cache.json: 1 + N tokens of J numbers a frame, `block` clips a shard; of `settings` only the
    backbone is read again, the rest is for people.
    """
    shape = {"tokens": tokens, "width": width, "block": block}
    held = {name: value for name, value in asdict(contents).items() if name != "backbone"}  # which the settings name
    record = marks() | {"key": key, "contents": held, **shape, "settings": settings}
    write_whole(folder / RECORD, json.dumps(record, indent=1) + "\n")


def cache_folders(root: str | Path, key: str) -> list[Path]:
    """Folders below `root` that hold, or are to hold, caches of a key: KEY, KEY-2, ...: what one lacks,
    another may have.
    """
    found = sorted(Path(root).absolute().glob(f"{key}*"))
    return [folder for folder in found if re.fullmatch(rf"{key}(-\d+)?", folder.name) and any(folder.iterdir())]


def list_caches(root: str | Path) -> list[dict]:
    """What lies below a folder of caches: key, bytes, whether finished, contents and settings; oldest first."""
    found = []
    for path in sorted(Path(root).absolute().glob(f"*/{RECORD}"), key=lambda one: one.stat().st_mtime):
        record = read_record(path.parent)
        record |= {
            "folder": str(path.parent),
            "bytes": folder_bytes(path.parent),
            "finished": (path.parent / INDEX).exists(),
        }
        found.append(record)
    return found


def prune(root: str | Path, keys: list[str]) -> int:
    """Delete caches by their keys; -> bytes freed. `InputError` where one is no cache, before anything is deleted."""
    folders = [Path(root).absolute() / key for key in keys]
    for key, folder in zip(keys, folders, strict=True):
        if key == ".." or folder.name != key or not (folder / RECORD).is_file():
            raise InputError(f"--prune: {folder} is not a feature cache; --list shows those there are")
    freed = sum(folder_bytes(folder) for folder in folders)
    for folder in folders:
        shutil.rmtree(folder)
    return freed


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
