"""Opens a video file: checks that it is a video, chooses its track, and decodes strictly."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from stat import S_ISDIR, S_ISREG

import av
from av.stream import Discard

from .containers import CONTAINERS
from .decode_error import DecodeError
from .time_stamps import WithoutMedia
from .tracks import video_track

av.logging.set_level(av.logging.PANIC)  # a broken file is reported as a DecodeError, not as noise on stderr

MAX_SIDE, MAX_PIXELS, MAX_ASPECT = 16384, 2**26, 64  # beyond these it is a broken header, not a video
BLOCK = "4096"  # bytes of a read; small, since a file in fragments is walked through from head to head
LONG_BYTES = 16 * 2**20  # longer files are not read whole for one clip, as decord would


@contextmanager
def open_video(
    path: str, file: WithoutMedia | None = None
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a local file (or `file` in its place) with PyAV, single-threaded and strict: damage is an error.

    Raises:
        DecodeError: no video, or a codec without a decoder here.
    """
    if file is None and not os.path.isdir(path):
        is_long(path)  # a pipe would be waited for without end
    try:
        # "file:" keeps a name such as "concat:a.mp4" from being read as a protocol
        options = {"format_whitelist": CONTAINERS, "blocksize": BLOCK}
        container = av.open(file or f"file:{path}", metadata_errors="replace", options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        unknown = isinstance(error, av.ArgumentError)  # ffmpeg's answer where the white list forbids the format
        raise DecodeError(
            "open", "not a video container" if unknown else getattr(error, "strerror", None) or error
        ) from None
    with container:
        stream = video_track(container)
        if stream.codec_context is None:
            raise DecodeError("open", f"no decoder for the codec of video track {stream.index}")
        check_size(stream.codec_context.width, stream.codec_context.height)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all  # neither read nor looked for
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"}  # errors that ffmpeg would paint over
        yield container, stream


def seconds_of(path: str) -> float | None:
    """How long a local file is by its container; None where that does not say, or the file cannot be read."""
    try:
        with open_video(path) as (container, _):
            return None if container.duration is None else container.duration / av.time_base
    except DecodeError:
        return None


def check_size(width: int, height: int) -> None:
    """Refuse absurd picture sizes before anything of that size is allocated."""
    short, long = sorted((width, height))
    if not (0 < short and long <= MAX_SIDE and short * long <= MAX_PIXELS and long <= MAX_ASPECT * short):
        raise DecodeError("open", f"picture size {width}x{height} is not that of a video")


def is_long(path: str) -> bool:
    """Whether a local file is too long to be read whole for one clip; DecodeError where there is no such file, or a
    pipe, socket or device in its place.
    """
    try:
        stat = os.stat(path)
    except (OSError, ValueError) as error:
        raise DecodeError("open", getattr(error, "strerror", None) or error) from None
    if not S_ISREG(stat.st_mode) and not S_ISDIR(stat.st_mode):
        raise DecodeError("open", "no file, but a pipe, a socket or a device")
    return stat.st_size > LONG_BYTES


def check_same_size(frame: av.VideoFrame, width: int, height: int) -> None:
    """Refuse a frame whose coded size differs from the first frame's."""
    if (frame.width, frame.height) != (width, height):
        raise DecodeError("decode", f"picture size changes from {width}x{height} to {frame.width}x{frame.height}")
