"""DAVIS folders, as the official tools read and write them: sequences of JPEG frames and indexed PNGs of object ids.

Layout: `JPEGImages/480p/<sequence>/NNNNN.jpg` (some copies: `.jpeg`, `.png`, capitals),
`Annotations_unsupervised/480p/<sequence>/NNNNN.png` (some copies: `Annotations`), names in `ImageSets/2017/val.txt`.
In the PNGs of annotations 0 is background, 1, 2, ... are objects, 255 is void (not scored).
"""

import io
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import InputError
from ..files import write_whole
from .places import leads_out
from .video_files import by_stem, is_hidden, shown

log = logging.getLogger(__name__)

RESOLUTION = "480p"
NAMES = "ImageSets/2017/val.txt"
# DAVIS-2017 numbers objects differently in its unsupervised and its semi-supervised annotations
ANNOTATIONS = ("Annotations_unsupervised", "Annotations")
VOID = 255  # id of pixels that are not scored
PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Sequence:
    """One video of a DAVIS folder, files in the order of their names."""

    name: str
    frames: tuple[Path, ...]  # pictures; empty where the copy has masks only
    annotations: tuple[Path, ...]  # indexed PNGs; empty where the copy has pictures only


def davis_sequences(
    root: str | Path, names_file: str | Path | None = None, annotations: tuple[str, ...] = ANNOTATIONS
) -> list[Sequence]:
    """The sequences that a names file lists, in its order.

    Args:
        root: folder in DAVIS layout.
        names_file: one name a line; default `ImageSets/2017/val.txt` below `root`.
        annotations: names of the annotation folder; the first that exists is read.

    Raises:
        InputError: no such folder or names file, no name in it, a name twice, or a sequence without any file.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(
            f"{root}: no such folder; give a folder in DAVIS layout (with JPEGImages/{RESOLUTION} and {NAMES})"
        )
    masks = next((root / kind / RESOLUTION for kind in annotations if (root / kind / RESOLUTION).is_dir()), None)
    pictures = root / "JPEGImages" / RESOLUTION
    sequences = []
    for name in _names(Path(names_file or root / NAMES)):
        frames = sorted_files(pictures / name, *PICTURES)
        ids = sorted_files(masks / name, ".png") if masks else ()
        _name_left_out(pictures / name, PICTURES, not frames)
        if masks:
            _name_left_out(masks / name, (".png",), not ids)
        if not frames and not ids:
            empty = (
                f"no frame in {pictures / name} and no mask in {(masks or root / annotations[0] / RESOLUTION) / name}"
            )
            raise InputError(f"{names_file or root / NAMES}: {name}: {empty}; correct the name or the folder")
        sequences.append(Sequence(name, frames, ids))
    return sequences


def unpaired(frames: Iterable[str | Path], masks: Iterable[str | Path]) -> str | None:
    """Why not every frame has its own mask, in words; None where each has.

    A mask belongs to the frame of its number, the one that ends the name or else its first, or to that of its name.
    """
    frames, masks = ([Path(path) for path in paths] for paths in (frames, masks))
    if len(frames) != len(masks):
        return f"has {len(frames)} frames and {len(masks)} masks"
    for frame, mask in zip(frames, masks, strict=True):
        if _number(frame) != _number(mask):
            return f"has the frame {frame.name} and the mask {mask.name} in one place"
    return None


def _number(path: Path) -> int | str:
    found = re.search("[0-9]+$", path.stem) or re.search("[0-9]+", path.stem)
    return int(found[0]) if found else path.stem


def sorted_files(folder: Path, *suffixes: str) -> tuple[Path, ...]:
    """Files of a folder that have one of the suffixes, in whatever case, by name; numbers in the order of numbers.

    Files that systems leave behind (`._00000.jpg`) are left out.

    Raises:
        InputError: two files have one name, such as a JPEG and a PNG, so which one is the frame cannot be told.
    """
    files = [path for path in _files(folder) if path.suffix.lower() in suffixes]
    twins = [paths for paths in by_stem(map(str, files)).values() if len(paths) > 1]
    if twins:
        raise InputError(f"{' and '.join(sorted(twins[0]))}: files of one name; move one of them out of the folder")
    return tuple(sorted(files, key=lambda path: (_with_numbers(path.stem), path.name)))


def _with_numbers(name: str) -> list[str | int]:
    """Text and numbers of a name in turn, so that `frame_9` comes before `frame_10`."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", name))]


def _files(folder: Path) -> list[Path]:
    """Files of a folder, which may be absent, in any order, without those that systems leave behind."""
    if not os.path.isdir(folder):  # also of a name that no folder can have
        return []
    return [path for path in folder.iterdir() if not is_hidden(path.name) and path.is_file()]


def _name_left_out(folder: Path, suffixes: tuple[str, ...], all_of_it: bool) -> None:
    """Warn of a sequence's files that are no frames by their suffix; InputError where it has no other files."""
    left_out = sorted(path.name for path in _files(folder) if path.suffix.lower() not in suffixes)
    if left_out and all_of_it:
        raise InputError(f"{folder}: no file ends in {', '.join(suffixes)}, but {shown(left_out, '')}; convert them")
    if left_out:
        log.warning(
            "%s: %d files do not end in %s: %s", folder, len(left_out), ", ".join(suffixes), shown(left_out, "")
        )


def _names(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a text file with one sequence name a line") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; give one with one sequence name a line") from None
    for name in names:
        if leads_out(name):
            raise InputError(f"{path}: {name!r} leads out of the data folder; write one sequence name a line")
        if name != os.path.normpath(name) or name == ".":  # `ant/` beside `ant` would be scored twice
            raise InputError(f"{path}: {name!r} is not how a folder is called; write {os.path.normpath(name)!r}")
        if Path(name).is_absolute():
            raise InputError(f"{path}: {name!r} is a path; write one sequence name a line")
        if names.count(name) > 1:
            raise InputError(f"{path}: {name!r} is listed twice; remove one of the two")
    if not names:
        raise InputError(f"{path}: lists no sequence; write one sequence name a line")
    return names


def notes_on_objects(sequences: Iterable[Sequence]) -> list[str]:
    """What the first annotations hold that changes how a score is to be read, a line each.

    Objects are those of the first frame. A number that is left out there stands for an object all the same: what is in
    no frame, of truth and masks alike, counts as found, as in the official package.

    Raises:
        InputError: there is no object in any.
    """
    notes, without, some = [], [], False
    for one in sequences:
        ids = {*read_ids(one.annotations[0]).ravel().tolist()} - {0, VOID}
        some |= bool(ids)
        if not ids:
            without.append(one.name)
        elif absent := [str(number) for number in range(1, max(ids)) if number not in ids]:
            missing = f"no object {', '.join(absent)} in its first frame, which has {max(ids)}"
            notes.append(f"{one.name}: {missing}; where masks have none either, it counts as found")
    if not some:
        raise InputError("--davis: no object in the first frame of any sequence; give annotations with objects")
    if without:
        notes.insert(0, f"without an object in the first frame, so not in the means: {', '.join(without)}")
    return notes


def read_ids(path: str | Path) -> np.ndarray:
    """Object ids of an indexed PNG, uint8 [H, W].

    Raises:
        InputError: unreadable, or not indexed. DAVIS-2016 publishes grey masks of 0 and 255. Read as ids, 255 would
            mean void, and nothing would be scored.
    """
    try:
        with Image.open(path) as image:
            mode, kind, ids = image.mode, image.format, np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what PIL raises on broken files
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "not an image" if unknown else getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: {reason}; give an indexed PNG of object ids") from None
    if mode != "P":
        grey = "; grey masks of 0 and 255 (DAVIS-2016) become ids by 255 -> 1" if mode in ("1", "L") else ""
        raise InputError(
            f"{path}: an image of mode {mode}, not an indexed PNG; write ids 0, 1, 2, ... with a palette{grey}"
        )
    if kind != "PNG":
        raise InputError(
            f"{path}: {kind}, not an indexed PNG, whatever its name ends in; write ids 0, 1, 2, ... as PNG"
        )
    return ids


def write_ids(path: str | Path, ids: np.ndarray) -> None:
    """Write object ids uint8 [H, W] as an indexed PNG with the palette of DAVIS; a file that exists is whole."""
    if ids.dtype != np.uint8 or ids.ndim != 2:
        raise ValueError(f"ids must be uint8 [H, W], not {ids.dtype} {list(ids.shape)}")
    image = Image.fromarray(ids)
    image.putpalette(palette().tobytes())  # grey uint8 -> indexed
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    write_whole(Path(path), buffer.getbuffer())


def palette() -> np.ndarray:
    """Colours of the ids in DAVIS's files, uint8 [256, 3].

    An id's bits go to red, green and blue in turn, high bits of the colour first.
    """
    ids, colours = np.arange(256), np.zeros((256, 3), np.uint8)
    for step in range(8):
        for channel in range(3):
            bit = ids >> (3 * step + channel) & 1
            colours[:, channel] |= (bit << (7 - step)).astype(np.uint8)
    return colours
