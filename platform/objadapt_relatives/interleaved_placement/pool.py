"""The pictures that an article may have: files of a folder, or frames of a video."""

import shutil
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from objadapt.data.probe import DecodeError
from objadapt.errors import InputError
from objadapt.masks.video import Video
from objadapt.masks.whole_videos import Frames

from .embedding import Clip


class OfFiles:
    """Pictures in files; the chosen ones are copied as they are."""

    def __init__(self, files: list[Path]):
        self.files = files

    def embedded(self, clip: Clip) -> Tensor:
        """Unit vectors [G, E]; InputError of a file that is no picture."""
        found = []
        for path in self.files:
            try:
                found.append(clip.pictures(Frames(Video(path.stem, pictures=(str(path),))).read([0])))
            except DecodeError as error:
                reason = error.reason.replace(f"{path}: ", "")
                raise InputError(f"--pictures: {path}: {reason}; mend it or take it away") from None
        return torch.cat(found)

    def name(self, number: int) -> str:
        return self.files[number].name

    def suffix(self, number: int) -> str:
        return self.files[number].suffix.lower()

    def write(self, number: int, path: Path) -> None:
        shutil.copyfile(self.files[number], path)


class OfVideo:
    """Frames of a video, one every so many seconds; the chosen ones are written as PNG."""

    def __init__(self, video: str, every: float):
        self.video, self.every = video, every
        try:
            self.frames = Frames(Video(Path(video).stem, file=video), every=every)
        except DecodeError as error:
            raise InputError(f"--video: {video} cannot be decoded ({error})") from None

    def embedded(self, clip: Clip) -> Tensor:
        """Unit vectors [G, E] of the frames, read piece by piece."""
        try:
            return torch.cat([clip.pictures(list(piece)) for piece in self.frames.pieces()])
        except DecodeError as error:
            raise InputError(f"--video: {self.video} cannot be decoded ({error})") from None

    def name(self, number: int) -> str:
        return f"{Path(self.video).name} at {self.frames.seconds[number]:.2f} s"

    def suffix(self, number: int) -> str:
        return ".png"

    def write(self, number: int, path: Path) -> None:
        Image.fromarray(self.frames.read([number])[0]).save(path)
