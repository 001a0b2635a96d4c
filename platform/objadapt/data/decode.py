"""Exactly the frames asked for, or a `DecodeError`: never a copy, a neighbour or another clip in their place.

Only what is needed is decoded. Every clip gets a fresh single-threaded reader: readers that live long are what
makes decord's memory grow, and the cores belong to Ray's decode tasks.
"""

import os
from typing import Literal

import av
import decord
import numpy as np
from av.video.reformatter import VideoReformatter

from .probe import DecodeError, VideoInfo, local_file, open_video, probe

__all__ = ["DecodeError", "VideoInfo", "decode_frames", "probe", "scan"]

decord.logging.set_level(decord.logging.QUIET)


def decode_frames(
    path: str, index: np.ndarray, info: VideoInfo | None = None, decoder: Literal["auto", "pyav"] = "auto"
) -> tuple[np.ndarray, str]:
    """Decode the frames `index` (numbers in the order shown; any order, repeats allowed) of a video.

    Args:
        path: local path or fsspec URL.
        index: int [T].
        info: `probe(path)`, where the caller has it.
        decoder: "auto" (what `info.decoder` says, PyAV where decord fails) or "pyav".

    Returns:
        frames uint8 [T, H, W, 3] (RGB, upright), and the decoder that read them.

    Raises:
        DecodeError: the file cannot give exactly these frames.
    """
    with local_file(path) as local:
        info = info or probe(local)
        wanted, back = np.unique(np.asarray(index, dtype=np.int64), return_inverse=True)  # decord is exact in rising order
        if len(wanted) == 0 or wanted[0] < 0 or wanted[-1] >= info.num_frames:
            raise DecodeError("sampling", f"frames {wanted.tolist()} asked of a video of {info.num_frames}")
        if decoder == "auto" and info.decoder == "decord":
            frames = _decord(local, wanted, info)
            if frames is not None:
                return frames[back], "decord"
        return _pyav(local, wanted, info)[back], "pyav"


def scan(path: str) -> tuple[int, str]:
    """Decode a whole video once, strictly; returns its number of frames and the decoder that training will use.

    Raises:
        DecodeError: any part is broken.
    """
    with local_file(path) as local:
        info = probe(local)
        count = 0
        with open_video(local) as (container, stream):
            stream.codec_context.options = {"err_detect": "explode"}  # errors that ffmpeg would paint over
            try:
                for frame in container.decode(stream):
                    _check_size(frame, info)
                    if frame.is_corrupt:
                        raise DecodeError("decode", f"frame {count} is damaged")
                    count += 1
            except av.FFmpegError as error:
                raise DecodeError(
                    "decode", f"container promises {info.num_frames} frames, frame {count} fails: {error.strerror or error}"
                ) from None
        if count != info.num_frames:
            raise DecodeError("decode", f"container promises {info.num_frames} frames, {count} decode")
        return count, info.decoder


def _decord(path: str, wanted: np.ndarray, info: VideoInfo) -> np.ndarray | None:
    """Frames [n, H, W, 3] by decord, or None where it fails or disagrees with the container."""
    try:
        reader = decord.VideoReader(os.path.abspath(path), ctx=decord.cpu(0), num_threads=1)
        if len(reader) != info.num_frames:
            return None
        frames = reader.get_batch(wanted.tolist()).asnumpy()
    except (RuntimeError, decord.DECORDError):
        return None
    return frames if frames.shape == (len(wanted), info.height, info.width, 3) else None


def _pyav(path: str, wanted: np.ndarray, info: VideoInfo) -> np.ndarray:
    """Frames [n, H, W, 3] by PyAV: from the key frame before each, or from the start where a seek goes astray."""
    frames = _roll(path, wanted, info, seek=True) if info.pts is not None else None
    if frames is None:
        frames = _roll(path, wanted, info, seek=False)
    if frames is None:
        raise DecodeError("decode", "fewer frames decode than the container promises")
    return frames


def _roll(path: str, wanted: np.ndarray, info: VideoInfo, seek: bool) -> np.ndarray | None:
    """Roll the decoder forward over the sorted `wanted` frames; None if one of them is not met.

    A frame is recognised by its time stamp, or, where stamps are not reliable, by counting from the first.
    """
    targets = wanted if info.pts is None else info.pts[wanted]
    frames = np.empty((len(wanted), info.height, info.width, 3), dtype=np.uint8)
    converter = VideoReformatter()  # one for all frames: setting one up costs more than a conversion
    with open_video(path) as (container, stream):
        try:
            rolling, position = container.decode(stream), None
            for slot, target in enumerate(targets):
                if seek:
                    key = info.key_pts[np.searchsorted(info.key_pts, target, side="right") - 1]
                    if (position is None and key > info.key_pts[0]) or (position is not None and key > position):
                        container.seek(int(key), stream=stream)
                        rolling = container.decode(stream)
                for frame in rolling:
                    _check_size(frame, info)
                    if info.pts is None:
                        position = 0 if position is None else position + 1
                    else:
                        position = frame.pts
                    if position is None or position >= target:
                        break
                if position != target or (seek and frame.is_corrupt):  # after a seek: leans on frames before the key frame
                    return None
                if frame.is_corrupt:
                    raise DecodeError("decode", f"frame at {frame.time} s is damaged")
                frames[slot] = np.rot90(converter.reformat(frame, format="rgb24", threads=1).to_ndarray(), info.rotation)
        except av.FFmpegError as error:
            if seek:
                return None
            raise DecodeError("decode", error.strerror or error) from None
    return frames


def _check_size(frame: av.VideoFrame, info: VideoInfo) -> None:
    size = (frame.height, frame.width) if info.rotation % 2 else (frame.width, frame.height)
    if size != (info.width, info.height):
        raise DecodeError("decode", f"picture size changes from {info.width}x{info.height} to {size[0]}x{size[1]}")
