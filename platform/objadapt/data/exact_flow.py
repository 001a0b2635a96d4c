"""The optical flow of a rendered scene, which the renderer knows exactly: where each visible point is a frame later."""

import io
from pathlib import Path

import numpy as np

from ..files import write_whole
from .shapes import Thing
from .toy_scenes import Scene


def pair_flow(scene: Scene, first: int, second: int, ids: np.ndarray) -> np.ndarray:
    """Flow from one frame of a scene to another, before or behind it.

    Args:
        ids: uint8 [S, S] of the first frame, as `render` gives them: whose visible point a pixel is.

    Returns:
        float32 [S, S, 2], (x, y) in pixels. Also where the point is hidden in the second frame, or outside of it. What
        fades in or out does not move.
    """
    size = len(ids)
    before, behind = (np.rint(scene.shifts[t] * size) / size for t in (first, second))  # cameras in whole pixels
    centres = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    flow = np.empty((size, size, 2), np.float32)
    flow[...] = (before - behind) * size  # of the ground
    for number, (thing, later) in enumerate(zip(scene.things[first], scene.things[second], strict=True), 1):
        seen = ids == number
        moved = _moved(x[seen] + before[0], y[seen] + before[1], thing, later)
        for axis, (there, here) in enumerate(zip(moved, (x[seen], y[seen]), strict=True)):
            flow[..., axis][seen] = (there - behind[axis] - here) * size
    return flow


def _moved(x: np.ndarray, y: np.ndarray, thing: Thing, later: Thing) -> tuple[np.ndarray, np.ndarray]:
    """Points of a thing, in picture widths, where they are when it is `later`: the inverse of how `render` draws it."""
    across, down = (x - thing.x) / thing.aspect**0.5, (y - thing.y) * thing.aspect**0.5
    cos, sin = np.cos(thing.angle), np.sin(thing.angle)
    u, v = (cos * across + sin * down) / thing.radius, (cos * down - sin * across) / thing.radius
    cos, sin = np.cos(later.angle), np.sin(later.angle)
    across, down = later.radius * (cos * u - sin * v), later.radius * (sin * u + cos * v)
    return later.x + across * later.aspect**0.5, later.y + down / later.aspect**0.5


def scene_flow(scene: Scene, ids: np.ndarray) -> np.ndarray:
    """Flow of each frame to the next, float16 [T - 1, S, S, 2] in pixels, exact to 1 / 2048; ids uint8 [T, S, S]."""
    return np.stack([pair_flow(scene, t, t + 1, ids[t]) for t in range(len(ids) - 1)]).astype(np.float16)


def flow_file(root: Path, clip_id: str) -> Path:
    """Where a toy data set has the flow of a sequence, beside its masks."""
    return root / "davis" / "Flow" / "480p" / f"{clip_id}.npz"


def write_flow(path: Path, flow: np.ndarray) -> None:
    """Write float16 [T - 1, S, S, 2] as `flow` of an .npz file; `np.load(path)["flow"]` reads it."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, flow=flow)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())
