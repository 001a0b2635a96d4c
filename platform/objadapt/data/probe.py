"""What a video file holds, without decoding it: the time stamp of every frame, and which decoder reads it exactly.

Outside plain H.264 / HEVC / VP9 in MP4, MKV and WebM decord is silently wrong: it gives copies of frames, or frames of
another time. So `VideoInfo.decoder` names decord only where it is known to be exact.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import chain

import av
import numpy as np

from .counting import count_frames
from .decode_error import DecodeError
from .frame_folder import CONTAINER, read_folder
from .local_copy import local_file
from .orientation import Orientation, first_orientation, is_plain_turn, matrix_of
from .orientation_message import orientation_message
from .time_stamps import NONE, WithoutMedia, in_coding_order, listed_stamps, read_stamps, shown_ticks
from .tracks import matroska_seconds
from .video_file import check_size, is_long, open_video

__all__ = ["DecodeError", "VideoInfo", "probe"]

PACKET_CONTAINERS = {"mp4", "matroska"}  # ffmpeg's names for MP4 / MOV and MKV / WebM
FRAME_PER_PACKET = {"h264", "hevc", "vp9", "av1"}  # codecs whose packets in these containers are one shown frame each
TABLE_CODECS = {"h264", "hevc"}  # codecs whose packets in MP4 ffmpeg takes from the tables alone, without reading them
DECORD_CODECS = {"h264", "hevc", "vp9"}
FRAMES_FPS = 24.0  # at which a folder of pictures, which does not say, is shown
DECORD_MIN_SIDE = 32  # decord 0.6 fails on 16x16


@dataclass(frozen=True)
class VideoInfo:
    """Facts of one video; frames are numbered in the order in which they are shown."""

    pts_s: np.ndarray  # float64 [num_frames], sorted; seconds from the container's start, as `ffmpeg -ss` counts
    pts: np.ndarray | None  # int64 [num_frames], the same in ticks; None: unreliable, so frames are counted
    # int64 [keys, 3] of the key frames, where a read may begin: number, tick to seek to, checksum where counted
    keys: np.ndarray
    fps: float  # mean frame rate
    width: int  # as shown, after turn and mirror
    height: int
    codec: str
    pix_fmt: str
    container: str
    rotation: int  # quarter turns anticlockwise after the mirror, 0 .. 3
    mirrored: bool  # left to right
    lasting: bool  # see `Orientation`
    decoder: str  # "decord": it is exact too, where the file is whole | "pyav"
    why_pyav: str | None

    @property
    def orientation(self) -> Orientation:
        """How a coded picture is brought upright."""
        return Orientation(self.rotation, self.mirrored, self.lasting)

    @property
    def num_frames(self) -> int:
        return len(self.pts_s)


def probe(path: str, alive: Callable[[], None] = lambda: None) -> VideoInfo:
    """Read the container's facts and the packets' time stamps of a video (path or fsspec URL), or list the pictures of
    a folder of frames.

    Only the first frame is decoded, for the orientation and the true picture size. Files whose packets are not their
    frames (AVI, MPEG-TS, ...), or whose time stamps are in doubt, are decoded whole, since only counting their frames
    is exact.

    Args:
        alive: called for each packet and frame.

    Raises:
        DecodeError: no readable video, or fewer frames than the container promises.
    """
    with local_file(path, alive) as local:
        if os.path.isdir(local):
            return _of_frames(local)
        long = is_long(local)
        with (
            closing(WithoutMedia(local)) if long else nullcontext() as file,
            open_video(local, file) as (container, stream),
        ):
            try:
                return _read_info(local, container, stream, file, alive)
            except av.FFmpegError as error:
                raise DecodeError("demux", error.strerror or error) from None


def _of_frames(path: str) -> VideoInfo:
    """Of a folder of numbered pictures; its seconds are frames (frame_folder.py)."""
    folder = read_folder(path)
    return VideoInfo(
        pts_s=np.arange(len(folder.names), dtype=np.float64),
        pts=None,
        keys=np.zeros((0, 3), dtype=np.int64),
        fps=FRAMES_FPS,
        width=folder.width,
        height=folder.height,
        codec=folder.codec.lower(),
        pix_fmt=folder.mode,
        container=CONTAINER,
        rotation=0,
        mirrored=False,
        lasting=False,
        decoder="pyav",
        why_pyav="frames",
    )


def _read_info(
    path: str,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    file: WithoutMedia | None,
    alive: Callable[[], None],
) -> VideoInfo:
    names, codec = set(container.format.name.split(",")), stream.codec_context.codec.canonical_name
    reorders, listed = bool(stream.codec_context.has_b_frames), len(stream.index_entries)
    demuxed = (packet for packet in container.demux(stream) if packet.size)
    first = next(demuxed, None)
    if first is None:
        raise DecodeError("demux", "the video stream has no frames")
    messages = []  # of a long file they are met only as it is decoded
    packets = _watched(chain([first], demuxed), alive, None if file else messages)
    if file and "mp4" in names and codec in TABLE_CODECS:
        stamps = listed_stamps(container, stream, file, packets)
    else:
        stamps = read_stamps(packets)
    _check_promise(container, stream, stamps, listed)
    pts = np.sort(stamps["pts"][~stamps["discard"]])
    one_to_one = (
        bool(names & PACKET_CONTAINERS)
        and codec in FRAME_PER_PACKET
        and len(pts) > 0
        and NONE not in stamps["pts"]
        and (np.diff(pts) > 0).all()
        and stamps["key"][0]  # frames before the first key frame lean on frames that were cut away
        and stamps["pts"][0] == stamps["pts"].min()
    )
    frame = counted = None
    if one_to_one and not (reorders and in_coding_order(stamps)):
        container.seek(int(stamps["pts"][0]), stream=stream)
        frame = _first_frame(container, stream)
    else:  # a stream that reorders frames, with stamps in coding order, may have been wrapped without its own stamps
        counted = count_frames(path, alive)
        frame, one_to_one = counted.first, one_to_one and counted.ticks == pts.tolist()
    check_size(frame.width, frame.height)
    orientation = first_orientation(frame, first)
    width, height = orientation.size(frame.width, frame.height)
    if one_to_one:  # a key frame may be cut away: its number is that of the first frame behind it
        ticks, why = np.sort(stamps["pts"][stamps["key"]]), _why_not_exact(stamps)
        keys = np.stack([np.searchsorted(pts, ticks), ticks, np.zeros_like(ticks)], axis=1)
    else:
        pts, keys, why = None, counted.keys, "packets are not frames"
    ticks = shown_ticks(counted.ticks, stamps) if pts is None else pts
    # rounded to the microsecond, as the container's start time is
    seconds = np.round(ticks * float(stream.time_base) - (container.start_time or 0) / av.time_base, 6)
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
        pts_s=seconds,
        pts=pts,
        keys=keys,
        fps=float((len(seconds) - 1) / span if span else stream.average_rate or 0),
        width=width,
        height=height,
        codec=codec,
        pix_fmt=frame.format.name,
        container=container.format.name,
        rotation=orientation.turns,
        mirrored=orientation.mirrored,
        lasting=orientation.lasting,
        decoder="pyav" if why else "decord",
        why_pyav=why,
    )


def _watched(
    packets: Iterator[av.Packet], alive: Callable[[], None], messages: list[bytes] | None
) -> Iterator[av.Packet]:
    """The packets, as they are; their orientation messages go into `messages`."""
    for packet in packets:
        if messages is not None and (message := orientation_message(packet)) is not None:
            messages.append(message)
        alive()
        yield packet


def _first_frame(container: av.container.InputContainer, stream: av.VideoStream) -> av.VideoFrame:
    try:
        for frame in container.decode(stream):
            return frame
    except av.FFmpegError as error:
        raise DecodeError("decode", f"frame 0 fails: {error.strerror or error}") from None
    raise DecodeError("decode", "no frame decodes")


def _check_promise(
    container: av.container.InputContainer, stream: av.VideoStream, stamps: np.ndarray, listed: int
) -> None:
    """DecodeError for a file that was cut off: sampling from the rest would give another clip."""
    if len(stamps) < stream.frames and len(stamps) != listed:  # AVI counts pauses too; its index does not list them
        raise DecodeError("demux", f"container promises {stream.frames} frames, {len(stamps)} are there")
    promised = _matroska_end(container, stream)
    end = (np.where(stamps["pts"] == NONE, 0, stamps["pts"]) + stamps["duration"]).max() * float(stream.time_base)
    if promised and end < promised * (1 - 3 / len(stamps)):  # three frames of tolerance: writers differ in the last one
        raise DecodeError("demux", f"container promises {promised:.1f} s, the frames end at {end:.1f} s")


def _matroska_end(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Second at which the last frame ends by an MKV or WebM header, which holds no number of frames."""
    if "matroska" not in container.format.name:
        return None
    if (seconds := matroska_seconds(stream)) is not None:
        return seconds
    alone = len(container.streams) == 1  # else the duration may be that of the sound
    return container.duration / av.time_base if alone and container.duration else None


def _why_pyav(names: set[str], codec: str, frame: av.VideoFrame) -> str | None:
    """Why decord may not read this kind of file."""
    if not names & PACKET_CONTAINERS:
        return f"container {min(names)}"
    if codec not in DECORD_CODECS:
        return f"codec {codec}"
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        return f"pixel format {frame.format.name}"
    if frame.interlaced_frame:  # decord converts the colours of each field by itself, PyAV those of the frame
        return "interlaced"
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
