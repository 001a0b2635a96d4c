"""Pictures of object masks: overlays, strips of frames, sheets of every slot's attention (the paper's figures 4 and 5).

All pictures are uint8 RGB arrays. Slot k is id k + 1 and keeps its colour, row k + 1 of the palette, in all of them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data.palette import OKABE_ITO

VOID = 255  # in DAVIS's files: pixels that are not scored
BASE = (*OKABE_ITO, (90, 40, 110))  # a dark purple in place of black
PAPER, INK = 255, 40  # grey levels of a sheet and of its letters
DARK, BRIGHT = (0.0, 0.3), (110.0, 0.55)  # (a, b): a grey g becomes a + b g, without attention and at full attention
MARGIN, GAP, SWATCH, LETTERS = 16, 4, 14, 20  # pixels; letters are that high


def palette(number: int) -> np.ndarray:
    """Colours of the ids 0 .. `number`, uint8 [number + 1, 3]: black for the background, then a colour a slot.

    The colour of an id does not depend on `number`. The first eight are told apart with any colour vision; later ones
    are the same hues, lighter or darker.
    """
    colours = [(0.0, 0.0, 0.0)]
    for slot in range(number):
        lap, colour = slot // len(BASE), np.array(BASE[slot % len(BASE)], float)
        towards = 0.0 if lap % 2 else 255.0  # black and white in turn
        share = 0.0 if lap == 0 else 0.75 * _van_der_corput((lap + 1) // 2)
        colours.append(tuple(colour + share * (towards - colour)))
    return np.rint(colours).astype(np.uint8)


def _van_der_corput(number: int) -> float:
    """1/2, 1/4, 3/4, 1/8, 5/8, ...: each number is far from those before it."""
    return int(f"{number:b}"[::-1], 2) / 2 ** number.bit_length()


def overlay(frames: np.ndarray, ids: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Frames with their objects tinted and outlined, uint8 [T, H, W, 3].

    Args:
        frames: uint8 [T, H, W, 3].
        ids: uint8 [T, H, W]; 0 (background) and 255 (void) stay as they are.
        alpha: share of the object's colour inside its outline; the outline itself is opaque.
    """
    _check(frames, ids, ids.shape)
    colours = palette(VOID)
    colours[VOID] = 0
    painted = (ids > 0) & (ids < VOID)
    tint = np.where(painted, np.float32(alpha), np.float32(0))
    tint[outlines(ids) & painted] = 1
    tint = tint[..., None]  # [T, H, W, 1]
    return np.rint(frames * (1 - tint) + colours[ids] * tint).astype(np.uint8)


def outlines(ids: np.ndarray) -> np.ndarray:
    """Pixels near another id, bool [T, H, W]: 1 px a side for each 240 px of the short side; none at the edge."""
    edge = np.zeros(ids.shape, bool)
    for reach in range(1, max(1, round(min(ids.shape[1:]) / 240)) + 1):
        for axis in (1, 2):
            # views: written through
            near, far = (
                np.moveaxis(edge, axis, 0)[:-reach],
                np.moveaxis(edge, axis, 0)[reach:],
            )
            along = np.moveaxis(ids, axis, 0)
            differs = along[:-reach] != along[reach:]
            near |= differs
            far |= differs
    return edge


def evenly_spaced(total: int, count: int) -> np.ndarray:
    """`count` of the frames 0 .. total - 1, the first and the last among them, int64 [min(count, total)]."""
    if count == 1:
        return np.array([total // 2])
    return np.rint(np.linspace(0, total - 1, min(count, total))).astype(np.int64)


def strip(
    rows: Mapping[str, np.ndarray], count: int = 6, width: int = 320, labels: Sequence[str] | None = None
) -> np.ndarray:
    """Evenly spaced frames side by side, a row for each kind of picture.

    Args:
        rows: label ("frames", "slots", "truth") -> pictures uint8 [T, H, W, 3], all of one shape.
        count: columns, at most T.
        width: pixels of a cell, at least 100 for the label on top; its height follows.
        labels: of the T frames; default: `frame t`.

    Returns:
        uint8 [h, w, 3], labels of the rows at the left, of the frames on top.
    """
    shapes = {pictures.shape for pictures in rows.values()}
    if len(shapes) != 1:
        raise ValueError(f"rows of a strip must have one shape, not {sorted(shapes)}")
    for pictures in rows.values():
        _check(pictures)
    at = evenly_spaced(len(next(iter(rows.values()))), count)
    cells = [[_resized(pictures[t], width) for t in at] for pictures in rows.values()]
    return _sheet(cells, list(rows), _labels(at, labels))


def attention_sheet(
    frames: np.ndarray, soft: np.ndarray, count: int = 6, width: int = 320, labels: Sequence[str] | None = None
) -> np.ndarray:
    """Where each slot looks: a row a slot, a column a frame, attention as brightness over the grey frame.

    All slots share one scale, from 0 to the 99.9th percentile of the attention shown, which the caption names. A slot
    that looks nowhere stays dark.

    Args:
        frames: uint8 [T, H, W, 3].
        soft: float [T, K, H, W], soft masks.
        count, width, labels: as for `strip`.

    Returns:
        uint8 [h, w, 3]; the first row is the frames, then slot by slot with its colour at the left.
    """
    soft = np.asarray(soft)
    _check(frames, soft, (soft.shape[0], *soft.shape[2:]))
    at = evenly_spaced(len(frames), count)
    pictures = [_resized(frames[t], width) for t in at]
    greys = [np.asarray(Image.fromarray(picture).convert("L"), np.float32) for picture in pictures]
    height, width = greys[0].shape
    shown = np.stack([[_shrunk(mask, height, width) for mask in soft[t]] for t in at], axis=1)  # [K, count, h, w]
    top = max(float(np.quantile(shown, 0.999)), 1e-6)
    cells = [[_lit(grey, share) for grey, share in zip(greys, row, strict=True)] for row in (shown / top).clip(0, 1)]
    rows = ["frames", *(f"slot {slot + 1}" for slot in range(len(cells)))]
    caption = f"brightness: attention from 0 to {top:.2f}, one scale for all slots"
    return _sheet([pictures, *cells], rows, _labels(at, labels), [None, *palette(len(cells))[1:]], caption)


def _labels(at: np.ndarray, labels: Sequence[str] | None) -> list[str]:
    return [f"frame {t}" for t in at] if labels is None else [labels[int(t)] for t in at]


def _check(frames: np.ndarray, masks: np.ndarray | None = None, shape: Sequence[int] = ()) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise ValueError(f"frames must be uint8 [T, H, W, 3], not {frames.dtype} {list(frames.shape)}")
    if masks is not None and tuple(shape) != frames.shape[:3]:
        raise ValueError(f"masks {list(masks.shape)} do not belong to frames {list(frames.shape)}")


def _resized(picture: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def _shrunk(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))


def _lit(grey: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A grey picture lit by attention in [0, 1]. Light is added, not only scaled, so that dark objects show it too."""
    dark, bright = (level + slope * grey for level, slope in (DARK, BRIGHT))
    return np.repeat(np.rint(dark + share * (bright - dark)).astype(np.uint8)[..., None], 3, axis=2)


def _sheet(
    cells: list[list[np.ndarray]],
    rows: list[str],
    columns: list[str],
    swatches: Sequence[np.ndarray | None] = (),
    caption: str = "",
) -> np.ndarray:
    """Cells uint8 [h, w, 3] of one size on white: labels left and on top, a row's colour before it, a caption below."""
    font = ImageFont.load_default(LETTERS)
    height, width = cells[0][0].shape[:2]
    bar = SWATCH + 2 * GAP if swatches else 0
    left = MARGIN + max(int(font.getlength(name)) for name in rows) + LETTERS // 2 + bar
    top = MARGIN + LETTERS + LETTERS // 2
    right, bottom = left + len(columns) * (width + GAP) - GAP, top + len(rows) * (height + GAP) - GAP
    sheet = Image.new("RGB", (right + MARGIN, bottom + MARGIN + (3 * LETTERS // 2 if caption else 0)), (PAPER,) * 3)
    draw = ImageDraw.Draw(sheet)
    draw.text((left, bottom + LETTERS // 2), caption, (INK,) * 3, font, anchor="la")
    for column, name in enumerate(columns):
        draw.text((left + column * (width + GAP) + width / 2, top - LETTERS // 2), name, (INK,) * 3, font, anchor="ms")
    for row, name in enumerate(rows):
        y = top + row * (height + GAP)
        draw.text((left - bar - LETTERS // 2, y + height / 2), name, (INK,) * 3, font, anchor="rm")
        if swatches and (swatch := swatches[row]) is not None:
            colour = tuple(int(value) for value in swatch)
            draw.rectangle((left - GAP - SWATCH, y, left - GAP - 1, y + height - 1), colour)
        for column, cell in enumerate(cells[row]):
            sheet.paste(Image.fromarray(cell), (left + column * (width + GAP), y))
    return np.asarray(sheet)
