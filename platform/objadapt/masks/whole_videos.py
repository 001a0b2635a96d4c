"""Every n-th frame of a whole video, in pieces: from a video file, or from pictures as DAVIS has them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..data.decode import decode_frames
from ..data.frame_folder import MODES
from ..data.probe import DecodeError, probe
from ..data.video_file import check_size
from .video import Video

PIECE_FRAMES, PIECE_BYTES = 64, 2**27  # a piece; many frames, since a decoder starts anew for each
PICTURES_FPS = 24  # of DAVIS's videos; pictures themselves do not say


class Frames:
    """The frames of a video that are looked at.

    Args:
        stride: every n-th frame.
        decode: calls the decoder of a video file, `decode(function, *arguments)`; such as `apart.apart`.
        every: of a video file, in place of `stride`: the frames shown each so many seconds.

    Attributes:
        names: of the frames: a picture's without its suffix, a number of five digits in a video file.
        height, width: in pixels.
        fps: of these frames, by `stride`.
        seconds, lasts: of a video file: when each begins, from the first frame on, and when the last ends.

    Raises:
        DecodeError: unreadable, or a picture of another size than the first.
    """

    def __init__(
        self,
        video: Video,
        stride: int = 1,
        decode: Callable = lambda call, *arguments: call(*arguments),
        every: float | None = None,
    ):
        self.video, self._decode = video, decode
        if video.file:
            self._info = decode(probe, video.file)
            times = self._info.pts_s - self._info.pts_s[0]
            self._places = list(range(0, self._info.num_frames, stride)) if every is None else shown_each(times, every)
            self.seconds = times[self._places]
            self.lasts = float(times[-1]) + (1 / self._info.fps if self._info.fps else 0.0)
            self.names = [f"{place:05d}" for place in self._places]
            self.height, self.width, self.fps = self._info.height, self._info.width, self._info.fps / stride
        else:
            self._places = list(video.pictures[::stride])
            self.names = [Path(path).stem for path in self._places]
            self.height, self.width = _read_picture(self._places[0]).shape[:2]
            self.fps = PICTURES_FPS / stride

    def __len__(self) -> int:
        return len(self.names)

    def pieces(self) -> Iterator[np.ndarray]:
        """Frames uint8 [n, H, W, 3] in order, n at most `PIECE_FRAMES`."""
        length = max(1, min(PIECE_FRAMES, PIECE_BYTES // (3 * self.height * self.width)))
        for start in range(0, len(self), length):
            yield self.read(range(start, min(start + length, len(self))))

    def read(self, numbers: Sequence[int]) -> np.ndarray:
        """Frames uint8 [n, H, W, 3] by their place among those that are looked at; errors as above."""
        places = [self._places[number] for number in numbers]
        if self.video.file:
            return self._decode(decode_frames, self.video.file, np.array(places), self._info)[0]
        pictures = []
        for path in places:
            pictures.append(_read_picture(path))
            if pictures[-1].shape[:2] != (self.height, self.width):
                height, width = pictures[-1].shape[:2]
                raise DecodeError(
                    "decode", f"{path} is {width}x{height}, the frames before it are {self.width}x{self.height}"
                )
        return np.stack(pictures)


def shown_each(times: np.ndarray, every: float) -> list[int]:
    """Places of the frames that are shown at 0 s, `every` s, 2 `every` s, ..., each once, whatever the frame rate does.

    Args:
        times: float64 [n], seconds at which each frame begins, from 0 on.
    """
    moments = np.arange(0, times[-1] + 1e-6, every)
    return np.unique(np.searchsorted(times, moments + 1e-6, side="right") - 1).tolist()


def _read_picture(path: str) -> np.ndarray:
    """uint8 [H, W, 3]."""
    try:
        with Image.open(path) as image:
            check_size(*image.size)
            if image.mode not in MODES:
                raise DecodeError(
                    "decode", f"{path} has pixels of kind {image.mode}; give pictures of 8 bits a channel"
                )
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what PIL raises on broken files
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "not an image" if unknown else getattr(error, "strerror", None) or error
        raise DecodeError("decode", f"{path}: {reason}") from None
