"""How players turn and mirror the coded pictures: by display matrices and by H.264 / HEVC messages.

A matrix stands in the container (MP4, MOV, MKV, WebM). An H.264 or HEVC stream may ask for the same in a message of
its own (SEI 47, "display orientation"). ffmpeg gives both as side data of a frame. In H.264 a message usually stands
before key frames alone and holds until the next message, which the reader of the frames must keep in mind.
"""

import struct
from dataclasses import dataclass

import av
import numpy as np
from av.sidedata.sidedata import Type

from .decode_error import DecodeError
from .orientation_message import lasts, orientation_message, without_messages

ONE = 1 << 16  # of a matrix, 16.16 fixed point; its last column is 2.30
TOLERANCE = 0.0175  # one degree, and 2 % of a scale: what ffmpeg takes for a quarter turn


@dataclass(frozen=True)
class Orientation:
    """Mirrored left to right first, then turned."""

    turns: int = 0  # quarter turns anticlockwise, 0 .. 3
    mirrored: bool = False
    lasting: bool = False  # of a message before key frames, which holds for the frames behind them too

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """[H, W, 3] as coded -> as shown."""
        return np.rot90(picture[:, ::-1] if self.mirrored else picture, self.turns)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as coded -> as shown, and the reverse."""
        return (height, width) if self.turns % 2 else (width, height)

    def check(self, frame: av.VideoFrame, number: int) -> None:
        """DecodeError where a frame asks for another orientation than the video's first frame does."""
        matrix = matrix_of(frame)
        if matrix is None and (self.lasting and not frame.key_frame or self.turns == self.mirrored == 0):
            return
        if read_matrix(matrix) != (self.turns, self.mirrored):
            raise DecodeError("decode", f"the orientation changes at frame {number}")


def matrix_of(frame: av.VideoFrame) -> bytes | None:
    """The display matrix of a frame: a message's, else the container's, else None."""
    beside = frame.side_data
    return bytes(beside[Type.DISPLAYMATRIX]) if len(beside) and Type.DISPLAYMATRIX in beside else None


def read_matrix(matrix: bytes | None) -> tuple[int, bool]:
    """Display matrix int32 [3, 3] (points are rows: [x y 1] M) -> quarter turns anticlockwise and a mirror before them.

    Raises:
        DecodeError: another angle, a stretch or a shear, which no quarter turn shows.
    """
    if matrix is None:
        return 0, False
    a, b, u, c, d, v, *_ = struct.unpack("9i", matrix)
    scales = np.hypot(a, c), np.hypot(b, d)
    if not any((a, b, c, d)):  # players show such a picture as it is
        return 0, False
    if min(scales) > 0 and abs(scales[0] / scales[1] - 1) < TOLERANCE and not u and not v:
        rotation = np.array([[a, b], [c, d]]) / scales
        for mirrored in (False, True):
            for turns, (cos, sin) in enumerate(((1, 0), (0, 1), (-1, 0), (0, -1))):
                turned = np.array([[cos, -sin], [sin, cos]])
                if np.abs((np.diag([-1, 1]) if mirrored else np.eye(2)) @ turned - rotation).max() < TOLERANCE:
                    return turns, mirrored
    degrees = round(-np.degrees(np.arctan2(b, a))) % 360
    what = f"turn of {degrees} degrees" if degrees % 90 else "stretch"
    if u or v or abs(a * b + c * d) >= TOLERANCE * ONE**2:
        what = "shear"
    raise DecodeError("open", f"the display matrix asks for a {what}; only quarter turns and mirrors can be honoured")


def is_plain_turn(matrix: bytes | None) -> bool:
    """Whether a matrix is absent or exactly a quarter turn without a mirror, which decord honours in MP4 files too."""
    a, b, u, c, d, v, *_ = struct.unpack("9i", matrix) if matrix else (ONE, 0, 0, 0, ONE, 0)
    return (a, b) == (d, -c) and {abs(a), abs(b)} == {0, ONE} and not u and not v


def first_orientation(frame: av.VideoFrame, packet: av.Packet) -> Orientation:
    """The orientation that a video's first frame asks for, or its first packet, which an edit list may cut away.

    Raises:
        DecodeError: it cannot be honoured, or the container's matrix and the stream's message differ.
    """
    message = orientation_message(packet)
    if message is None:
        return Orientation(*read_matrix(matrix_of(frame)))
    container = _matrix_of_packet(packet, without_messages(packet))
    both = read_matrix(_matrix_of_packet(packet, bytes(packet)))  # a message overrules the container in ffmpeg
    if container is not None and read_matrix(container) != both:
        raise DecodeError("open", "the container and the stream ask for different orientations")
    h264 = packet.stream.codec_context.codec.canonical_name == "h264"
    return Orientation(*both, lasting=h264 and container is None and lasts(message))


def _matrix_of_packet(packet: av.Packet, content: bytes) -> bytes | None:
    """Display matrix of a key packet's frame with this content, also where an edit list cuts it away.

    The decoder is reset before and after.
    """
    decoder, copy = packet.stream.codec_context, av.Packet(content)
    decoder.flush_buffers()
    frames = [*decoder.decode(copy), *decoder.decode(None)]
    decoder.flush_buffers()
    return matrix_of(frames[0]) if frames else None
