"""What a video file holds, without decoding it: the time stamp of every frame, and who can read it exactly.

decord is the fast reader, but silently wrong outside plain H.264 / HEVC / VP9 in MP4, MKV and WebM (copies of
frames, frames of another time). So a file goes to decord only where decord is known to be exact, else to PyAV.
"""

import re
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import chain

import av
import numpy as np

from .decode_error import DecodeError
from .orientation import Orientation, first_orientation, is_plain_turn, matrix_of
from .orientation_message import orientation_message
from .time_stamps import NO_PTS, WithoutMedia, in_coding_order, read_stamps
from .video_file import check_same_size, check_size, is_long, local_file, open_video

__all__ = ["DecodeError", "VideoInfo", "probe"]

PACKET_CONTAINERS = {"mp4", "matroska"}  # ffmpeg's names for MP4 / MOV and MKV / WebM
FRAME_PER_PACKET = {"h264", "hevc", "vp9", "av1"}  # codecs whose packets there are each one shown frame
TABLE_CODECS = {"h264", "hevc"}  # codecs whose packets in MP4 ffmpeg takes from the tables alone; others it looks into
DECORD_CODECS = {"h264", "hevc", "vp9"}
DECORD_MIN_SIDE = 32  # decord 0.6 fails on 16x16


@dataclass(frozen=True)
class VideoInfo:
    """Facts of one video; frames are numbered in the order in which they are shown."""

    pts_s: np.ndarray  # float64 [num_frames], sorted; seconds from the container's start, as `ffmpeg -ss` counts
    pts: np.ndarray | None  # int64 [num_frames], the same in ticks; None: not reliable, frames are found by counting
    key_pts: np.ndarray | None  # int64, ticks of the key frames, where a read may begin
    fps: float  # mean frame rate
    width: int  # as shown, after turn and mirror
    height: int
    codec: str
    pix_fmt: str
    container: str
    rotation: int  # quarter turns anticlockwise after the mirror, 0 .. 3
    mirrored: bool  # left to right
    lasting: bool  # see `Orientation`
    decoder: str  # "decord" | "pyav"
    why_pyav: str | None

    @property
    def orientation(self) -> Orientation:
        """How a coded picture is brought upright."""
        return Orientation(self.rotation, self.mirrored, self.lasting)

    @property
    def num_frames(self) -> int:
        return len(self.pts_s)


def probe(path: str) -> VideoInfo:
    """Read the container's facts and the packets' time stamps of a video (path or fsspec URL).

    Only the first frame is decoded (for the orientation and the true picture size), save in files whose packets are not their
    frames (AVI, MPEG-TS, ...) or whose time stamps are in doubt: those are counted by decoding, since nothing else is exact.

    Raises:
        DecodeError: no readable video, or less of it than the container promises.
    """
    with local_file(path) as local:
        long = is_long(local)
        with closing(WithoutMedia(local)) if long else nullcontext() as file, open_video(local, file) as (container, stream):
            try:
                return _read_info(local, container, stream, file)
            except av.FFmpegError as error:
                raise DecodeError("demux", error.strerror or error) from None


def _read_info(
    path: str, container: av.container.InputContainer, stream: av.VideoStream, file: WithoutMedia | None
) -> VideoInfo:
    names, codec = set(container.format.name.split(",")), stream.codec_context.codec.canonical_name
    reorders = bool(stream.codec_context.has_b_frames)
    demuxed = (packet for packet in container.demux(stream) if packet.size)
    first = next(demuxed, None)
    if first is None:
        raise DecodeError("demux", "the video stream has no frames")
    if file:
        file.blank = "mp4" in names and codec in TABLE_CODECS
    messages = []  # of a long file they are met when it is decoded
    packets = chain([first], demuxed)
    stamps = read_stamps(packets if file else _noting(messages, packets))
    _check_promise(container, stream, stamps)
    pts = np.sort(stamps["pts"][~stamps["discard"]])
    one_to_one = (
        bool(names & PACKET_CONTAINERS)
        and codec in FRAME_PER_PACKET
        and len(pts) > 0
        and NO_PTS not in stamps["pts"]
        and (np.diff(pts) > 0).all()
        and stamps["key"][0]  # frames that lean on what was cut away before the first key frame never decode
        and stamps["pts"][0] == stamps["pts"].min()
    )
    frame = counted = None
    if one_to_one and not (reorders and in_coding_order(stamps)):
        if file:
            file.blank = False
        container.seek(int(stamps["pts"][0]), stream=stream)
        frame = _first_frame(container, stream)
    else:  # a stream that reorders its frames, with stamps in coding order, may have been wrapped without stamps of its own
        frame, counted = _count(path)
        one_to_one = one_to_one and counted == pts.tolist()
    check_size(frame.width, frame.height)
    orientation = first_orientation(frame, first)
    width, height = orientation.size(frame.width, frame.height)
    if one_to_one:
        keys, why = np.sort(stamps["pts"][stamps["key"]]), _why_not_exact(stamps)
    else:
        pts = keys = None
        why = "packets are not frames"
    seconds = _seconds(pts if one_to_one else counted, container, stream)
    plain = is_plain_turn(matrix_of(frame)) and (not orientation.turns or "mp4" in names) and not messages
    why = (
        _why_pyav(names, codec, frame)
        or (file and "long file")
        or ("several video tracks" if len(container.streams.video) > 1 else None)
        or (None if plain and not {"rotate", "ROTATE"} & set(stream.metadata) else "orientation")
        or why
    )
    span = seconds[-1] - seconds[0]
    return VideoInfo(
        pts_s=seconds, pts=pts, key_pts=keys, fps=float((len(seconds) - 1) / span if span else stream.average_rate or 0),
        width=width, height=height, codec=codec, pix_fmt=frame.format.name, container=container.format.name,
        rotation=orientation.turns, mirrored=orientation.mirrored, lasting=orientation.lasting,
        decoder="pyav" if why else "decord", why_pyav=why,
    )  # fmt: skip


def _noting(messages: list[bytes], packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """The packets; what they ask of the orientation goes into `messages`."""
    for packet in packets:
        if (message := orientation_message(packet)) is not None:
            messages.append(message)
        yield packet


def _first_frame(container: av.container.InputContainer, stream: av.VideoStream) -> av.VideoFrame:
    try:
        for frame in container.decode(stream):
            return frame
    except av.FFmpegError as error:
        raise DecodeError("decode", f"frame 0 fails: {error.strerror or error}") from None
    raise DecodeError("decode", "no frame decodes")


def _seconds(
    ticks: np.ndarray | list[int | None], container: av.container.InputContainer, stream: av.VideoStream
) -> np.ndarray:
    """Ticks -> seconds from the container's start time, to the microsecond as that is; where they do not rise, a constant rate."""
    if any(tick is None for tick in ticks) or not (np.diff(ticks) > 0).all():  # AVI: stamps in coding order
        return np.round(np.arange(len(ticks)) / float(stream.average_rate or 25), 6)
    return np.round(np.asarray(ticks) * float(stream.time_base) - (container.start_time or 0) / av.time_base, 6)


def _check_promise(container: av.container.InputContainer, stream: av.VideoStream, stamps: np.ndarray) -> None:
    """A file that was cut off holds less than its header says: sampling from the rest would be another clip."""
    if len(stamps) < stream.frames:
        raise DecodeError("demux", f"container promises {stream.frames} frames, {len(stamps)} are there")
    promised = _matroska_end(container, stream)
    end = (np.where(stamps["pts"] == NO_PTS, 0, stamps["pts"]) + stamps["duration"]).max() * float(stream.time_base)
    if promised and end < promised * (1 - 3 / len(stamps)):  # three frames of tolerance: writers differ in the last one
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


def _count(path: str) -> tuple[av.VideoFrame, list[int | None]]:
    """First frame, and the ticks of all frames by decoding: where the packets do not tell."""
    first, stamps = None, []
    with open_video(path) as (container, stream):  # anew: MPEG-TS does not seek back to its first frame
        try:
            for frame in container.decode(stream):
                first = first or frame
                check_same_size(frame, first.width, first.height)
                stamps.append(frame.pts)
        except av.FFmpegError as error:
            raise DecodeError("decode", f"frame {len(stamps)} fails: {error.strerror or error}") from None
    if first is None:
        raise DecodeError("decode", "no frame decodes")
    return first, stamps


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


def _why_not_exact(stamps: np.ndarray) -> str | None:
    """Why decord would give wrong frames of a file of a kind that it reads."""
    if stamps["discard"].any():
        return "edit list"
    earliest_after = np.minimum.accumulate(stamps["pts"][::-1])[::-1]
    if (stamps["key"] & (earliest_after < stamps["pts"])).any():
        return "open GOP"  # frames shown before a key frame but stored after it: decord loses them when it seeks
    return None
