"""The renderer behind Object Actions (toy video) and the small CLIP's pictures: shapes on textured grounds.

Everything is drawn from signed distances with one pixel of anti-aliasing, in unit coordinates (x right,
y down, the picture is [0, 1] x [0, 1]), so one scene renders at any resolution. All of this is toy data.
"""

from dataclasses import dataclass, replace

import numpy as np

HELD_OUT_SEED = 2**32  # pictures that a pretraining is judged by are seeded from here on, those it learns from below
SHAPES = ("circle", "square", "triangle", "cross", "star", "ring")
COLOURS = {
    "red": (225, 45, 45),
    "green": (50, 180, 70),
    "blue": (50, 90, 230),
    "yellow": (240, 215, 50),
    "purple": (160, 60, 200),
    "cyan": (60, 205, 215),
    "orange": (245, 140, 35),
    "white": (245, 245, 245),
}
TEXTURES = ("plain", "striped", "checkered", "dotted", "cloudy")


@dataclass(frozen=True)
class Thing:
    """One object at one moment, in unit coordinates."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float
    angle: float = 0.0  # radians
    aspect: float = 1.0  # width over height, at constant area
    light: float = 1.0  # 1: its own colour, 0: black
    opacity: float = 1.0


@dataclass(frozen=True)
class Background:
    """A muted texture; `phase` moves it, so camera jitter shifts ground and objects together."""

    texture: str
    tones: tuple[tuple[float, float, float], tuple[float, float, float]]  # two RGB tones, 0-255
    period: float  # in picture widths
    angle: float
    grain: np.ndarray  # float32 [16, 16], the coarse noise of "cloudy"


def random_background(rng: np.random.Generator) -> Background:
    """Draw a muted (grey-ish, mid-tone) texture so that the saturated shapes stand out from it."""
    base = rng.uniform(60, 170)
    tones = tuple(tuple(float(base + shift + rng.uniform(-22, 22)) for _ in range(3)) for shift in (-25, 25))
    return Background(
        texture=TEXTURES[rng.integers(len(TEXTURES))],
        tones=tones,
        period=float(rng.uniform(0.12, 0.4)),
        angle=float(rng.uniform(0, np.pi)),
        grain=rng.random((16, 16), dtype=np.float32),
    )


# one of each texture: what the toy videos and the small CLIP's pictures have in common
GROUNDS = tuple(
    replace(random_background(np.random.default_rng([7, number])), texture=texture)
    for number, texture in enumerate(TEXTURES)
)


def render_background(background: Background, size: int, margin: int = 0) -> np.ndarray:
    """-> float32 [S + 2 margin, S + 2 margin, 3], 0-255; the margin is for a camera that moves."""
    centres = (np.arange(-margin, size + margin, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    cos, sin = np.cos(background.angle), np.sin(background.angle)
    u, v = (cos * x + sin * y) / background.period, (cos * y - sin * x) / background.period
    if background.texture == "plain":
        mix = np.full_like(x, 0.5)
    elif background.texture == "striped":
        mix = (np.sin(2 * np.pi * u) > 0).astype(np.float32)
    elif background.texture == "checkered":
        mix = ((np.floor(2 * u) + np.floor(2 * v)) % 2).astype(np.float32)
    elif background.texture == "dotted":
        mix = (((u % 1) - 0.5) ** 2 + ((v % 1) - 0.5) ** 2 < 0.06).astype(np.float32)
    else:  # cloudy: bilinear interpolation of a periodic coarse noise
        i, j = (4 * x) % 16, (4 * y) % 16
        i0, j0 = i.astype(int) % 16, j.astype(int) % 16
        a, b = i - np.floor(i), j - np.floor(j)
        grain, i1, j1 = background.grain, (i0 + 1) % 16, (j0 + 1) % 16
        mix = (1 - b) * ((1 - a) * grain[j0, i0] + a * grain[j0, i1]) + b * (
            (1 - a) * grain[j1, i0] + a * grain[j1, i1]
        )
    dark, bright = (np.asarray(tone, np.float32) for tone in background.tones)
    return dark + mix[..., None].astype(np.float32) * (bright - dark)  # [S, S, 3]


def signed_distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to the outline in radii, positive inside; u, v in radii from the centre."""
    if shape == "circle":
        return 1 - np.hypot(u, v)
    if shape == "square":
        return 0.85 - np.maximum(abs(u), abs(v))
    if shape == "triangle":  # three half planes
        return np.minimum(0.55 - v, np.minimum(0.55 + 0.5 * v - 0.866 * u, 0.55 + 0.5 * v + 0.866 * u))
    if shape == "cross":
        return np.maximum(np.minimum(0.33 - abs(u), 1 - abs(v)), np.minimum(1 - abs(u), 0.33 - abs(v)))
    if shape == "ring":
        return 0.26 - abs(np.hypot(u, v) - 0.74)
    if shape == "star":  # five points: the edge between an outer and an inner corner, by angle
        sector = 2 * np.pi / 5
        angle = abs((np.arctan2(u, -v) + sector / 2) % sector - sector / 2)
        radius = np.hypot(u, v)
        along, across = radius * np.cos(angle), radius * np.sin(angle)
        inner = np.array([0.42 * np.cos(sector / 2), 0.42 * np.sin(sector / 2)])
        edge = inner - np.array([1.0, 0.0])
        normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
        return -((along - 1) * normal[0] + across * normal[1])
    raise ValueError(f"no shape {shape!r}; shapes: {', '.join(SHAPES)}")


def render(
    things: list[Thing], ground: np.ndarray, size: int, shift: tuple[int, int] = (0, 0)
) -> tuple[np.ndarray, np.ndarray]:
    """Draw things over a ground, later ones on top.

    Args:
        ground: of `render_background`; its margin must cover `shift`.
        shift: the camera's offset (x, y) in pixels.

    Returns:
        picture uint8 [S, S, 3] and ids uint8 [S, S]: 0 background, i + 1 where thing i is the visible one
        (more than half opaque there).
    """
    margin = (len(ground) - size) // 2
    picture = ground[margin + shift[1] :, margin + shift[0] :][:size, :size].copy()
    shift = (shift[0] / size, shift[1] / size)  # picture widths
    ids = np.zeros((size, size), np.uint8)
    for number, thing in enumerate(things, 1):
        # only the pixels that the thing can touch
        reach = thing.radius * max(thing.aspect, 1 / thing.aspect) ** 0.5 * 1.05
        x0, x1 = (int(np.clip((thing.x - shift[0] + s * reach) * size + s, 0, size)) for s in (-1, 1))
        y0, y1 = (int(np.clip((thing.y - shift[1] + s * reach) * size + s, 0, size)) for s in (-1, 1))
        if x0 >= x1 or y0 >= y1 or thing.opacity <= 0:
            continue
        dx = ((np.arange(x0, x1) + 0.5) / size + shift[0] - thing.x) / thing.aspect**0.5  # [w]
        dy = (((np.arange(y0, y1) + 0.5) / size + shift[1] - thing.y) * thing.aspect**0.5)[:, None]  # [h, 1]
        cos, sin = np.cos(thing.angle), np.sin(thing.angle)
        u, v = (cos * dx + sin * dy) / thing.radius, (cos * dy - sin * dx) / thing.radius
        alpha = np.clip(signed_distance(thing.shape, u, v) * thing.radius * size + 0.5, 0, 1) * thing.opacity
        colour = np.asarray(COLOURS[thing.colour], np.float32) * thing.light
        patch = picture[y0:y1, x0:x1]
        patch += alpha[..., None].astype(np.float32) * (colour - patch)
        ids[y0:y1, x0:x1][alpha > 0.5] = number
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8), ids
