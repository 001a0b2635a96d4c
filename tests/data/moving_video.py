"""Small videos of which no two frames look alike and no turn or mirror looks like another,
and changes to their packets.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

HEIGHT, WIDTH = 96, 128
OPTIONS = {
    "libx264": {"x264-params": "keyint=10:bframes=2:scenecut=0"},
    "libx265": {"x265-params": "keyint=10:log-level=none"},
}


def pictures(count: int, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """uint8 [count, H, W, 3]: a texture that moves under a bar that grows from the left at the top."""
    texture = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    frames = np.stack([np.roll(texture, 2 * i, axis=1) for i in range(count)])
    for i in range(count):
        frames[i, : size[0] // 5, : i + 1] = 255
    return frames


def write_video(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    matrix: Sequence[int] | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Frames uint8 [n, H, W, 3] at 30 a second, with a display matrix as FFmpeg has them."""
    with av.open(str(path), "w") as container:
        stream = add_track(container, frames, codec)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        stream.metadata.update(metadata or {})
        encode(container, {stream: frames})


def add_track(container, frames: np.ndarray, codec: str = "libx264", disposition: Disposition | None = None):
    """A video stream that is to hold these frames."""
    stream = container.add_stream(codec, rate=30)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt, stream.options = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p"), OPTIONS.get(codec, {})
    if disposition is not None:
        stream.disposition = disposition
    return stream


def encode(container, tracks: dict) -> None:
    """The frames of each stream, interleaved."""
    for i in range(max(map(len, tracks.values()))):
        for stream, frames in tracks.items():
            if i < len(frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frames[i], format="rgb24")))
    for stream in tracks:
        container.mux(stream.encode())


def coded(path: Path, track: int = 0) -> np.ndarray:
    """Every frame as it is coded, by a plain decode that looks at no flag: uint8 [n, H, W, 3]."""
    with av.open(str(path)) as container:
        stream = container.streams.video[track]
        stream.codec_context.thread_count = 1
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


def copy_packets(
    source: Path, target: Path, change: Callable[[int, av.Packet], bytes], matrix: Sequence[int] | None = None
) -> None:
    """The first video track of a file in another, the content of each packet (number, packet) changed."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        if matrix is not None:
            copy.set_display_matrix(matrix)
        for number, packet in enumerate(packet for packet in read.demux(stream) if packet.size):
            new = av.Packet(change(number, packet))
            new.stream, new.pts, new.dts, new.duration = copy, packet.pts, packet.dts, packet.duration
            new.time_base, new.is_keyframe = packet.time_base, packet.is_keyframe
            written.mux(new)
