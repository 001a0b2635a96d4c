"""What a video file holds, without decoding it: the time stamp of every frame, and who can read it exactly.

decord is the fast reader, but silently wrong outside plain H.264 / HEVC / VP9 in MP4, MKV and WebM (copies of
frames, frames of another time). So a file goes to decord only where decord is known to be exact, else to PyAV.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import fsspec
import numpy as np

from .containers import CONTAINERS

av.logging.set_level(av.logging.PANIC)  # a broken file is reported as a DecodeError, not as noise on stderr

MAX_SIDE, MAX_PIXELS, MAX_ASPECT = 16384, 2**26, 64  # beyond these it is a broken header, not a video
PACKET_CONTAINERS = {"mp4", "matroska"}  # ffmpeg's names for MP4 / MOV and MKV / WebM
FRAME_PER_PACKET = {"h264", "hevc", "vp9", "av1"}  # codecs whose packets there are each one shown frame
DECORD_CODECS = {"h264", "hevc", "vp9"}
DECORD_MIN_SIDE = 32  # decord 0.6 fails on 16x16


class DecodeError(Exception):
    """A video cannot be read exactly; `stage` and `reason` are the columns of its quarantine row.

    stage: "fetch" | "open" | "demux" | "decode" | "sampling"; reason: one line.
    """

    def __init__(self, stage: str, reason: object):
        self.stage = stage
        lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
        self.reason = (lines[0] if lines else type(reason).__name__)[:300]
        super().__init__(stage, self.reason)  # both arguments, so that it survives pickling between processes

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"


@dataclass(frozen=True)
class VideoInfo:
    """Facts of one video; frames are numbered in the order in which they are shown."""

    pts_s: np.ndarray  # float64 [num_frames], sorted; seconds from the container's start, as `ffmpeg -ss` counts
    pts: np.ndarray | None  # int64 [num_frames], the same in ticks; None: not reliable, frames are found by counting
    key_pts: np.ndarray | None  # int64, ticks of the key frames, where a read may begin
    fps: float  # mean frame rate
    width: int  # as shown, after the rotation flag
    height: int
    codec: str
    pix_fmt: str
    container: str
    rotation: int  # quarter turns anticlockwise that the display matrix asks for, 0 .. 3
    decoder: str  # "decord" | "pyav"
    why_pyav: str | None

    @property
    def num_frames(self) -> int:
        return len(self.pts_s)


class Stamp(NamedTuple):
    """What is kept of a packet; the list of them is in coding order."""

    pts: int | None  # ticks
    duration: int
    is_keyframe: bool
    is_discard: bool  # cut away by an edit list


@contextmanager
def local_file(path: str) -> Iterator[str]:
    """`path` itself, or a temporary copy of what an fsspec URL names, for the time of the block."""
    if "://" not in path:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="objadapt-") as folder:
        copy = str(Path(folder) / "video")
        try:
            filesystem, remote = fsspec.core.url_to_fs(path)
            filesystem.get_file(remote, copy)
        except (OSError, ValueError, ImportError) as error:
            raise DecodeError("fetch", f"{type(error).__name__}: {error}") from None
        yield copy


@contextmanager
def open_video(path: str) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a local file with PyAV, single-threaded; raises `DecodeError` for what is no video."""
    try:
        # "file:" keeps a name such as "concat:a.mp4" from being read as a protocol
        container = av.open(f"file:{path}", metadata_errors="replace", options={"format_whitelist": CONTAINERS})
    except (av.FFmpegError, OSError, ValueError) as error:
        unknown = isinstance(error, av.ArgumentError)  # ffmpeg's answer where the white list forbids the format
        raise DecodeError("open", "not a video container" if unknown else getattr(error, "strerror", None) or error) from None
    with container:
        if not container.streams.video:
            raise DecodeError("open", "no video stream")
        stream = container.streams.video[0]
        check_size(stream.codec_context.width, stream.codec_context.height)
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream


def check_size(width: int, height: int) -> None:
    """Refuse absurd picture sizes before anything of that size is allocated."""
    short, long = sorted((width, height))
    if not (0 < short and long <= MAX_SIDE and short * long <= MAX_PIXELS and long <= MAX_ASPECT * short):
        raise DecodeError("open", f"picture size {width}x{height} is not that of a video")


def probe(path: str) -> VideoInfo:
    """Read the container's facts and the packets' time stamps of a video (path or fsspec URL).

    Only the first frame is decoded (for the rotation flag and the true picture size), save in files whose packets
    are not their frames (AVI, MPEG-TS, ...): those are counted by decoding, since nothing else is exact.

    Raises:
        DecodeError: no readable video, or less of it than the container promises.
    """
    with local_file(path) as local, open_video(local) as (container, stream):
        try:
            return _read_info(local, container, stream)
        except av.FFmpegError as error:
            raise DecodeError("demux", error.strerror or error) from None


def _read_info(path: str, container: av.container.InputContainer, stream: av.VideoStream) -> VideoInfo:
    packets = [  # stamps only: an hour of video must not be held in memory
        Stamp(packet.pts, packet.duration or 0, packet.is_keyframe, packet.is_discard)
        for packet in container.demux(stream)
        if packet.size
    ]
    _check_promise(container, stream, packets)
    shown = [packet for packet in packets if not packet.is_discard]
    pts = np.array([packet.pts for packet in shown if packet.pts is not None], dtype=np.int64)  # in coding order
    names = set(container.format.name.split(","))
    codec = stream.codec_context.codec.canonical_name
    one_to_one = (
        bool(names & PACKET_CONTAINERS)
        and codec in FRAME_PER_PACKET
        and 0 < len(packets)
        and all(packet.pts is not None for packet in packets)
        and len(np.unique(pts)) == len(shown)
        and packets[0].is_keyframe  # frames that lean on what was cut away before the first key frame never decode
        and packets[0].pts == min(packet.pts for packet in packets)
    )
    if one_to_one:
        container.seek(packets[0].pts, stream=stream)
        frame = next(container.decode(stream), None)
        why = _why_not_exact(packets)
        pts, keys = np.sort(pts), np.sort([packet.pts for packet in packets if packet.is_keyframe])
        seconds = _seconds(pts, container, stream)
    else:
        with open_video(path) as (fresh, its_stream):  # MPEG-TS does not seek back to its first frame
            frame, seconds = _count(fresh, its_stream)
        pts = keys = None
        why = "packets are not frames"
    if frame is None:
        raise DecodeError("decode", "no frame decodes")
    check_size(frame.width, frame.height)
    turns = round(frame.rotation / 90) % 4
    width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
    why = _why_pyav(names, codec, frame) or why
    span = seconds[-1] - seconds[0]
    return VideoInfo(
        pts_s=seconds, pts=pts, key_pts=keys, fps=(len(seconds) - 1) / span if span else float(stream.average_rate or 0),
        width=width, height=height, codec=codec, pix_fmt=frame.format.name, container=container.format.name,
        rotation=turns, decoder="pyav" if why else "decord", why_pyav=why,
    )  # fmt: skip


def _seconds(pts: np.ndarray, container: av.container.InputContainer, stream: av.VideoStream) -> np.ndarray:
    """Ticks -> seconds from the container's start time, which is only kept to the microsecond: so are these."""
    return np.round(pts * float(stream.time_base) - (container.start_time or 0) / av.time_base, 6)


def _check_promise(container: av.container.InputContainer, stream: av.VideoStream, packets: list[Stamp]) -> None:
    """A file that was cut off holds less than its header says: sampling from the rest would be another clip."""
    if not packets:
        raise DecodeError("demux", "the video stream has no frames")
    if len(packets) < stream.frames:
        raise DecodeError("demux", f"container promises {stream.frames} frames, {len(packets)} are there")
    promised = _matroska_end(container, stream)
    end = max((packet.pts or 0) + packet.duration for packet in packets) * float(stream.time_base)
    if promised and end < promised * (1 - 3 / len(packets)):  # three frames of tolerance: writers differ in the last one
        raise DecodeError("demux", f"container promises {promised:.1f} s, the frames end at {end:.1f} s")


def _matroska_end(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Second at which the last frame ends by an MKV or WebM header; it holds no number of frames."""
    if "matroska" not in container.format.name:
        return None
    if match := re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, match.groups())
        return 3600 * hours + 60 * minutes + seconds
    alone = len(container.streams) == 1  # else the duration may be that of the sound
    return container.duration / av.time_base if alone and container.duration else None


def _count(container: av.container.InputContainer, stream: av.VideoStream) -> tuple[av.VideoFrame | None, np.ndarray]:
    """First frame, and the seconds of all frames by decoding: where the packets do not tell."""
    first, stamps = None, []
    for frame in container.decode(stream):
        first = first or frame
        if (frame.width, frame.height) != (first.width, first.height):
            raise DecodeError("decode", f"picture size changes from {first.width}x{first.height} to {frame.width}x{frame.height}")
        stamps.append(frame.pts)
    if all(stamp is not None for stamp in stamps) and all(a < b for a, b in zip(stamps, stamps[1:])):
        return first, _seconds(np.array(stamps, dtype=np.int64), container, stream)
    return first, np.arange(len(stamps)) / float(stream.average_rate or 25)  # AVI: stamps in coding order, constant rate


def _why_pyav(names: set[str], codec: str, frame: av.VideoFrame) -> str | None:
    """Why decord may not read this kind of file."""
    if not names & PACKET_CONTAINERS:
        return f"container {min(names)}"
    if codec not in DECORD_CODECS:
        return f"codec {codec}"
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        return f"pixel format {frame.format.name}"
    if min(frame.width, frame.height) < DECORD_MIN_SIDE:
        return "tiny picture"
    return None


def _why_not_exact(packets: list[Stamp]) -> str | None:
    """Why decord would give wrong frames of a file of a kind that it reads."""
    if any(packet.is_discard for packet in packets):
        return "edit list"
    pts = np.array([packet.pts for packet in packets])
    earliest_after = np.minimum.accumulate(pts[::-1])[::-1]
    if any(packet.is_keyframe and earliest_after[i] < pts[i] for i, packet in enumerate(packets)):
        return "open GOP"  # frames shown before a key frame but stored after it: decord loses them when it seeks
    return None
