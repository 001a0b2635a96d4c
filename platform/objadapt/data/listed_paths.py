"""Paths of videos as tables and lists name them, and where they are."""

import os

import pandas as pd

from .annotation_file import refuse
from .frame_names import looks_like_frames
from .places import join, leads_out, refuse_password
from .video_files import is_hidden


def locate(names: pd.Series, videos: str, source: str, frames: bool = False) -> list[str | None]:
    """Path or URL of each listed video; None where a local file or folder does not exist. Remote ones are not checked.

    Names are relative to the videos' folder, or begin with that folder's own name. Each folder is listed once.

    Args:
        frames: the list is one of folders of frames, into which nobody looks before they are read.
    """
    refuse(names, names.str.strip() == "", source, "is empty: a row without a path; fill in or remove it")
    refuse(names, names.map(leads_out), source, "leads out of the data folder; list paths below data.root")
    refuse(names, names.str.contains("\0", regex=False), source, "holds a NUL byte; correct that row")
    relative = ~names.map(lambda name: "://" in name or os.path.isabs(name)).astype(bool)
    refuse(
        names,
        relative & names.map(is_hidden),
        source,
        "is what a system or an editor leaves behind, no video; remove the row",
    )
    folders, own = _Folders(frames), f"{os.path.basename(videos)}/"
    paths = []
    for name in names:
        refuse_password(name, source)
        candidates = []
        for spelling in dict.fromkeys((name, name.strip())):  # spaces beside a separator are hardly ever a file's
            candidates.append(join(videos, spelling))
            if spelling.startswith(own):
                candidates.append(join(os.path.dirname(videos), spelling))
        paths.append(next((path for path in candidates if "://" in path or folders.hold(path)), None))
    return paths


class _Folders:
    """Which videos exist, listed folder by folder: a question for every row is slow on a network's disk."""

    def __init__(self, frames: bool):
        self._names: dict[str, tuple[set[str], set[str], set[str]]] = {}
        self._frames = frames

    def hold(self, path: str) -> bool:
        """Whether `path` is a file, or a folder of frames. Where only the case differs, the file system decides."""
        folder, _, name = path.rstrip("/").rpartition("/")
        if folder not in self._names:
            try:
                with os.scandir(folder or "/") as entries:
                    found = {entry.name: entry.is_file() for entry in entries}
            except (OSError, ValueError):  # no such folder, a NUL in its name
                found = {}
            files = {name for name, is_file in found.items() if is_file}
            self._names[folder] = files, {file.casefold() for file in files}, found.keys() - files
        files, folded, folders = self._names[folder]
        if name in folders:  # or a link to nowhere
            return os.path.isdir(path) and (self._frames or looks_like_frames(os.listdir(path)))
        return name in files or (name.casefold() in folded and os.path.isfile(path))
