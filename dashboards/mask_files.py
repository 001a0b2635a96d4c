"""What Objects hands out of a clip: a video with the masks drawn over it, and the masks as indexed PNG files."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from dashboards.slot_pictures import enlarged
from dashboards.video_objects import Seen
from objadapt.data.davis import write_ids
from objadapt.evaluation.mask_video import write_video
from objadapt.evaluation.object_masks import id_maps, upsample
from objadapt.evaluation.overlay import overlay


def ids_of(seen: Seen, size: tuple[int, int]) -> np.ndarray:
    """The strongest slot of each pixel, uint8 [S, H, W], slot k as k + 1; `size`: H and W."""
    return id_maps(upsample(torch.from_numpy(seen.attention).float(), size))


def overlay_video(seen: Seen) -> bytes:
    """An MP4 (H.264) of the frames shown, at their own pace, with the slots drawn over them where there are any."""
    frames = np.stack([enlarged(frame) for frame in seen.frames])
    if seen.attention is not None:
        frames = overlay(frames, ids_of(seen, frames.shape[1:3]))
    length = float(seen.seconds[-1] - seen.seconds[0])
    with tempfile.TemporaryDirectory(prefix="objadapt-overlay-") as folder:
        path = Path(folder) / "overlay.mp4"
        write_video(path, frames, max(1.0, (len(frames) - 1) / length) if length > 0 else 1.0)
        return path.read_bytes()


def masks_zip(seen: Seen) -> bytes:
    """A ZIP of indexed PNG files, as DAVIS has them, one a frame shown: pixels of slot k have id k + 1."""
    with tempfile.TemporaryDirectory(prefix="objadapt-masks-") as folder:
        masks = Path(folder) / "masks"
        masks.mkdir()
        for number, ids in enumerate(ids_of(seen, seen.frames.shape[1:3])):
            write_ids(masks / f"{number:03d}-{seen.seconds[number]:.2f}s.png", ids)
        return Path(shutil.make_archive(str(masks), "zip", masks)).read_bytes()
