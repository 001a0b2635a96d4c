"""The scenes of Object Actions: what acts, what distracts, and where, at each moment of a clip (toy.py writes them).

16 actions form 8 time-reversed pairs: the second of a pair is the first played backwards, drawn from the same
distribution. So a frame at a random moment does not tell which of the two it is. In two of the pairs two objects do
opposite things; the class is which of them, the warm or the cool one, does which. A clip shows 2-4 large shapes,
each of another of four colours, a jittering camera, and distractors that rest, swing, pulse, or go and turn back. Its
ground is one of five that all clips share, so only the objects tell one clip from another.
"""

from dataclasses import dataclass, replace

import numpy as np

from .shapes import GROUNDS, SHAPES, Background, Thing

# (action, its SSv2-style template), in time-reversed pairs
PAIRS = (
    (("moves left", "Moving [something] to the left"), ("moves right", "Moving [something] to the right")),
    (("moves up", "Moving [something] up"), ("moves down", "Moving [something] down")),
    (("grows", "[Something] growing"), ("shrinks", "[Something] shrinking")),
    (("appears", "[Something] appearing"), ("vanishes", "[Something] vanishing")),
    (("approaches", "[Something] and [something] approaching"), ("leaves", "[Something] and [something] parting")),
    (
        ("circles clockwise", "[Something] circling clockwise"),
        ("circles anticlockwise", "[Something] circling anticlockwise"),
    ),
    (
        ("passes left", "Moving warm [something] left past cool [something]"),
        ("passes right", "Moving warm [something] right past cool [something]"),
    ),
    (
        ("outgrows", "Warm [something] growing as cool [something] shrinks"),
        ("gives way", "Warm [something] shrinking as cool [something] grows"),
    ),
)
WARM, COOL = ("red", "yellow"), ("green", "blue")
PALETTE = WARM + COOL
ACTIONS = tuple(action for pair in PAIRS for action, _ in pair)
TEMPLATES = dict(action for pair in PAIRS for action in pair)
CLASS_NAMES = tuple(TEMPLATES[action].replace("[", "").replace("]", "") for action in ACTIONS)


@dataclass(frozen=True)
class Scene:
    """One clip before rendering: `things[t]` are the objects at frame t, distractors first, actors last (on top)."""

    action: str
    things: list[list[Thing]]
    actors: int
    background: Background
    shifts: np.ndarray  # [length, 2], camera offset in picture widths


def is_toy(classes: dict[str, list[str]]) -> bool:
    """Whether class names, by head, are those of Object Actions, whose numbers are called toy numbers."""
    return any(sorted(names) == sorted(CLASS_NAMES) for names in classes.values())


def toy_mark(classes: dict[str, list[str]]) -> str:
    """What stands behind a number of these classes in a line of text: nothing, or that it is a toy number."""
    return " (toy data)" if is_toy(classes) else ""


def draw_scene(action: str, length: int, rng: np.random.Generator) -> Scene:
    """Draw a clip of `action`; for the second action of a pair, draw the first and turn time around."""
    forward = next(pair[0][0] for pair in PAIRS if action in (pair[0][0], pair[1][0]))
    start, stop = rng.uniform(0, 0.2), 1 - rng.uniform(0, 0.2)
    ramp = np.clip((np.linspace(0, 1, length) - start) / (stop - start), 0, 1)
    progress = ramp * ramp * (3 - 2 * ramp)  # rest, go, rest
    paths = _actor_paths(forward, progress, rng)
    actors = len(paths)
    colours = [colour for colour in PALETTE if all(path[0].colour != colour for path in paths)]
    rng.shuffle(colours)
    for _ in range(int(rng.integers(2, 5)) - actors):  # 2-4 objects whatever the action
        paths.insert(0, _distractor_path(paths, colours.pop(), length, rng))
    jitter = rng.normal(0, 0.012, (length + 2, 2))
    shifts = (jitter[:-2] + 2 * jitter[1:-1] + jitter[2:]) / 2
    things = [list(moment) for moment in zip(*paths, strict=False)]
    if action != forward:
        things, shifts = things[::-1], shifts[::-1]
    return Scene(action, things, actors, GROUNDS[rng.integers(len(GROUNDS))], shifts)


def _random_things(rng, *palettes: tuple[str, ...]) -> list[Thing]:
    """One object a palette, each of another colour."""
    things = []
    for palette in palettes:
        free = [colour for colour in palette if all(thing.colour != colour for thing in things)]
        thing = Thing(
            shape=SHAPES[rng.integers(len(SHAPES))],
            colour=free[rng.integers(len(free))],
            x=float(rng.uniform(0.22, 0.78)),
            y=float(rng.uniform(0.22, 0.78)),
            radius=float(rng.uniform(0.15, 0.2)),
            angle=float(rng.uniform(-0.5, 0.5)),
        )
        things.append(thing)
    return things


def _actor_paths(forward: str, progress: np.ndarray, rng) -> list[list[Thing]]:
    """The acting object(s) over time, for the first action of a pair."""
    match forward:
        case "moves left" | "moves up":
            (thing,) = _random_things(rng, PALETTE)
            axis, distance = ("x" if forward == "moves left" else "y"), rng.uniform(0.5, 0.65)
            start = rng.uniform(0.17 + distance, 0.83)
            return [[replace(thing, **{axis: start - distance * p}) for p in progress]]
        case "grows":
            (thing,) = _random_things(rng, PALETTE)
            small, factor = rng.uniform(0.09, 0.12), rng.uniform(1.9, 2.3)
            return [[replace(thing, radius=small * factor**p) for p in progress]]
        case "appears":
            (thing,) = _random_things(rng, PALETTE)
            return [[replace(thing, opacity=p) for p in progress]]
        case "circles clockwise":  # y points down, so a rising angle turns clockwise
            (thing,) = _random_things(rng, PALETTE)
            x, y = rng.uniform(0.42, 0.58, 2)
            orbit, phase, turn = rng.uniform(0.22, 0.28), rng.uniform(0, 2 * np.pi), rng.uniform(1.2, 1.7) * np.pi
            angles = phase + turn * progress
            return [[replace(thing, x=x + orbit * np.cos(a), y=y + orbit * np.sin(a)) for a in angles]]
        case "approaches":  # both move, until they nearly touch
            pair = _random_things(rng, PALETTE, PALETTE)
            centre, direction = rng.uniform(0.46, 0.54, 2), rng.uniform(0, 2 * np.pi)
            near, far = (pair[0].radius + pair[1].radius) / 2 + 0.01, rng.uniform(0.34, 0.4)
            return [
                [
                    replace(thing, x=centre[0] + gap * np.cos(direction), y=centre[1] + gap * np.sin(direction))
                    for gap in side * (far + (near - far) * progress)
                ]
                for side, thing in zip((-1, 1), pair, strict=True)
            ]
        case "passes left":  # the warm one goes left above or below the cool one, which goes right
            warm, cool = _random_things(rng, WARM, COOL)
            middle, apart, way = rng.uniform(0.46, 0.54), 0.2 * rng.choice((-1, 1)), rng.uniform(0.5, 0.6)
            return [
                [replace(thing, x=middle + side * way * (0.5 - p), y=0.5 + side * apart) for p in progress]
                for side, thing in ((1, warm), (-1, cool))
            ]
    # outgrows: side by side, the warm one grows while the cool one shrinks
    warm, cool = _random_things(rng, WARM, COOL)
    direction, small, factor = rng.uniform(0, 2 * np.pi), rng.uniform(0.09, 0.11), rng.uniform(1.9, 2.2)
    return [
        [
            replace(
                thing,
                x=0.5 + side * 0.22 * np.cos(direction),
                y=0.5 + side * 0.22 * np.sin(direction),
                radius=small * factor ** (p if side > 0 else 1 - p),
            )
            for p in progress
        ]
        for side, thing in ((1, warm), (-1, cool))
    ]


def _distractor_path(paths: list[list[Thing]], colour: str, length: int, rng) -> list[Thing]:
    """An object that rests, swings, pulses, or goes and turns back: each looks the same backwards."""
    (thing,) = _random_things(rng, (colour,))
    thing = replace(thing, radius=float(rng.uniform(0.12, 0.16)))
    for _ in range(30):  # keep off the others' ways where there is room
        x, y = rng.uniform(0.14, 0.86, 2)
        if all(np.hypot(x - o.x, y - o.y) > thing.radius + o.radius + 0.02 for path in paths for o in path):
            break
    moments = np.linspace(0, 1, length)
    wave = np.sin(2 * np.pi * (moments + rng.uniform(0, 1)))
    direction, offsets, growth = rng.uniform(0, 2 * np.pi), np.zeros(length), np.zeros(length)
    match rng.integers(4):
        case 0:
            offsets = rng.uniform(0.05, 0.1) * wave
        case 1:
            growth = rng.uniform(0.2, 0.4) * wave
        case 2:  # seen backwards, it goes the same way out and back
            offsets = rng.uniform(0.12, 0.25) * np.sin(np.pi * moments)
    return [
        replace(thing, x=x + o * np.cos(direction), y=y + o * np.sin(direction), radius=thing.radius * np.exp(g))
        for o, g in zip(offsets, growth, strict=True)
    ]
