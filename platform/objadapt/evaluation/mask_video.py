"""Pictures as H.264 video that browsers play."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import Colorspace


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Encode pictures as H.264, yuv420p, in an MP4 whose index stands first, so that it plays while it loads.

    4:2:0 needs even sides, so the last line of an odd side is repeated. A file that exists is whole.

    Args:
        path: the file, `.mp4`; its folder exists.
        frames: pictures uint8 [H, W, 3] of one size, as an array [T, H, W, 3] or one by one.
        fps: frames a second.

    Raises:
        ValueError: no frame, one that is not uint8 [H, W, 3], or of another size than the first.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            _encode(container, frames, fps)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _encode(container: OutputContainer, frames: Iterable[np.ndarray], fps: float) -> None:
    stream, shape = None, None
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != (shape or frame.shape):
            raise ValueError(f"a frame is {frame.dtype} {list(frame.shape)}, not uint8 {list(shape or ('H', 'W', 3))}")
        if stream is None or shape is None:
            shape = frame.shape
            rate = Fraction(fps).limit_denominator(1001)  # 30000 / 1001 and its kin stay exact
            stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
            stream.height, stream.width = (side + side % 2 for side in shape[:2])
            stream.pix_fmt = "yuv420p"
            # written into the file, since players would take another matrix, and other colours, for large pictures
            stream.codec_context.colorspace = Colorspace.ITU601
        even = np.pad(frame, [(0, side % 2) for side in shape[:2]] + [(0, 0)], mode="edge")
        container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
    if stream is None:
        raise ValueError("a video needs at least one frame")
    container.mux(stream.encode())
