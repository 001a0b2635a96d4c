"""Pictures of a video's masks for people: a strip of frames, a sheet of every slot's attention,
an H.264 video of overlays.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ..data.davis import read_ids
from ..evaluation.mask_video import write_video
from ..evaluation.object_masks import id_maps, upsample
from ..evaluation.overlay import attention_sheet, evenly_spaced, overlay, strip
from ..files import write_whole
from .whole_videos import Frames

COLUMNS, CELL = 6, 320  # frames in a strip, and their width in pixels
MOVING, SIDE = 24, 240  # frames of a GIF at the most, and their width in pixels
KINDS = (".png", "-slots.png", ".mp4")  # in this order


def picture_files(folder: Path, name: str) -> list[Path]:
    """The pictures of the video `name`: strip, attention sheet, video."""
    return [folder / f"{name}{kind}" for kind in KINDS]


def write_pictures(folder: Path, frames: Frames, masks: Path, attention: Tensor) -> None:
    """Draw what was segmented.

    Args:
        folder: for `picture_files`.
        frames: of the video, gone through once more.
        masks: folder of its indexed PNGs.
        attention: float [T, K, h, w], before any refinement.
    """
    strip_file, sheet_file, video_file = picture_files(folder, frames.video.name)
    strip_file.parent.mkdir(parents=True, exist_ok=True)
    shown = evenly_spaced(len(frames), COLUMNS)
    ids = np.stack([read_ids(masks / f"{frames.names[number]}.png") for number in shown])
    _write_stills(strip_file, sheet_file, frames, shown, {"slots": ids}, attention)
    write_video(video_file, _overlays(frames, masks), frames.fps)


def write_scored_pictures(folder: Path, frames: Frames, attention: Tensor, truth: Sequence[Path]) -> None:
    """Strip, attention sheet and GIF of an annotated sequence: frames, slots, ground truth.

    Args:
        folder: for the three.
        attention: float [T, K, h, w].
        truth: indexed PNGs of the T frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown, moving = evenly_spaced(len(frames), COLUMNS), evenly_spaced(len(frames), MOVING)
    slots = id_maps(upsample(attention[shown], (frames.height, frames.width)))
    masks = {"slots": slots, "truth": np.stack([read_ids(truth[number]) for number in shown])}
    _write_stills(*picture_files(folder, frames.video.name)[:2], frames, shown, masks, attention)
    _write_gif(folder / f"{frames.video.name}.gif", frames, moving, attention, truth)


def _write_stills(
    strip_file: Path,
    sheet_file: Path,
    frames: Frames,
    shown: np.ndarray,
    masks: dict[str, np.ndarray],
    attention: Tensor,
) -> None:
    """Strip and sheet of the frames `shown` [n]; `masks` are ids [n, H, W] by the label of their row."""
    seen, size = frames.read(shown.tolist()), (max(1, round(frames.height * CELL / frames.width)), CELL)
    rows = {"frames": seen} | {label: overlay(seen, ids) for label, ids in masks.items()}  # [n, H, W, 3] each
    small = {label: _resized(one, size) for label, one in rows.items()}
    labels = [frame_label(frames.names[number]) for number in shown]
    _save(strip_file, strip(small, COLUMNS, CELL, labels))
    soft = upsample(attention[shown], size).half().numpy()
    _save(sheet_file, attention_sheet(small["frames"], soft, COLUMNS, CELL, labels))


def _write_gif(path: Path, frames: Frames, shown: np.ndarray, attention: Tensor, truth: Sequence[Path]) -> None:
    """The frames `shown` [n], their slots and their truth side by side, at the video's own pace, for ever."""
    size = max(1, round(frames.height * SIDE / frames.width)), SIDE
    seen = _resized(frames.read(shown.tolist()), size)
    slots = id_maps(upsample(attention[shown], size))
    true = [Image.fromarray(read_ids(truth[number])).resize(size[::-1], Image.Resampling.NEAREST) for number in shown]
    parts = [seen, overlay(seen, slots), overlay(seen, np.stack([np.asarray(one) for one in true]))]
    pictures = [
        Image.fromarray(np.concatenate(row, axis=1)).quantize(96, dither=Image.Dither.NONE)
        for row in zip(*parts, strict=True)
    ]
    span = (int(shown[-1]) - int(shown[0])) / max(1, len(shown) - 1)  # of the video's frames
    buffer = io.BytesIO()
    every = max(20, round(1000 * span / float(frames.fps)))  # ms; browsers slow down what is faster
    pictures[0].save(buffer, format="GIF", save_all=True, append_images=pictures[1:], duration=every, loop=0)
    write_whole(path, buffer.getbuffer())


def frame_label(name: str) -> str:
    """A frame as its file of masks has it: `00010` is frame 10 of the video, whichever frames were looked at."""
    return f"frame {int(name)}" if name.isdecimal() else name


def _overlays(frames: Frames, masks: Path) -> Iterator[np.ndarray]:
    names = iter(frames.names)
    for piece in frames.pieces():
        for frame in piece:
            yield overlay(frame[None], read_ids(masks / f"{next(names)}.png")[None])[0]


def _resized(pictures: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(one).resize(size[::-1], Image.Resampling.LANCZOS)) for one in pictures])


def _save(path: Path, picture: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    write_whole(path, buffer.getbuffer())
