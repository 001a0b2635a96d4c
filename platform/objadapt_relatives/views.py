"""Two clips of a video, and the static and the dynamic half of a clip (section 3.1), on tokens in place of pixels."""

from math import isqrt

import numpy as np
import torch
from torch import Tensor

from objadapt.errors import InputError


def two_clips(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """[B, T, N, J] -> its even and its odd frames, each [B, T / 2, N, J]; ValueError where T is odd."""
    if tokens.shape[1] % 2:
        raise ValueError(f"tokens: {tokens.shape[1]} frames cannot be parted into two clips")
    return tokens[:, 0::2], tokens[:, 1::2]


def static_half(clip: Tensor, frame: int) -> Tensor:
    """One frame of [B, T, N, J], repeated T times."""
    return clip[:, frame : frame + 1].expand_as(clip)


def dynamic_half(clip: Tensor) -> Tensor:
    """Each frame minus the one before it, [B, T, N, J]; the first is 0.

    Published: the first minus the last. Then the mean over time is 0 whatever moves, and of few frames the jump back
    is the greatest change.
    """
    return torch.cat([torch.zeros_like(clip[:, :1]), clip[:, 1:] - clip[:, :-1]], dim=1)


def windows(clips: tuple[Tensor, Tensor], side: int, seed: int, step: int, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Each of two clips [B, T, N, J] through a window of its own, [B, T, side^2, J]; drawn by seed, step and row.

    Stands for the random crops of the paper's two clips. Without them the place of a motion tells one video from
    another, and its direction need not be known.

    Args:
        side: of the window, in patches.
        rows: int64 [B], which video each is.

    Raises:
        InputError: the window is larger than a frame, or N is no square number.
    """
    patches = clips[0].shape[2]
    whole = isqrt(patches)
    if whole**2 != patches or side > whole:
        raise InputError(
            f"method.settings.window: {side}; a frame has {patches} patches, and no square of {side} x {side} in it"
        )
    corners = [np.random.default_rng([seed, step, row + 1]).integers(whole - side + 1, size=4) for row in rows.tolist()]
    corner = torch.from_numpy(np.array(corners)).to(rows.device)  # [B, 4]; row -1: padding
    within = torch.arange(side, device=rows.device)
    found = []
    for clip, (y, x) in zip(clips, corner.reshape(-1, 2, 2).permute(1, 2, 0), strict=True):
        place = ((y[:, None] + within)[:, :, None] * whole + (x[:, None] + within)[:, None]).flatten(1)  # [B, side^2]
        found.append(clip.take_along_dim(place[:, None, :, None], dim=2))
    return found[0], found[1]


def drawn_frame(seed: int, step: int, frames: int) -> int:
    """Which frame is repeated in a step: the same for all clips and workers."""
    return int(torch.randint(frames, (), generator=torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)))
