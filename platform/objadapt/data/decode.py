"""Exactly the frames asked for, or a `DecodeError`: never a copy, a neighbour or another clip in their place.

Each clip gets a fresh single-threaded reader, since the cores belong to Ray's decode tasks. PyAV refuses damaged
frames and is as fast as decord, which paints over them. So decord reads only where the config asks for it.
"""

import os
from collections.abc import Callable, Iterator
from itertools import dropwhile, islice
from typing import Literal

import av
import decord
import numpy as np
from av.video.reformatter import VideoReformatter

from .counting import SPARE, checksum
from .frame_folder import CONTAINER, read_folder, read_frame
from .local_copy import local_file
from .probe import DecodeError, VideoInfo, probe
from .video_file import check_same_size, open_video

__all__ = ["DecodeError", "VideoInfo", "decode_frames", "frames_in_turn", "probe", "scan"]

START = -1  # in place of a key frame: the start of the file
BACK = (0, 1, 8)  # attempts begin so many key frames further back, since some streams need more than the last key frame

decord.logging.set_level(decord.logging.QUIET)


def decode_frames(
    path: str, index: np.ndarray, info: VideoInfo | None = None, decoder: Literal["auto", "pyav", "decord"] = "auto"
) -> tuple[np.ndarray, str]:
    """Decode the frames `index` (numbers in the order shown; any order, repeats allowed) of a video.

    Args:
        path: local path or fsspec URL; a folder of numbered pictures is a video, too (frame_folder.py).
        index: int [T].
        info: `probe(path)`, where the caller has it.
        decoder: "auto" and "pyav" are PyAV, with the checks of `scan`. "decord" is decord where `info.decoder` names
            it, and PyAV elsewhere. decord is exact on whole files only: it fills damaged frames silently.

    Returns:
        frames uint8 [T, H, W, 3] (RGB, upright), and the decoder that read them ("none": they are pictures).

    Raises:
        DecodeError: the file cannot give exactly these frames.
    """
    with local_file(path) as local:
        info = info or probe(local)
        # decord is exact in rising order
        wanted, back = np.unique(np.asarray(index, dtype=np.int64), return_inverse=True)
        if len(wanted) == 0 or wanted[0] < 0 or wanted[-1] >= info.num_frames:
            raise DecodeError("sampling", f"frames {wanted.tolist()} asked of a video of {info.num_frames}")
        if info.container == CONTAINER:
            folder = read_folder(local)
            return np.stack([read_frame(folder, number) for number in wanted])[back], "none"
        if decoder == "decord" and info.decoder == "decord":
            frames = _decord(_open_decord(local, info), wanted, info)
            if frames is not None:
                return frames[back], "decord"
        frames = np.empty((len(wanted), info.height, info.width, 3), dtype=np.uint8)
        for place, frame in enumerate(frames_in_turn(local, wanted, info)):
            frames[place] = frame
        return frames[back], "pyav"


def scan(path: str, alive: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Decode a whole video with the checks of `decode_frames`; -> its number of frames and the decoder of a training.

    Every frame of a video that passes can be decoded alone, by any decoder.

    Args:
        alive: called for each frame.

    Raises:
        DecodeError: a part is broken. The reason is the one that a training gives for a clip that needs this part.
    """
    with local_file(path, alive) as local:
        info = probe(local, alive)
        if info.container == CONTAINER:
            folder = read_folder(local)
            for number in range(info.num_frames):
                read_frame(folder, number)
                alive()
            return info.num_frames, "none"
        with open_video(local) as (container, stream):
            for _ in _in_turn(container, stream, info):
                alive()
        return info.num_frames, "pyav"


def _open_decord(path: str, info: VideoInfo) -> decord.VideoReader | None:
    """None where decord fails or disagrees with the container."""
    try:
        reader = decord.VideoReader(os.path.abspath(path), ctx=decord.cpu(0), num_threads=1)
    except (RuntimeError, decord.DECORDError):
        return None
    return reader if len(reader) == info.num_frames else None


def _decord(reader: decord.VideoReader | None, wanted: np.ndarray, info: VideoInfo) -> np.ndarray | None:
    """Frames [n, H, W, 3] by decord, or None where it fails or disagrees with the container."""
    try:
        frames = reader.get_batch(wanted.tolist()).asnumpy() if reader else None
    except (RuntimeError, decord.DECORDError):
        return None
    return frames if frames is not None and frames.shape == (len(wanted), info.height, info.width, 3) else None


def frames_in_turn(
    path: str, wanted: np.ndarray, info: VideoInfo, alive: Callable[[], None] = lambda: None
) -> Iterator[np.ndarray]:
    """Frames of a local video one after the other, each uint8 [H, W, 3], RGB, upright, with the checks of `scan`.

    One pass over the video, so that a long one need not be in memory. The decoder rolls forward, or jumps to the key
    frame before the next frame; where that seek fails, it begins further back.

    Args:
        wanted: int [n], frame numbers, rising, none twice.
        info: `probe(path)`.
        alive: called for each frame that is decoded.

    Raises:
        DecodeError: the file cannot give exactly the next of these frames.
    """
    if info.container == CONTAINER:
        folder = read_folder(path)
        for number in wanted.tolist():
            alive()
            yield read_frame(folder, number)
        return
    before, done = np.searchsorted(info.keys[:, 0], wanted, side="right") - 1, 0
    for back in (*BACK, None):
        keys = np.full_like(before, START) if back is None else np.maximum(before - back, START)
        last = (keys[done:] == START).all()
        try:
            for frame in _frames(path, wanted[done:], info, keys[done:], alive):
                yield frame
                done += 1
            return
        except DecodeError:
            if last:
                raise  # else it may be the seek's fault


def _frames(
    path: str, wanted: np.ndarray, info: VideoInfo, keys: np.ndarray, alive: Callable[[], None]
) -> Iterator[np.ndarray]:
    """The frames of the sorted `wanted`; the decoder rolls forward to each from its row of `info.keys`."""
    converter = VideoReformatter()  # one for all frames: setting one up costs more than a conversion
    number, rolling = -1, None
    with open_video(path) as (container, stream):
        for target, key in zip(wanted, keys, strict=True):
            if rolling is None or (key != START and info.keys[key, 0] > number):
                rolling = _in_turn(container, stream, info, key)
            for number, frame in rolling:  # noqa: B007 -- the last one is used behind the loop
                alive()
                if number == target:
                    break
            yield info.orientation.upright(converter.reformat(frame, format="rgb24", threads=1).to_ndarray())


def _in_turn(
    container: av.container.InputContainer, stream: av.VideoStream, info: VideoInfo, key: int = START
) -> Iterator[tuple[int, av.VideoFrame]]:
    """(number, frame) of each frame from a key frame to the last; `START`: from the first frame of a fresh container.

    Raises:
        DecodeError: a frame fails, is damaged, has another size or orientation, or is not the next one by its time
            stamp; or there are too few frames.
    """
    number, orientation = 0 if key == START else int(info.keys[key, 0]), info.orientation
    size = orientation.size(info.width, info.height)
    try:
        for frame in container.decode(stream) if key == START else _from_key(container, stream, info, key):
            if number == info.num_frames:
                raise DecodeError("decode", f"container promises {number} frames, more decode")
            if info.pts is not None and frame.pts != info.pts[number]:
                raise DecodeError("decode", f"frame {number} of {info.num_frames} is not where the container says")
            if frame.is_corrupt:
                raise DecodeError("decode", f"frame {number} is damaged")
            check_same_size(frame, *size)
            orientation.check(frame, number)
            yield number, frame
            number += 1
    except av.FFmpegError as error:
        why = f"frame {number} fails: {error.strerror or error}"
        raise DecodeError("decode", f"container promises {info.num_frames} frames, {why}") from None
    if number < info.num_frames:
        raise DecodeError("decode", f"container promises {info.num_frames} frames, {number} decode")


def _from_key(
    container: av.container.InputContainer, stream: av.VideoStream, info: VideoInfo, key: int
) -> Iterator[av.VideoFrame]:
    """Frames from a key frame on. Its time stamp identifies it, or its checksum in a video whose frames are counted."""
    number, tick, expected = info.keys[key].tolist()
    container.seek(tick, stream=stream)
    frames = container.decode(stream)
    if info.pts is not None:  # some frames are stored behind the key frame and shown before it
        yield from dropwhile(lambda frame: frame.pts is not None and frame.pts < info.pts[number], frames)
        return
    most = int(np.diff(info.keys[:, 0]).max(initial=0)) + SPARE
    for frame in islice(frames, most):
        if frame.key_frame and checksum(frame) == expected:
            yield frame
            yield from frames
            return
    raise DecodeError("decode", f"frame {number} is not found again")
