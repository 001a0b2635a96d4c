"""A video that lies as a folder of numbered pictures: `img_00001.jpg`, `frame_0000000001.jpg`, `00001.png`.

The number in a picture's name is its place, so no order of listing can be wrong. Such a folder does not say how many
frames a second it has: its unit of time is the frame, and a span [start, end) counts frames from 0.
"""

import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .decode_error import DecodeError
from .frame_names import in_order
from .video_file import check_size

CONTAINER = "frames"  # `VideoInfo.container` of such a folder
MODES = {"L", "P", "RGB", "RGBA", "1", "CMYK"}  # of 8 bits; deeper pictures are no frames of a video


ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values of a picture that lies on its side


@dataclass(frozen=True)
class FrameFolder:
    """The frames of one folder, in the order of their numbers."""

    path: str
    names: tuple[str, ...]  # of the files
    width: int
    height: int
    codec: str  # PIL's name of the pictures' format
    mode: str


def read_folder(path: str) -> FrameFolder:
    """List the frames of a local folder and look at the first.

    Raises:
        DecodeError: no numbered picture, several series of them, a number twice, or a frame that is missing.
    """
    try:
        return _read_folder(path, os.stat(path).st_mtime_ns)
    except OSError as error:
        raise DecodeError("open", error.strerror or error) from None


@lru_cache(maxsize=4)  # clips next to each other are often of one long video
def _read_folder(path: str, _mtime_ns: int) -> FrameFolder:
    names = in_order([entry.name for entry in os.scandir(path) if not entry.name.startswith(".")])
    with _opened(os.path.join(path, names[0]), 0) as first:
        check_size(*first.size)
        return FrameFolder(path, tuple(names), *shown_size(first), codec=str(first.format), mode=first.mode)


def read_frame(folder: FrameFolder, number: int) -> np.ndarray:
    """Frame `number` (from 0), uint8 [H, W, 3].

    Raises:
        DecodeError: the picture is broken, or has another size than the first.
    """
    with _opened(os.path.join(folder.path, folder.names[number]), number) as image:
        if (shown := shown_size(image)) != (folder.width, folder.height):
            size = f"{shown[0]}x{shown[1]}"
            raise DecodeError("decode", f"picture size changes from {folder.width}x{folder.height} to {size}")
        if image.mode not in MODES:
            raise DecodeError("decode", f"frame {number} ({folder.names[number]}) has pixels of kind {image.mode}")
        try:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:  # what PIL raises on broken files
            raise DecodeError("decode", f"frame {number} ({folder.names[number]}) fails: {error}") from None


def shown_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of a picture as it is shown: EXIF may say that it is turned, as a video's display matrix may."""
    width, height = image.size
    return (height, width) if image.getexif().get(ORIENTATION) in TURNED else (width, height)


def _opened(path: str, number: int) -> Image.Image:
    try:
        return Image.open(path, formats=("JPEG", "PNG"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "neither JPEG nor PNG" if unknown else getattr(error, "strerror", None) or error
        raise DecodeError("decode", f"frame {number} ({os.path.basename(path)}) fails: {reason}") from None
