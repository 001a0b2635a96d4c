"""Frames -> the frozen backbone's features, one frame at a time (Eq. 1)."""

import torch
from torch import Tensor

from ..backbone.encoder import Encoder
from ..data.transforms import normalise


@torch.inference_mode()
def encode_frames(encoder: Encoder, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames uint8 [B, T, S, S, 3] -> patches float16 [B, T, N, J] and cls float16 [B, T, J], on the CPU.

    Float16 is what streams and caches carry; whoever encodes frames gets the same features from here.
    """
    device = next(encoder.parameters()).device
    images = normalise(frames.flatten(0, 1).to(device), encoder.mean, encoder.std)  # [B*T, 3, S, S]
    patches, cls = (part.half().cpu().unflatten(0, frames.shape[:2]) for part in encoder(images))
    return patches, cls
