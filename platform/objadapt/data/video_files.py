"""The video files below a folder: listed once, then found by their exact names."""

import logging
import os
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import fsspec

from ..errors import InputError
from .containers import is_video_name

# Names that systems and editors leave in folders, beside those with a dot in front (`._*`, `.ipynb_checkpoints`,
# `.DS_Store`)
LEFT_BEHIND = {
    "__macosx",
    "@eadir",
    "@tmp",
    "@recycle",
    "@recently-snapshot",
    "#recycle",
    "#snapshot",
    "~snapshot",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "network trash folder",
    "temporary items",
    "__pycache__",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
}
SHOWN = 10  # names, at the most, in a message

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """What lies below a folder; every path begins with `folder/`."""

    folder: str
    videos: list[str]  # by their suffix, sorted
    left_out: list[str]  # other files, sorted
    hidden: int  # files that systems and editors leave behind: no clips, and no class folders
    folders: list[str]  # names of the folders right below it, sorted


def list_folder(folder: str) -> Listed:
    """List a folder, local or URL, and all folders below it; InputError for one that cannot be read."""
    try:
        if "://" in folder:
            filesystem, remote = fsspec.core.url_to_fs(folder)
            names = [name.removeprefix(remote).lstrip("/") for name in filesystem.find(remote)]
            folders = {name.partition("/")[0] for name in names if "/" in name}
        else:
            names = [f"{place}{name}" for place, files in _walk(folder) for name in files]
            with os.scandir(folder) as entries:
                folders = {entry.name for entry in entries if entry.is_dir()}
    except (OSError, ImportError, ValueError) as error:
        where, reason = getattr(error, "filename", None) or folder, getattr(error, "strerror", None) or error
        raise InputError(f"{where}: cannot be listed ({reason}); give a folder that may be read") from None
    seen = sorted(name for name in names if not is_hidden(name))
    videos = set(filter(is_video_name, seen))
    return Listed(
        folder,
        [f"{folder}/{name}" for name in seen if name in videos],
        [f"{folder}/{name}" for name in seen if name not in videos],
        len(names) - len(seen),
        sorted(name for name in folders if not is_hidden(name)),
    )


def list_videos(folder: str) -> list[str]:
    """Paths or URLs of all video files below a folder, sorted; each begins with `folder/`."""
    return list_folder(folder).videos


def is_hidden(name: str) -> bool:
    """Whether a relative path, or a folder on it, is something that a system or an editor leaves behind."""
    parts = name.split("/")
    return any((part[:1] == "." and part not in (".", "..")) or part.lower() in LEFT_BEHIND for part in parts)


def _walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """(relative `folder/`, names of its files) of a folder and all below.

    Links are followed, save those that lead back up.
    """

    def fail(error: OSError):  # os.walk would silently leave out what it cannot read
        raise error

    above = {folder: {os.path.realpath(folder)}}
    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        passed = above.pop(place)
        real = {name: os.path.realpath(os.path.join(place, name)) for name in folders}
        folders[:] = [name for name in folders if real[name] not in passed]
        above |= {os.path.join(place, name): passed | {real[name]} for name in folders}
        yield "" if place == folder else f"{place[len(folder) + 1 :]}/", names


def stem(path: str) -> str:
    """File name without folder and suffix."""
    return posixpath.splitext(posixpath.basename(path))[0]


def find_by_name(names: Iterable[str], listed: Listed) -> list[str | None]:
    """The one video that bears each name, suffix aside; None where there is none.

    Raises:
        InputError: two files bear one of the names, so which of them is the clip cannot be told.
    """
    paths = by_stem(listed.videos)
    names = list(names)
    refuse_twins([paths[name] for name in dict.fromkeys(names) if len(paths.get(name, ())) > 1])
    warn_left_out({name for name in names if name not in paths}, listed)
    return [paths[name][0] if name in paths else None for name in names]


def by_stem(paths: Iterable[str]) -> dict[str, list[str]]:
    """Paths by their name without folder and suffix."""
    named = defaultdict(list)
    for path in paths:
        named[stem(path)].append(path)
    return dict(named)


def refuse_twins(twins: list[list[str]]) -> None:
    """InputError for the first group of files that bear one name. Several links to a file are one file."""
    twins = [paths for paths in twins if len({os.path.realpath(path) for path in paths}) > 1]
    if twins:
        more = f" (and so for {len(twins) - 1} more names)" if len(twins) > 1 else ""
        which = "which of them is the clip cannot be told: keep the whole one and move the other out of the folder"
        raise InputError(
            f"{' and '.join(twins[0])}: files of one name{more}; {which}, or set data.videos to the folder of one"
        )


def warn_left_out(missing: set[str], listed: Listed) -> None:
    """Warn of clips without a video that have a file of their name with another suffix."""
    files = [path for path in listed.left_out if stem(path) in missing or stem(stem(path)) in missing]  # `1.webm.part`
    if files:
        log.warning(
            "%d clips are missing: their files are not videos by their suffix: %s",
            len(files),
            shown(files, listed.folder),
        )


def shown(paths: list[str], folder: str) -> str:
    """The first few names below a folder, for a message."""
    names = [path.removeprefix(f"{folder}/") for path in paths[:SHOWN]]
    return ", ".join(names) + (f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else "")
