"""Scenes in which an object goes and then stops, with their tokens, masks and exact flow between any two frames."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from objadapt.backbone import build_backbone
from objadapt.backbone.features import encode_frames
from objadapt.config import Backbone
from objadapt.data.exact_flow import pair_flow
from objadapt.data.shapes import GROUNDS, Thing
from objadapt.data.toy import render_scene
from objadapt.data.toy_scenes import PALETTE, Scene
from objadapt.methods.motion_layers.estimated_flow import in_patches

SIZE, PATCH, FRAMES = 96, 8, 6
GRID = (SIZE // PATCH, SIZE // PATCH)
REST = 3  # from this frame on the object stands still
SOLID = ("circle", "square", "triangle", "cross", "star")


@dataclass
class Scenes:
    """B scenes, T frames, N patches."""

    frames: torch.Tensor  # uint8 [B, T, S, S, 3]
    tokens: torch.Tensor  # float32 [B, T, N, J]
    flow: torch.Tensor  # float32 [B, T, T, N, 2], in patches
    ids: np.ndarray  # uint8 [B, T, S, S]

    def batch(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """What a training step is given, without labels."""
        return {
            "frames": self.frames[rows],
            "flow": self.flow[rows],
            "valid": torch.ones(len(rows), dtype=torch.bool),
            "labels": torch.full((len(rows), 1), -1),
            "row": rows,
        }


def stopping_scene(rng: np.random.Generator) -> Scene:
    """An object of any colour and solid shape, on any ground, under a camera that jitters."""
    shape, colour = SOLID[rng.integers(len(SOLID))], PALETTE[rng.integers(len(PALETTE))]
    thing = Thing(shape, colour, 0, 0, float(rng.uniform(0.2, 0.26)))
    middle, way = rng.uniform(0.3, 0.7, 2), rng.uniform(0, 2 * np.pi)
    step = 0.1 * np.array([np.cos(way), np.sin(way)])
    path = [middle + step * (min(t, REST) - REST / 2) for t in range(FRAMES)]
    things = [[replace(thing, x=float(x), y=float(y))] for x, y in path]
    return Scene("moves left", things, 1, GROUNDS[rng.integers(len(GROUNDS))], rng.normal(0, 0.01, (FRAMES, 2)))


def scenes(number: int, seed: int) -> Scenes:
    """Scenes that a generator of its own draws each."""
    frames, flows, ids = [], [], []
    for one in range(number):
        scene = stopping_scene(np.random.default_rng([seed, one]))
        pictures, instances = render_scene(scene, SIZE)
        ways = [[pair_flow(scene, a, b, instances[a]) for b in range(FRAMES)] for a in range(FRAMES)]
        frames.append(pictures)
        flows.append(in_patches(torch.from_numpy(np.array(ways)).flatten(0, 1), PATCH).unflatten(0, (FRAMES, FRAMES)))
        ids.append(instances)
    pixels = torch.from_numpy(np.stack(frames))
    tokens, _ = encode_frames(build_backbone(Backbone(library="small_clip")), pixels)
    return Scenes(pixels, tokens.float(), torch.stack(flows), np.stack(ids))


def object_iou(masks: np.ndarray, ids: np.ndarray) -> float:
    """IoU of a frame's object, ids [S, S], with the mask that is best for it, of masks [N] by number."""
    found, there = masks.reshape(GRID).repeat(PATCH, 0).repeat(PATCH, 1), ids > 0
    return max(float(((found == k) & there).sum() / ((found == k) | there).sum()) for k in np.unique(found))
