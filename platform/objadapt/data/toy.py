"""Object Actions: a toy data set of real H.264 files whose classes are what happens to objects over time.

16 actions form 8 time-reversed pairs: the second of a pair is the first played backwards, drawn from the same
distribution. So a frame at a random moment does not tell which of the two it is. In two of the pairs two objects do
opposite things; the class is which of them, the warm or the cool one, does which. A clip shows 2-4 large shapes,
each of another of four colours, a jittering camera, and distractors that rest, swing, pulse, or go and turn back. Its
ground is one of five that all clips share, so only the objects tell one clip from another. The files are SSv2-style
JSON plus DAVIS-style folders with instance masks.
"""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import write_whole
from .palette import OKABE_ITO
from .shapes import GROUNDS, SHAPES, Background, Thing, render, render_background

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
SPLITS = {"train": 0, "validation": 1_000_000}  # first clip id of each split


@dataclass(frozen=True)
class Options:
    """Options of a toy data set; the same options give the same files, byte for byte."""

    train: int = 2400
    validation: int = 256
    seed: int = 0
    resolution: int = 96  # pixels a side, even
    length: int = 24  # frames a clip
    fps: int = 12
    davis: int = 32  # validation clips also written as DAVIS sequences with masks

    def __post_init__(self):
        if self.resolution < 32 or self.resolution % 2:
            raise InputError(f"resolution: {self.resolution} must be an even number of at least 32 pixels")
        if self.length < 2 or self.fps < 1 or min(self.train, self.validation) < len(ACTIONS) or self.seed < 0:
            raise InputError(
                f"toy options: length >= 2, fps >= 1, seed >= 0 and at least {len(ACTIONS)} clips a split are needed"
            )
        if not 0 <= self.davis <= self.validation:
            raise InputError(f"davis: {self.davis} must lie between 0 and the {self.validation} validation clips")


@dataclass(frozen=True)
class Scene:
    """One clip before rendering: `things[t]` are the objects at frame t, distractors first, actors last (on top)."""

    action: str
    things: list[list[Thing]]
    actors: int
    background: Background
    shifts: np.ndarray  # [length, 2], camera offset in picture widths


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


def clip_scene(options: Options, split: str, number: int) -> Scene:
    """Scene of one clip, a function of (options, split, number) alone; actions are balanced within a split."""
    rng = np.random.default_rng([options.seed, SPLITS[split], number])
    shuffled = np.random.default_rng([options.seed, SPLITS[split], 2**31]).permutation(getattr(options, split))
    return draw_scene(ACTIONS[shuffled[number] % len(ACTIONS)], options.length, rng)


def render_scene(scene: Scene, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """-> frames uint8 [T, S, S, 3] and instance ids uint8 [T, S, S] (0 = background)."""
    shifts = np.rint(scene.shifts * resolution).astype(int)  # whole pixels, so that the ground is rendered once
    ground = render_background(scene.background, resolution, margin=int(abs(shifts).max()))
    drawn = [
        render(things, ground, resolution, tuple(shift)) for things, shift in zip(scene.things, shifts, strict=False)
    ]
    return np.stack([frame for frame, _ in drawn]), np.stack([ids for _, ids in drawn])


def write_h264(path: Path, frames: np.ndarray, fps: int) -> None:
    """Encode uint8 [T, H, W, 3] as H.264 MP4; the same frames give the same bytes on every machine.

    Hence one thread, and x264 in plain C: with AVX-512 it was seen to encode the same frames in different ways.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"crf": "16", "preset": "veryfast", "threads": "1", "x264-params": "asm=0"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    write_whole(path, buffer.getvalue())


def _write_sequence(root: Path, clip_id: str, frames: np.ndarray, ids: np.ndarray) -> None:
    """Write frames uint8 [T, S, S, 3] and ids uint8 [T, S, S] as a DAVIS sequence: JPEGs and indexed PNGs."""
    for folder, suffix, pictures in zip(_sequence_folders(root, clip_id), (".jpg", ".png"), (frames, ids), strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        for t, picture in enumerate(pictures):
            image, buffer = Image.fromarray(picture), io.BytesIO()
            if suffix == ".png":
                image.putpalette(_palette())  # grey uint8 -> indexed
            image.save(buffer, format=Image.registered_extensions()[suffix], quality=95)
            write_whole(folder / f"{t:05d}{suffix}", buffer.getvalue())


def _sequence_folders(root: Path, clip_id: str) -> tuple[Path, Path]:
    return tuple(root / "davis" / kind / "480p" / clip_id for kind in ("JPEGImages", "Annotations_unsupervised"))


def _sequence_is_whole(root: Path, clip_id: str, length: int) -> bool:
    pictures, masks = _sequence_folders(root, clip_id)
    return all((pictures / f"{t:05d}.jpg").exists() and (masks / f"{t:05d}.png").exists() for t in range(length))


def _palette() -> list[int]:
    return [value for colour in ((0, 0, 0), *OKABE_ITO) for value in colour]


def write_clip(root: Path, options: Options, split: str, number: int) -> dict:
    """Render and write one clip (and its DAVIS sequence, where it is one); -> its SSv2 annotation row."""
    scene = clip_scene(options, split, number)
    clip_id = str(SPLITS[split] + number)
    video = root / "videos" / f"{clip_id}.mp4"
    lacks_sequence = (
        split == "validation" and number < options.davis and not _sequence_is_whole(root, clip_id, options.length)
    )
    if not video.exists() or lacks_sequence:
        frames, ids = render_scene(scene, options.resolution)
        write_h264(video, frames, options.fps)
        if lacks_sequence:
            _write_sequence(root, clip_id, frames, ids)
    actors = [f"{actor.colour} {actor.shape}" for actor in scene.things[0][-scene.actors :]]
    template = TEMPLATES[scene.action]
    label = template
    for actor in actors:
        label = (
            label.replace("[something]", actor, 1)
            if "[Something]" not in label
            else label.replace("[Something]", actor, 1)
        )
    return {"id": clip_id, "label": label, "template": template, "placeholders": actors}


def _read_stamp(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); delete the folder, and make it again") from None


def make(root: Path, options: Options, workers: int) -> Iterator[tuple[int, int]]:
    """Write the data set; yields (clips done, clips in all). A folder half written is completed.

    Raises:
        InputError: `root` holds something else, or a toy data set made with other options; `workers` is below 1.
    """
    if workers < 1:
        raise InputError(f"--workers: {workers}; give at least 1")
    stamp = root / "toy.json"
    if stamp.exists() and _read_stamp(stamp) != asdict(options):
        raise InputError(
            f"{root}: holds a toy data set made with other options ({stamp.name}); choose another folder or delete it"
        )
    if not stamp.exists() and root.exists() and any(root.iterdir()):
        raise InputError(f"{root}: not empty and not a toy data set; choose another folder")
    for folder in ("videos", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    write_whole(stamp, json.dumps(asdict(options), indent=2) + "\n")
    work = [(root, options, split, number) for split in SPLITS for number in range(getattr(options, split))]
    rows = {split: [] for split in SPLITS}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, row in enumerate(pool.map(write_clip, *zip(*work, strict=False), chunksize=8), 1):
            rows[work[done - 1][2]].append(row)
            yield done, len(work)
    for split, annotations in rows.items():
        write_whole(root / "labels" / f"{split}.json", json.dumps(annotations, indent=1) + "\n")
    templates = [TEMPLATES[action].replace("[", "").replace("]", "") for action in ACTIONS]
    write_whole(
        root / "labels" / "labels.json", json.dumps({t: str(i) for i, t in enumerate(templates)}, indent=1) + "\n"
    )
    if options.davis:
        sets = root / "davis" / "ImageSets" / "2017"
        sets.mkdir(parents=True, exist_ok=True)
        sets.joinpath("val.txt").write_text("".join(f"{SPLITS['validation'] + n}\n" for n in range(options.davis)))
