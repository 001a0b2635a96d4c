"""The video files below a folder: listed once, then found by their exact names."""

import logging
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from ..errors import InputError, printable
from .containers import SUFFIXES, is_video_name
from .frame_names import NUMBERED, looks_like_frames
from .remote import RemoteError, is_http, is_url, list_names, name_below, url_below
from .repeats import Repeat, and_others, repeated

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
WITH_SUFFIX = SUFFIXES | {".jpg", ".jpeg", ".png"}  # other names are those of folders
BYTES = re.compile("[\ud800-\udfff]")  # what Python has in place of bytes that are no UTF-8
SHOWN = 10  # names, at the most, in a message

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """What lies below a folder; every path begins with `folder/`."""

    folder: str
    videos: list[str]  # files by their suffix, and folders of frames (frame_folder.py), sorted
    left_out: list[str]  # other files, sorted
    hidden: int  # files that systems and editors leave behind: no clips, and no class folders
    folders: list[str]  # names of the folders right below it, sorted


def refuse_bytes(paths: Iterable[str]) -> None:
    """InputError for a name that is no UTF-8, as old archives leave them: no table and no store can keep it."""
    if wrong := next((path for path in paths if BYTES.search(path)), None):
        raise InputError(f"{printable(wrong)}: its name is not UTF-8; rename it (convmv renames a whole folder)")


def list_folder(folder: str) -> Listed:
    """List a folder, local or URL, and all folders below it; InputError for one that cannot be read.

    A local folder of frames is a video, and its pictures are not listed one by one. The folder itself is none.
    """
    frames = []
    try:
        if is_url(folder):
            names = list_names(folder)
            folders = {name.partition("/")[0] for name in names if "/" in name}
        else:
            names, frames = _names(folder)
            with os.scandir(folder) as entries:
                folders = {entry.name for entry in entries if entry.is_dir()}
    except (OSError, RemoteError) as error:
        where, reason = getattr(error, "filename", None) or folder, getattr(error, "strerror", None) or error
        raise InputError(f"{where}: cannot be listed ({reason}); give a folder that may be read") from None
    seen = sorted(name for name in [*names, *frames] if not is_hidden(name))
    below = url_below if is_url(folder) else "{}/{}".format
    videos = {*filter(is_video_name, seen), *frames}
    return Listed(
        folder,
        [below(folder, name) for name in seen if name in videos],
        [below(folder, name) for name in seen if name not in videos],
        len(names) + len(frames) - len(seen),
        sorted(name for name in folders if not is_hidden(name)),
    )


def list_videos(folder: str) -> list[str]:
    """Paths or URLs of all video files below a folder, sorted; each begins with `folder/`."""
    return list_folder(folder).videos


def is_hidden(name: str) -> bool:
    """Whether a relative path, or a folder on it, is something that a system or an editor leaves behind."""
    parts = name.split("/")
    return any((part[:1] == "." and part not in (".", "..")) or part.lower() in LEFT_BEHIND for part in parts)


def _names(folder: str) -> tuple[list[str], list[str]]:
    """Relative paths of the files below a folder, and of the folders of frames, whose pictures are left out."""
    names, frames = [], []
    for place, files in _walk(folder):
        if place and not any(map(is_video_name, files)) and looks_like_frames(files):
            frames.append(place[:-1])
            files = [name for name in files if not NUMBERED.fullmatch(name)]
        names += [f"{place}{name}" for name in files]
    return names, frames


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
    name = posixpath.splitext(posixpath.basename(path))[0]
    return unquote(name) if is_http(path) else name


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
    """Videos or pictures by their name without folder and suffix. The name of a folder of frames is whole."""
    named = defaultdict(list)
    for path in paths:
        has_suffix = posixpath.splitext(path)[1].lower() in WITH_SUFFIX
        named[stem(path) if has_suffix else posixpath.basename(path)].append(path)
    return dict(named)


def refuse_twins(twins: list[list[str]]) -> None:
    """`repeated` of groups of files that bear one name. Several links to a file are one file."""
    twins = [paths for paths in twins if len({os.path.realpath(path) for path in paths}) > 1]
    if twins:
        more = and_others(paths[0] for paths in twins)
        which = "which of them is the clip cannot be told: keep the whole one and move the other out of the folder"
        wrong = f"{' and '.join(twins[0])}: files of one name{more}; {which}, or set data.videos to the folder of one"
        repeated(Repeat(wrong, files=[path for paths in twins for path in paths]))


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
    names = [name_below(folder, path) for path in paths[:SHOWN]]
    return ", ".join(names) + (f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else "")
