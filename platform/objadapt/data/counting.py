"""The frames of a video whose packets do not say which frame they are: AVI, MPEG-TS, ASF, and stamps that are in doubt.

Nothing but decoding it all tells them. What is found at its key frames (time, and a checksum of the picture) lets a later
read begin at one of them and know for certain which frame it is.
"""

import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np

from .decode_error import DecodeError
from .video_file import check_same_size, open_video

SPARE = 64  # frames beyond the distance of key frames within which the key frame must come that was looked for


@dataclass(frozen=True)
class Counted:
    """All frames of a video, in the order in which they come out of the decoder."""

    first: av.VideoFrame
    ticks: list[int | None]  # time stamps; AVI: often in coding order
    keys: np.ndarray  # int64 [keys, 3]: number, tick to seek to, checksum; of key frames that are like no other


def count_frames(path: str, alive: Callable[[], None]) -> Counted:
    """Decode a whole video; `alive` is called for each frame.

    Raises:
        DecodeError: a frame that fails or is of another size than the first; no frame.
    """
    first, ticks, waiting, keys = None, [], deque(), []
    with open_video(path) as (container, stream):  # anew: MPEG-TS does not seek back to its first frame
        try:
            for packet in container.demux(stream):
                if packet.is_keyframe and packet.size:
                    waiting.append(packet.pts if packet.dts is None else packet.dts)
                for frame in packet.decode():
                    first = first or frame
                    check_same_size(frame, first.width, first.height)
                    if frame.key_frame and waiting and (tick := waiting.popleft()) is not None:
                        keys.append((len(ticks), tick, checksum(frame)))
                    ticks.append(frame.pts)
                    alive()
        except av.FFmpegError as error:
            raise DecodeError("decode", f"frame {len(ticks)} fails: {error.strerror or error}") from None
    if first is None:
        raise DecodeError("decode", "no frame decodes")
    found = np.array(keys, dtype=np.int64).reshape(-1, 3)
    _, places, times = np.unique(found[:, 2], return_index=True, return_counts=True)
    return Counted(first, ticks, found[np.sort(places[times == 1])])


def checksum(frame: av.VideoFrame) -> int:
    """Of what tells a key frame from all others: its picture and its time stamp."""
    return zlib.crc32(repr(frame.pts).encode(), zlib.crc32(memoryview(frame.planes[0])))
