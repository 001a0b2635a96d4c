"""Time stamps of a video's packets, in coding order; for a long MP4 without reading its media.

An MP4 lists the time, place and kind of every packet in tables outside of its media (`mdat` boxes). So ffmpeg can
demux a file whose media read as zeros. It still gives the true time stamps, edit lists included.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from .decode_error import DecodeError

NONE = np.iinfo(np.int64).min  # in place of a missing time stamp
# ticks
STAMP = np.dtype([("pts", np.int64), ("dts", np.int64), ("duration", np.int64), ("key", bool), ("discard", bool)])
ZEROS = bytes(2**20)


def read_stamps(packets: Iterator[av.Packet]) -> np.ndarray:
    """Packets -> `STAMP` [n]. Only stamps are kept, since an hour of video must not be held in memory."""
    rows = (
        (
            NONE if packet.pts is None else packet.pts,
            NONE if packet.dts is None else packet.dts,
            packet.duration or 0,
            packet.is_keyframe,
            packet.is_discard,  # cut away by an edit list
        )
        for packet in packets
    )
    return np.fromiter(rows, STAMP)


def listed_stamps(
    container: av.container.InputContainer, stream: av.VideoStream, file: "WithoutMedia", packets: Iterator[av.Packet]
) -> np.ndarray:
    """As `read_stamps`, for an MP4 that is opened through `file`; its media are read only where there is no other way.

    ffmpeg looks for key frames inside the packets, where it would see zeros. So the file's table says which they are.
    """
    file.blank = True
    stamps = read_stamps(packets)
    file.blank = False
    if len(stamps) == len(stream.index_entries):
        stamps["key"] = [entry.is_keyframe for entry in stream.index_entries]
        return stamps
    container.seek(int(stamps["pts"][0]), stream=stream)
    return read_stamps(packet for packet in container.demux(stream) if packet.size)


def shown_ticks(ticks: list[int | None], stamps: np.ndarray) -> np.ndarray:
    """Ticks at which frames are shown, float64 [n], rising: their own `ticks`, or the packets' where those do not rise.

    AVI has no time stamps of its own. Its frames are shown in turn as the packets come, pauses included.

    Raises:
        DecodeError: neither frames nor packets have time stamps.
    """
    own = np.array([np.nan if tick is None else tick for tick in ticks])
    stamped = np.flatnonzero(~np.isnan(own))
    if len(stamped) > 1 and len(stamped) >= 3 / 4 * len(own) and (np.diff(own[stamped]) > 0).all():
        # single frames of an MPEG-TS may lack a stamp: they lie between their neighbours
        step = np.median(np.diff(own[stamped]) / np.diff(stamped))
        outside = np.clip(np.arange(len(own)), stamped[0], stamped[-1])
        return np.interp(np.arange(len(own)), stamped, own[stamped]) + step * (np.arange(len(own)) - outside)
    if len(own) == len(stamped) == 1:
        return own
    dts = stamps["dts"][~stamps["discard"]]
    if len(dts) == len(ticks) and NONE not in dts and (np.diff(dts) > 0).all():
        return dts.astype(np.float64)
    dts = dts[dts != NONE]
    if not len(dts):
        raise DecodeError("demux", "no packet has a time stamp")
    return np.linspace(dts[0], dts[0] + (dts[-1] - dts[0]) / max(1, len(dts) - 1) * (len(ticks) - 1), len(ticks))


def in_coding_order(stamps: np.ndarray) -> bool:
    """Whether packets are shown in the order in which they are stored."""
    return bool((np.diff(stamps["pts"]) > 0).all())


class WithoutMedia:
    """An MP4 file to demux. While `blank` is set, its media read as zeros and cost no reading."""

    def __init__(self, path: str):
        self._file = open(path, "rb", buffering=0)
        self._size, self._place, self.blank = os.fstat(self._file.fileno()).st_size, 0, False
        self._media = list(_media(self._file, self._size))
        self.name = Path(path).name

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        size = max(0, min(size, self._size - self._place))
        for start, stop in self._media if self.blank else ():
            if start <= self._place < stop:
                content = ZEROS[: min(size, stop - self._place)]
                break
            if self._place < start:
                content = os.pread(self._file.fileno(), min(size, start - self._place), self._place)
                break
        else:
            content = os.pread(self._file.fileno(), size, self._place)
        self._place += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        """As of any file."""
        return self._place

    def close(self) -> None:
        """As of any file."""
        self._file.close()


def _media(file, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of the media inside each `mdat` box of an MP4 file."""
    place = 0
    while place + 8 <= size:
        head = os.pread(file.fileno(), 16, place)
        length, kind, start = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1 and len(head) == 16:
            length, start = struct.unpack(">Q", head[8:])[0], 16
        end = size if length == 0 else min(size, place + length)  # 0: up to the end of the file
        if end < place + start:
            return
        if kind == b"mdat":
            yield place + start, end
        place = end
