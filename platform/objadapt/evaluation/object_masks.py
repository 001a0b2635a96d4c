"""Object masks for free: the slots' attention of the last iteration, at a frame's full aspect ratio (section 4).

    frames --resize to whole patches--> backbone --> A [T, K, h, w]
    A --bilinear--> soft masks [T, K, H, W] --arg-max--> ids [T, H, W]

A sums to 1 over the K slots at every patch, and the soft masks do so at every pixel. Slots start from the same
queries in each frame. So slot k is the same object candidate throughout a video and keeps the id k + 1.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..backbone.encoder import Encoder
from ..backbone.features import encode_frames
from ..errors import InputError
from ..methods.method import Grouping
from ..methods.video_grouping import VideoGrouping

MAX_IDS = 254  # 0 is the background and 255 is void in an indexed PNG
MAX_PATCHES = 2**14  # a ViT's attention over more patches does not fit into common memories
BATCH_PATCHES = 4096  # patches encoded at a time: 8 frames of 480 x 854 at a short side of 224 pixels


def patch_grid(height: int, width: int, resolution: int, patch_size: int) -> tuple[int, int]:
    """Patches (h, w) that a frame of `height` x `width` pixels is resized to.

    The short side becomes `resolution` pixels and the long side follows in proportion. Both are rounded to whole
    patches.

    Raises:
        InputError: less than one patch on the short side, or more than `MAX_PATCHES` patches in all.
    """
    if resolution < patch_size:
        raise InputError(
            f"--resolution: {resolution} pixels are less than a patch of {patch_size}; use at least {patch_size}"
        )
    short, long = sorted((height, width))
    few = max(1, round(resolution / patch_size))
    many = max(few, round(resolution * long / short / patch_size))
    if few * many > MAX_PATCHES:
        raise InputError(
            f"--resolution: {resolution} pixels make {few} x {many} patches of a frame of {height}x{width};"
            " use a lower one"
        )
    return (few, many) if height <= width else (many, few)


def encode_patches(encoder: Encoder, frames: np.ndarray, grid: tuple[int, int]) -> Tensor:
    """Patch tokens of whole frames, resized (bicubic, antialiased, as in testing) to `grid` patches.

    Args:
        frames: uint8 [T, H, W, 3].
        grid: (h, w) of `patch_grid`; away from the backbone's own grid its position embeddings are interpolated.

    Returns:
        float16 [T, N = h * w, J], row by row, on the CPU: as streams and caches carry them.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames must be uint8 [T, H, W, 3], not {frames.dtype} {list(frames.shape)}")
    size = [side * encoder.patch_size for side in grid]
    batch = max(1, BATCH_PATCHES // (grid[0] * grid[1]))
    parts = []
    for start in range(0, len(frames), batch):
        pixels = torch.from_numpy(np.array(frames[start : start + batch], order="C"))
        images = pixels.permute(0, 3, 1, 2)  # [b, 3, H, W]
        resized = interpolate(images, size, mode="bicubic", antialias=True)  # [b, 3, h * P, w * P]
        parts.append(encode_frames(encoder, resized.permute(0, 2, 3, 1)[None])[0][0])  # [b, N, J]
    return torch.cat(parts)


@torch.no_grad()
def slot_masks(
    encoder: Encoder, grouping: Grouping, frames: np.ndarray, grid: tuple[int, int], flip: bool = False
) -> Tensor:
    """Slot attention A of the last iteration (Eq. 2) over the patches of whole frames, each frame on its own.

    Args:
        encoder, grouping: on any device.
        frames: uint8 [T, H, W, 3].
        grid: (h, w) of `patch_grid`.
        flip: average with the masks of the mirrored frames, mirrored back, slot by slot.

    Returns:
        float32 [T, K, h, w] on the CPU; sums to 1 over K.
    """
    if flip:
        mirrored = slot_masks(encoder, grouping, frames[:, :, ::-1], grid)
        return (slot_masks(encoder, grouping, frames, grid) + mirrored.flip(-1)) / 2
    like = next(grouping.parameters())
    batch = max(1, BATCH_PATCHES // (grid[0] * grid[1]))
    parts = []
    for patches in encode_patches(encoder, frames, grid).split(batch):
        _, attention = grouping(patches.to(like.device, like.dtype))  # [b, K, N]
        parts.append(attention.float().cpu())
    return torch.cat(parts).unflatten(2, grid)


def segment_video(
    encoder: Encoder, grouping: Grouping, frames: Iterable[np.ndarray], resolution: int, flip: bool = False
) -> Tensor:
    """`slot_masks` of a video that comes in pieces, so that a long one need not be in memory.

    What groups a whole video at once (`VideoGrouping`) has the tokens of all its frames in memory.

    Args:
        frames: pieces uint8 [n, H, W, 3] of any length, all of one picture size.
        resolution: pixels of the short side, brought to whole patches.

    Returns:
        float32 [T, K, h, w], T the frames of all pieces; `upsample` brings them to the frames' size.

    Raises:
        InputError: `flip` of segments that are found anew in each video.
    """
    whole = isinstance(grouping, VideoGrouping)
    if whole and flip:
        raise InputError("--flip: averages masks slot by slot; this method finds its segments anew, so leave it out")
    parts, grid = [], (0, 0)
    for piece in frames:
        height, width = piece.shape[1:3]
        grid = patch_grid(height, width, resolution, encoder.patch_size)
        parts.append(
            encode_patches(encoder, piece, grid) if whole else slot_masks(encoder, grouping, piece, grid, flip)
        )
    if isinstance(grouping, VideoGrouping):
        return grouping.video_masks(torch.cat(parts), grid).unflatten(2, grid)
    return torch.cat(parts)


def upsample(soft: Tensor, size: tuple[int, int]) -> Tensor:
    """Soft masks float [T, K, h, w] -> [T, K, H, W] bilinearly (pixel centres aligned); the sum over K stays 1."""
    return interpolate(soft, size, mode="bilinear", align_corners=False)


def background_slots(soft: Tensor, number: int) -> list[int]:
    """The `number` slots that cover most of the frame border over a whole video: what surrounds the objects.

    Args:
        soft: float [T, K, h, w]; the border is the outermost ring of patches, a patch belongs to its strongest slot.

    Returns:
        Slots 0 .. K - 1 in rising order; where two cover as much, the one with more attention on the border.

    Raises:
        InputError: no slot would be left.
    """
    num_slots = soft.shape[1]
    if not 0 <= number < num_slots:
        raise InputError(
            f"--drop-background: {number} of {num_slots} slots cannot be dropped; use 0 .. {num_slots - 1}"
        )
    rim = torch.ones(soft.shape[2:], dtype=torch.bool)
    rim[1:-1, 1:-1] = False
    border = soft[:, :, rim].double()  # [T, K, ring]
    covered = border.argmax(dim=1).flatten().bincount(minlength=num_slots)  # [K], patches
    mass = border.sum(dim=(0, 2))  # [K]
    ranked = sorted(range(num_slots), key=lambda slot: (int(covered[slot]), float(mass[slot])), reverse=True)
    return sorted(ranked[:number])


def id_maps(soft: Tensor, dropped: Iterable[int] = ()) -> np.ndarray:
    """Disjoint masks: each pixel goes to its strongest slot.

    Args:
        soft: float [T, K, H, W], K at most `MAX_IDS`.
        dropped: slots that are background.

    Returns:
        uint8 [T, H, W]: slot k as id k + 1, the pixels of dropped slots as 0.

    Raises:
        InputError: more slots than an indexed PNG has ids.
    """
    if soft.shape[1] > MAX_IDS:
        raise InputError(
            f"slots: {soft.shape[1]} masks are more than the {MAX_IDS} ids of an indexed PNG; use fewer slots"
        )
    names = torch.arange(1, soft.shape[1] + 1, dtype=torch.uint8)
    names[list(dropped)] = 0
    return names[soft.argmax(dim=1).cpu()].numpy()
