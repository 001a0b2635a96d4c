"""A video that masks are made of, before anything of it is read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Video:
    """A video to be segmented: a file, or pictures in their order."""

    name: str  # of its folder of masks
    file: str | None = None
    pictures: tuple[str, ...] = ()
