"""A video with its objects and the running answer: at each moment the mean of the windows that it lies in."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..data.decoder_process import DecoderProcess
from ..evaluation.mask_video import write_video
from ..evaluation.object_masks import id_maps, patch_grid, slot_masks, upsample
from ..evaluation.overlay import INK, MARGIN, PAPER, overlay
from ..video_model import VideoModel
from .predict import Answer

PIECE_FRAMES, PIECE_BYTES = 16, 2**26  # of a video that are segmented at once
SHORT_SIDE, LONG_SIDE, LEAST_WIDTH = 360, 1280, 480  # pixels of the picture: at least, at most; of what is below it
BEST, LETTERS, LINE = 3, 16, 24  # classes of each head that are shown; pixels
BAR = (86, 180, 233)  # sky blue of Okabe and Ito


def write_answer_video(
    file: Path,
    model: VideoModel,
    decoder: DecoderProcess,
    path: str,
    answer: Answer,
    show: Callable[[int, int], None] | None = None,
) -> None:
    """Write an H.264 video of all frames: objects tinted where the model has slots, the best classes below.

    Small videos are enlarged, so that words can be read.

    Args:
        file: `.mp4`; its folder exists.
        path: the local video that `answer` is of.
        show: called with (frames done, frames in all).

    Raises:
        DecodeError: a frame that no window needed cannot be read.
        InputError: the picture is too long and narrow to be segmented.
    """
    info = answer.info
    scale = min(LONG_SIDE / max(info.width, info.height), max(1.0, SHORT_SIDE / min(info.width, info.height)))
    height, width = (max(2, round(side * scale)) for side in (info.height, info.width))

    def pictures() -> Iterator[np.ndarray]:
        done = 0
        with closing(decoder.frames(path, np.arange(info.num_frames), info)) as frames:
            for piece in _pieces(frames, PIECE_BYTES // (3 * info.width * info.height)):
                for picture in _with_objects(model, piece, (height, width)):
                    yield _with_answer(picture, answer, model.classes, float(info.pts_s[done]))
                    done += 1
                if show:
                    show(done, info.num_frames)

    write_video(file, pictures(), info.fps or 1.0)


def _pieces(frames: Iterator[np.ndarray], most: int) -> Iterator[np.ndarray]:
    """uint8 [n, H, W, 3]."""
    piece = []
    for frame in frames:
        piece.append(frame)
        if len(piece) >= min(PIECE_FRAMES, max(1, most)):
            yield np.stack(piece)
            piece = []
    if piece:
        yield np.stack(piece)


def _with_objects(model: VideoModel, piece: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames uint8 [n, *size, 3], tinted by slot attention over the whole frames, as `objadapt segment` has it."""
    shown = np.stack([np.asarray(Image.fromarray(one).resize(size[::-1], Image.Resampling.LANCZOS)) for one in piece])
    grouping = model.method.grouping
    if grouping is None:
        return shown
    resolution = model.config.transform.size or model.encoder.image_size
    grid = patch_grid(*piece.shape[1:3], resolution, model.encoder.patch_size)
    soft = slot_masks(model.encoder, grouping, piece, grid)  # [n, K, h, w]
    return overlay(shown, id_maps(upsample(soft, size)), alpha=0.4)


def _with_answer(picture: np.ndarray, answer: Answer, classes: dict[str, list[str]], second: float) -> np.ndarray:
    """The picture uint8 [H, W, 3] above its time and, for each head, a bar a class."""
    within = torch.tensor([one.start_s <= second < one.end_s for one in answer.windows])
    if not within.any():  # the last frame of a video whose rate varies
        within[-1] = True
    height, width = picture.shape[:2]
    across = max(width, LEAST_WIDTH)
    lines = 1 + sum(min(BEST, len(names)) for names in classes.values()) + (len(classes) if len(classes) > 1 else 0)
    sheet = Image.new("RGB", (across, height + lines * LINE + MARGIN), (PAPER,) * 3)
    sheet.paste(Image.fromarray(picture), ((across - width) // 2, 0))
    draw, font, y = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS), height + LINE // 2 + MARGIN // 2
    moment = f"frame {round(second)}" if answer.of_frames else f"{second:.1f} s"
    draw.text((MARGIN, y), moment, (INK,) * 3, font, anchor="lm")
    for head, names in classes.items():
        if len(classes) > 1:
            y += LINE
            draw.text((MARGIN, y), head.removesuffix("_label"), (INK,) * 3, font, anchor="lm")
        best = answer.probabilities[head][within].mean(dim=0).sort(descending=True, stable=True)
        for place, share in zip(best.indices[:BEST].tolist(), best.values[:BEST].tolist(), strict=True):
            y += LINE
            draw.rectangle((MARGIN, y - 9, MARGIN + round(share * (across - 2 * MARGIN)), y + 9), BAR)
            draw.text((MARGIN + 6, y), _fitting(names[place], font, across - 120), (INK,) * 3, font, anchor="lm")
            draw.text((across - MARGIN - 6, y), f"{100 * share:.0f} %", (INK,) * 3, font, anchor="rm")
    return np.asarray(sheet)


def _fitting(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """A name, cut where it is wider than so many pixels."""
    while len(name) > 1 and font.getlength(name) > width:
        name = name[:-2] + "…"
    return name
