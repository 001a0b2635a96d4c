"""Names of the pictures in a folder of frames: `img_00001.jpg`, `frame_0000000001.jpg`, `00001.png`."""

import re
from collections import Counter, defaultdict

from .decode_error import DecodeError

NUMBERED = re.compile(r"(.*?)(\d+)\.(jpe?g|png)", re.IGNORECASE | re.DOTALL)
PADDED = re.compile(r".*?(?<!\d)0\d{4,}\.(jpe?g|png)", re.IGNORECASE | re.DOTALL)  # photographs are not so named
# pictures that are not read: a frame among those that are would be missing
OTHER = re.compile(r"(.*?)(\d+)\.(bmp|gif|webp|tiff?|avif|heic|jp2|ppm|pgm)", re.IGNORECASE | re.DOTALL)
FLOW = re.compile(r"(flow_)?[xyuv]_?|flow_.*", re.IGNORECASE)  # optical flow, which mmaction2 stores beside the frames
SHOWN = 5  # numbers, at the most, in a message


def looks_like_frames(names: list[str]) -> bool:
    """Whether the names of a folder's files are those of a video's frames: of five digits or more, padded with 0."""
    return any(PADDED.fullmatch(name) for name in names)


def in_order(names: list[str]) -> list[str]:
    """The names of the frames by their numbers, which begin at 0 or 1 and leave none out.

    Raises:
        DecodeError: no numbered picture, several series of them, frames of another kind, copies of frames, a
            number twice, or numbers that are missing.
    """
    series = defaultdict(list)
    for name in names:
        if match := NUMBERED.fullmatch(name):
            series[match[1]].append((int(match[2]), name))
    if len(series) > 1:
        series = {prefix: frames for prefix, frames in series.items() if not FLOW.fullmatch(prefix)}
    if not series:
        raise DecodeError("open", "a folder without numbered pictures such as img_00001.jpg")
    if len(series) > 1:
        which = ", ".join(f"{prefix}*" for prefix in sorted(series)[:SHOWN])
        raise DecodeError("open", f"a folder of several series of pictures: {which}; keep one")
    ((prefix, frames),) = series.items()
    if others := sorted(name for name in names if (match := OTHER.fullmatch(name)) and match[1] == prefix):
        raise DecodeError("open", f"{others[0]} among the frames is neither JPEG nor PNG; convert it, or take it out")
    more_behind = re.compile(rf"{re.escape(prefix)}\d+\D.*\.(jpe?g|png)", re.IGNORECASE | re.DOTALL)
    if copies := sorted(name for name in names if more_behind.fullmatch(name) and not NUMBERED.fullmatch(name)):
        raise DecodeError("open", f"{copies[0]} among the frames is a frame's name with more behind it; take it out")
    frames.sort()
    numbers = [number for number, _ in frames]
    if twice := [number for number, count in Counter(numbers).items() if count > 1]:
        same = [name for number, name in frames if number == twice[0]]
        raise DecodeError("open", f"frame {twice[0]} is there twice: {' and '.join(same)}")
    first = min(numbers[0], 1)
    if gaps := sorted(set(range(first, numbers[-1])) - set(numbers)) if numbers[-1] - first < 10**7 else [first]:
        more = f" and {len(gaps) - SHOWN} more" if len(gaps) > SHOWN else ""
        between = f"of {prefix}{numbers[0]} to {numbers[-1]}"
        raise DecodeError("demux", f"missing frames {', '.join(map(str, gaps[:SHOWN]))}{more} {between}")
    return [name for _, name in frames]
