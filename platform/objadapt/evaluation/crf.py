"""Dense CRF: masks pulled to the edges of the picture (the paper gains 4.6 points of J with it).

Kraehenbuehl and Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, 2011. All pixels
of a frame are linked, the more strongly the closer they are in place and colour:

    k(i, j) = w_s exp(-|p_i - p_j|^2 / 2 s_s^2) + w_a exp(-|p_i - p_j|^2 / 2 s_p^2 - |I_i - I_j|^2 / 2 s_c^2)

Two linked pixels pay k(i, j) where they belong to different masks (Potts). Mean-field inference repeats, from Q = soft,

    Q_i(l) ~ soft_i(l) exp(sum over j of k(i, j) Q_j(l))

Each kernel K is normalised to D^-1/2 K D^-1/2, where D are the row sums. j = i counts, as in the authors' code.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .permutohedral import Permutohedral

FLOOR = 1e-5  # of a soft mask: from 0 nothing could raise it
Kernel = Callable[[Tensor], Tensor]  # [C, H, W] -> [C, H, W]: sum over j of k(i, j) q_j, up to a common factor


@dataclass(frozen=True)
class Settings:
    """DeepLab v2's weights and standard deviations (VOC 2012), the usual ones of unsupervised segmentation."""

    smoothness: float = 3.0  # w_s
    smoothness_px: float = 1.0  # s_s
    appearance: float = 4.0  # w_a
    appearance_px: float = 67.0  # s_p
    appearance_colour: float = 3.0  # s_c, of 0 .. 255
    iterations: int = 10


@torch.no_grad()
def refine(frames: np.ndarray, soft: Tensor, settings: Settings = Settings()) -> Tensor:
    """Refine soft masks by the pictures they are of, each frame on its own.

    Args:
        frames: uint8 [T, H, W, 3].
        soft: float32 [T, K, H, W], sums to 1 over K, at the frames' own size; on any device.

    Returns:
        float32 [T, K, H, W], sums to 1 over K.
    """
    if frames.dtype != np.uint8 or frames.shape != (len(soft), *soft.shape[2:], 3):
        raise ValueError(
            f"frames {frames.dtype} {list(frames.shape)} are not uint8 [T, H, W, 3] of masks {list(soft.shape)}"
        )
    refined = torch.empty_like(soft)
    for t, frame in enumerate(frames):
        pixels = torch.from_numpy(np.array(frame, order="C")).to(soft)  # [H, W, 3], 0 .. 255
        kernels = (smoothness_kernel(pixels, settings), appearance_kernel(pixels, settings))
        refined[t] = mean_field(soft[t], kernels, (settings.smoothness, settings.appearance), settings.iterations)
    return refined


def mean_field(soft: Tensor, kernels: Sequence[Kernel], weights: Sequence[float], iterations: int) -> Tensor:
    """Mean-field inference with a Potts penalty for one frame.

    Args:
        soft: float [K, H, W], sums to 1 over K.
        kernels, weights: of the sum k.

    Returns:
        As `soft`.
    """
    unary = soft.clamp(min=FLOOR).log()
    scales = [kernel(torch.ones_like(soft[:1])).clamp(min=1e-20).rsqrt() for kernel in kernels]  # D^-1/2, [1, H, W]
    q = unary.softmax(dim=0)
    for _ in range(iterations):
        messages = [
            weight * scale * kernel(scale * q) for kernel, weight, scale in zip(kernels, weights, scales, strict=True)
        ]
        q = (unary + sum(messages)).softmax(dim=0)
    return q


def smoothness_kernel(pixels: Tensor, settings: Settings) -> Kernel:
    """Kernel on the positions of `pixels` [H, W, 3] alone: down the columns, then along the rows, up to 5 s_s away."""
    reach = math.ceil(5 * settings.smoothness_px)  # beyond, it is below 4e-6

    def kernel(q: Tensor) -> Tensor:
        for axis, side in zip((1, 2), pixels.shape[:2], strict=True):
            total = q.clone()
            for step in range(1, min(reach, side - 1) + 1):  # ten times as fast as torch's convolution here
                share = math.exp(-(step**2) / (2 * settings.smoothness_px**2))
                total.narrow(axis, 0, side - step).add_(q.narrow(axis, step, side - step), alpha=share)
                total.narrow(axis, step, side - step).add_(q.narrow(axis, 0, side - step), alpha=share)
            q = total
        return q

    return kernel


def appearance_kernel(pixels: Tensor, settings: Settings) -> Kernel:
    """Kernel on positions and colours of `pixels` [H, W, 3], 0 .. 255, by a permutohedral lattice."""
    height, width = pixels.shape[:2]
    y, x = torch.meshgrid(torch.arange(height).to(pixels), torch.arange(width).to(pixels), indexing="ij")
    places = torch.stack([y, x], dim=2) / settings.appearance_px
    features = torch.cat([places, pixels / settings.appearance_colour], dim=2)  # [H, W, 5]
    lattice = Permutohedral(features.flatten(0, 1))
    return lambda q: lattice.filter(q.flatten(1).T.contiguous()).T.reshape(q.shape)
