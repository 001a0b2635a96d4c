"""Pictures of one frame: its objects with their slots' numbers, and where one slot looks (colours: overlay.py)."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from dashboards.video_objects import Seen
from objadapt.evaluation.object_masks import id_maps, upsample
from objadapt.evaluation.overlay import evenly_spaced, overlay, palette

WIDTH, LETTERS = 640, 40  # pixels of a picture, and of the numbers in it
DARK = 0.35  # share of its brightness that a frame keeps where a slot does not look


def enlarged(frame: np.ndarray) -> np.ndarray:
    """A frame uint8 [h, w, 3] as wide as all pictures here."""
    height = max(1, round(frame.shape[0] * WIDTH / frame.shape[1]))
    return np.asarray(Image.fromarray(frame).resize((WIDTH, height), Image.Resampling.BICUBIC))


def objects(frame: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """The frame with each slot's pixels in its colour, and its number where its attention is strongest.

    Args:
        frame: uint8 [h, w, 3].
        attention: float [K, h', w'], sums to 1 over K.
    """
    picture = enlarged(frame)
    soft = upsample(torch.from_numpy(attention)[None].float(), picture.shape[:2])  # [1, K, H, W]
    ids = id_maps(soft)
    drawn = Image.fromarray(overlay(picture[None], ids)[0])
    draw, font = ImageDraw.Draw(drawn), ImageFont.load_default(LETTERS)
    for slot in range(attention.shape[0]):
        own = np.where(ids[0] == slot + 1, soft[0, slot].numpy(), -1.0)
        if own.max() < 0:
            continue  # nowhere the strongest
        y, x = np.unravel_index(int(own.argmax()), own.shape)
        place = np.clip(x, LETTERS, WIDTH - LETTERS), np.clip(y, LETTERS, own.shape[0] - LETTERS)
        draw.text(
            tuple(map(int, place)), str(slot + 1), "white", font, anchor="mm", stroke_width=3, stroke_fill="black"
        )
    return np.asarray(drawn)


def strip(seen: Seen, count: int) -> np.ndarray:
    """Frames of a clip in a row, and below each with its objects, uint8 [H, W, 3]; frames alone without slots."""
    some = evenly_spaced(len(seen.frames), count)
    frames = np.stack([enlarged(seen.frames[number]) for number in some])
    rows = [frames]
    if seen.attention is not None:
        ids = id_maps(upsample(torch.from_numpy(seen.attention[some]).float(), frames.shape[1:3]))
        rows.append(overlay(frames, ids))
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def annotated(frame: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The frame with its true objects; their colours say nothing about slots."""
    picture = enlarged(frame)
    large = np.asarray(Image.fromarray(ids).resize(picture.shape[1::-1], Image.Resampling.NEAREST))
    return overlay(picture[None], large[None])[0]


def looked_at(frame: np.ndarray, attention: np.ndarray, slot: int, top: float) -> np.ndarray:
    """The grey frame, lit in the slot's colour by its attention: full strength at `top`, dark at 0.

    Args:
        frame: uint8 [h, w, 3].
        attention: float [K, h', w'] of the frame.
        slot: 0 .. K - 1.
        top: attention that is shown at full strength, the same for all slots and frames of a video.
    """
    picture = enlarged(frame)
    grey = np.asarray(Image.fromarray(picture).convert("L"), np.float32)[..., None]
    share = upsample(torch.from_numpy(attention[slot])[None, None].float(), picture.shape[:2])[0, 0].numpy()
    share = np.clip(share / max(top, 1e-6), 0, 1)[..., None]
    colour = palette(slot + 1)[slot + 1].astype(np.float32)
    lit = DARK * grey * (1 - share) + share * (0.35 * grey + 0.65 * colour)
    return np.rint(lit).clip(0, 255).astype(np.uint8)
