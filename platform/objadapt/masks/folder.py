"""A folder of masks: what made them, which videos are done, and soft masks.

    OUT/<video>/NNNNN.png   ids, slot k as k + 1 in every frame
    OUT/<video>/NNNNN.npz   soft masks float16 [P, H, W] as `masks`, and as `ids` those of the same slots in the PNGs
    OUT/pictures/           a strip, a sheet of attention and an H.264 video of each
    OUT/masks.json          settings, weights, and the videos that are done

Masks made with other settings are never mixed into it, and the same settings go on where they were stopped.
"""

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ..errors import InputError
from ..files import write_whole
from .pictures import picture_files
from .whole_videos import Video

RECORD = "masks.json"
PICTURES = "pictures"


@dataclass(frozen=True)
class Extras:
    """What is written beside the ids, and changes nothing of them."""

    soft: bool = False  # soft masks
    pictures: bool = False


def open_record(out: Path, settings: dict) -> dict:
    """The record of a folder of masks, a new one where the folder is new.

    Args:
        settings: whatever changes the masks, as plain JSON values.

    Returns:
        `settings`, and `videos`: name -> `bytes`, `frames`, `height`, `width`, `background` of each video that is done.

    Raises:
        InputError: the folder holds something else, or masks made with other settings.
    """
    path = out / RECORD
    if not path.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"--out: {out} is not empty and has no {RECORD}; give a new folder")
        out.mkdir(parents=True, exist_ok=True)
        record = {"settings": settings, "videos": {}}
        write_record(out, record)
        return record
    try:
        record = json.loads(path.read_text())
        there = dict(record["settings"])
        record["videos"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"--out: {path} is damaged; delete {out} or give a new folder") from None
    keys = [*settings, *(key for key in there if key not in settings)]  # one that is off may be left out
    other = [f"{key} {there.get(key)} (now {settings.get(key)})" for key in keys if there.get(key) != settings.get(key)]
    if other:
        raise InputError(f"--out: {out} holds masks made with other settings: {', '.join(other)}; give a new folder")
    return record


def write_record(out: Path, record: dict) -> None:
    """Write the record; there is always a whole one."""
    write_whole(out / RECORD, json.dumps(record, indent=1) + "\n")


def source_bytes(video: Video) -> int:
    """Size of a video's file, or of all its pictures: another video under its name is told by it."""
    if video.pictures:
        return sum(os.path.getsize(path) for path in video.pictures)
    if os.path.isdir(video.file):
        return sum(entry.stat().st_size for entry in os.scandir(video.file) if entry.is_file())
    return os.path.getsize(video.file)


def is_done(out: Path, video: Video, written: dict | None, stride: int, extras: Extras) -> bool:
    """Whether a recorded video still has all its files; InputError where the masks are of another video."""
    if written and (now := source_bytes(video)) != (then := written.get("bytes", now)):  # older records have none
        wrong = f"{video.name} had {then} bytes when its masks were made, and has {now} now"
        raise InputError(f"--out: {out}: {wrong}; give a new folder")
    if written is None or (video.pictures and written["frames"] != len(video.pictures[::stride])):
        return False
    if extras.pictures and not all(path.exists() for path in picture_files(out / PICTURES, video.name)):
        return False
    kinds = ("png", "npz") if extras.soft else ("png",)
    return all(len(list((out / video.name).glob(f"*.{kind}"))) == written["frames"] for kind in kinds)


def write_soft(path: Path, soft: Tensor, slots: list[int]) -> None:
    """Soft masks [P, H, W] as float16, with the ids that the same slots have in the PNGs."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, masks=soft.half().numpy(), ids=np.array(slots, np.uint8) + 1)
    write_whole(path, buffer.getbuffer())
