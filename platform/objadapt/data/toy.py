"""Object Actions: a toy data set of real H.264 files whose classes are what happens to objects over time.

`toy_scenes.py` says what the 16 actions show. The files are SSv2-style JSON, and DAVIS-style folders with instance
masks and, beside them, the exact optical flow.
"""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import write_whole
from .exact_flow import flow_file, scene_flow, write_flow
from .palette import OKABE_ITO
from .shapes import render, render_background
from .toy_scenes import ACTIONS, CLASS_NAMES, TEMPLATES, Scene, draw_scene

SPLITS = {"train": 0, "validation": 1_000_000}  # first clip id of each split


@dataclass(frozen=True)
class Options:
    """Options of a toy data set; the same options give the same files, byte for byte."""

    train: int = 1800
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
    drawn = all((pictures / f"{t:05d}.jpg").exists() and (masks / f"{t:05d}.png").exists() for t in range(length))
    return drawn and flow_file(root, clip_id).exists()


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
            write_flow(flow_file(root, clip_id), scene_flow(scene, ids))
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
    numbers = {name: str(number) for number, name in enumerate(CLASS_NAMES)}
    write_whole(root / "labels" / "labels.json", json.dumps(numbers, indent=1) + "\n")
    if options.davis:
        sets = root / "davis" / "ImageSets" / "2017"
        sets.mkdir(parents=True, exist_ok=True)
        sets.joinpath("val.txt").write_text("".join(f"{SPLITS['validation'] + n}\n" for n in range(options.davis)))
