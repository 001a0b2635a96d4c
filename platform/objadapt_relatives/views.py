"""Two clips of a video, and the static and the dynamic half of a clip (section 3.1), on tokens in place of pixels."""

import torch
from torch import Tensor


def two_clips(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """[B, T, N, J] -> its even and its odd frames, each [B, T / 2, N, J]; ValueError where T is odd."""
    if tokens.shape[1] % 2:
        raise ValueError(f"tokens: {tokens.shape[1]} frames cannot be parted into two clips")
    return tokens[:, 0::2], tokens[:, 1::2]


def static_half(clip: Tensor, frame: int) -> Tensor:
    """One frame of [B, T, N, J], repeated T times."""
    return clip[:, frame : frame + 1].expand_as(clip)


def dynamic_half(clip: Tensor) -> Tensor:
    """Each frame minus the one before it, [B, T, N, J]; the first minus the last, as published."""
    return clip - clip.roll(1, dims=1)


def drawn_frame(seed: int, step: int, frames: int) -> int:
    """Which frame is repeated in a step: the same for all clips and workers."""
    return int(torch.randint(frames, (), generator=torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)))
