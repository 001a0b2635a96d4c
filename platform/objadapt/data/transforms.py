"""Spatial transforms; every frame of a clip gets the same one."""

import math

import numpy as np
import torch

from .. import torchvision_compat  # noqa: F401  (before torchvision)
from ..config import Transform

# isort: split
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

ASPECT_RATIOS = (3 / 4, 4 / 3)  # of a random resized crop, as in ImageNet training
RANDAUGMENT_OPS = 2
ERASED_AREA, ERASED_RATIO = (0.02, 1 / 3), (0.3, 1 / 0.3)  # of the crop, and height over width (Zhong et al. 2020)


def train_transform(
    frames: np.ndarray, size: int, transform: Transform, flip: bool, rng: np.random.Generator
) -> np.ndarray:
    """Random resized crop, random horizontal flip where `flip` allows it, RandAugment and random erasing where
    configured.

    Args:
        frames: uint8 [T, H, W, 3].
        size: side S of the crop in pixels.
        rng: the only source of randomness.

    Returns:
        uint8 [T, S, S, 3].
    """
    top, left, height, width = _random_box(frames.shape[1], frames.shape[2], transform.min_scale, rng)
    crop = _to_tensor(frames[:, top : top + height, left : left + width])  # [T, 3, h, w]
    crop = functional.resize(crop, [size, size], InterpolationMode.BICUBIC, antialias=True)  # [T, 3, S, S]
    if flip and rng.random() < 0.5:
        crop = functional.horizontal_flip(crop)
    if transform.randaugment:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63 - 1)))
            crop = v2.RandAugment(RANDAUGMENT_OPS, transform.randaugment_magnitude)(crop)
    done = _to_array(crop)
    if transform.random_erasing and rng.random() < transform.random_erasing:
        _erase(done, rng)
    return done


def test_transform(frames: np.ndarray, size: int, crop: int = 0, num_crops: int = 1) -> np.ndarray:
    """Short side to `size` (bicubic, antialiased), then the centre crop, or crop 0 | 1 | 2 of 3 along the long side.

    Args:
        frames: uint8 [T, H, W, 3].

    Returns:
        uint8 [T, S, S, 3].

    Raises:
        ValueError: no such crop.
    """
    if num_crops not in (1, 3) or not 0 <= crop < num_crops:
        raise ValueError(f"crop {crop} of {num_crops}: 1 or 3 crops are known")
    resized = functional.resize(_to_tensor(frames), [size], InterpolationMode.BICUBIC, antialias=True)  # [T, 3, h, w]
    position = 0.5 if num_crops == 1 else crop / 2  # along what is left over
    top, left = (round((side - size) * position) for side in resized.shape[-2:])
    return _to_array(resized[..., top : top + size, left : left + size])


test_transform.__test__ = False  # "test" as in testing: pytest must not collect it


def normalise(frames: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """uint8 [..., S, S, 3] -> float32 [..., 3, S, S], scaled to 0 .. 1, then (x - mean) / std for each channel."""
    scaled = frames.movedim(-1, -3).to(torch.float32) / 255  # [..., 3, S, S]
    mean, std = (torch.tensor(values, device=frames.device).view(3, 1, 1) for values in (mean, std))
    return (scaled - mean) / std


def _random_box(height: int, width: int, min_scale: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height, width of a crop of a random share (min_scale .. 1) of the area and a random aspect ratio."""
    for _ in range(10):
        area = height * width * rng.uniform(min_scale, 1)
        ratio = math.exp(rng.uniform(*np.log(ASPECT_RATIOS)))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    # No such box fits a long, narrow picture: the largest centred one of an allowed ratio.
    w = min(width, max(1, round(height * ASPECT_RATIOS[1])))
    h = min(height, max(1, round(width / ASPECT_RATIOS[0])))
    return (height - h) // 2, (width - w) // 2, h, w


def _erase(frames: np.ndarray, rng: np.random.Generator) -> None:
    """Make noise of a box of uint8 [T, S, S, 3], the same one in all frames, in place."""
    size = frames.shape[1]
    for _ in range(10):
        area = size**2 * rng.uniform(*ERASED_AREA)
        ratio = math.exp(rng.uniform(*np.log(ERASED_RATIO)))
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < height < size and 0 < width < size:
            top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
            box = frames[:, top : top + height, left : left + width]
            box[:] = rng.integers(0, 256, box.shape, np.uint8)
            return


def _to_tensor(frames: np.ndarray) -> torch.Tensor:
    # [T, 3, H, W], channels last: the fast path
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)


def _to_array(frames: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy())  # [T, H, W, 3]
