"""Counts the frames of a video whose packets do not number them: AVI, MPEG-TS, ASF, and doubtful time stamps.

Only decoding the whole video numbers its frames. Each key frame is noted with its time and a checksum of its picture.
So a later read can begin at a key frame and be certain of its number.
"""

import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np

from .decode_error import DecodeError
from .video_file import check_same_size, open_video

SPARE = 64  # a wanted key frame must come within the distance of key frames and so many frames more


@dataclass(frozen=True)
class Counted:
    """All frames of a video, in the order in which they come out of the decoder."""

    first: av.VideoFrame
    ticks: list[int | None]  # time stamps; in AVI often in coding order
    keys: np.ndarray  # int64 [keys, 3] of key frames with a unique checksum: number, tick to seek to, checksum


def count_frames(path: str, alive: Callable[[], None]) -> Counted:
    """Decode a whole video; `alive` is called for each frame.

    Raises:
        DecodeError: a frame fails or has another size than the first, or there is no frame.
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
    key_frames = np.array(keys, dtype=np.int64).reshape(-1, 3)
    _, places, times = np.unique(key_frames[:, 2], return_index=True, return_counts=True)
    return Counted(first, ticks, key_frames[np.sort(places[times == 1])])


def checksum(frame: av.VideoFrame) -> int:
    """Checksum of a key frame's picture and time stamp, which tell it from all others."""
    return zlib.crc32(repr(frame.pts).encode(), zlib.crc32(memoryview(frame.planes[0])))
