"""Object Actions: the same options give the same bytes in the real formats, and no single frame tells the class."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from objadapt.config import Data
from objadapt.data import toy, toy_scenes
from objadapt.data.manifest import build_manifest
from objadapt.data.shapes import COLOURS, SHAPES
from objadapt.errors import InputError

SMALL = toy.Options(train=32, validation=16, seed=3, resolution=48, length=8, fps=8, davis=4)


def make(folder: Path, options: toy.Options = SMALL, workers: int = 1) -> dict[str, str]:
    """Make a data set; -> file -> hash of its bytes."""
    done = list(toy.make(folder, options, workers))
    assert done[-1] == (options.train + options.validation,) * 2
    return hashes(folder)


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("toy") / "toy"
    return folder, make(folder)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(made, tmp_path):
    first = made[1]
    assert make(tmp_path / "again", workers=2) == first
    other = make(tmp_path / "other", replace(SMALL, seed=4))
    assert other.keys() == first.keys()
    pictures = [name for name in first if name.endswith((".mp4", ".png", ".jpg"))]
    assert len(pictures) == 48 + 2 * 4 * 8
    # masks may be empty in both
    assert all(other[name] != first[name] for name in pictures if not name.endswith(".png"))


def test_a_set_of_which_files_are_missing_is_completed_to_the_same_bytes(made, tmp_path):
    folder = tmp_path / "toy"
    complete = make(folder)
    assert complete == made[1]
    gone = [
        "videos/0.mp4",
        "videos/1000001.mp4",
        "labels/train.json",
        "davis/JPEGImages/480p/1000000/00003.jpg",
        "davis/Annotations_unsupervised/480p/1000002/00000.png",
        "davis/Annotations_unsupervised/480p/1000003/00007.png",
    ]
    for name in gone:
        (folder / name).unlink()
    kept = (folder / "videos/5.mp4").stat().st_mtime_ns
    assert make(folder) == complete
    assert (folder / "videos/5.mp4").stat().st_mtime_ns == kept  # what is there is not made again


def test_other_things_in_the_folder_are_left_alone(made, tmp_path):
    with pytest.raises(InputError, match="other options"):
        next(toy.make(made[0], replace(SMALL, seed=9), 1))
    with pytest.raises(InputError, match="other options"):
        next(toy.make(made[0], replace(SMALL, length=9), 1))
    assert hashes(made[0]) == made[1]
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not a toy data set"):
        next(toy.make(tmp_path, SMALL, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "field, value",
    [
        ("resolution", 31),
        ("resolution", 97),
        ("length", 1),
        ("train", 15),
        ("validation", 0),
        ("davis", 257),
        ("seed", -1),
        ("fps", 0),
    ],
)
def test_options_out_of_range(field, value):
    with pytest.raises(InputError, match=field if field in ("resolution", "davis") else "toy options"):
        toy.Options(**{field: value})


def test_the_files_are_real_h264(made):
    videos = sorted((made[0] / "videos").iterdir())
    assert len(videos) == SMALL.train + SMALL.validation
    for path in videos:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
            assert "mp4" in container.format.name and float(stream.average_rate) == SMALL.fps
            shapes = {frame.to_ndarray(format="rgb24").shape for frame in container.decode(stream)}
            assert shapes == {(SMALL.resolution, SMALL.resolution, 3)} and stream.frames == SMALL.length


def test_the_video_shows_what_was_rendered(made):
    scene = toy.clip_scene(SMALL, "train", 7)
    frames, _ = toy.render_scene(scene, SMALL.resolution)
    with av.open(str(made[0] / "videos/7.mp4")) as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    # colour is coded at half size
    shrunk = [video.reshape(8, 12, 4, 12, 4, 3).mean((2, 4)) for video in (frames, decoded)]
    assert np.abs(shrunk[0] - shrunk[1]).mean() < 6


def test_sixteen_balanced_classes_in_eight_pairs(made):
    assert len(toy_scenes.PAIRS) == 8 and len(set(toy.ACTIONS)) == 16
    for split, clips in (("train", 32), ("validation", 16)):
        rows = json.loads((made[0] / f"labels/{split}.json").read_text())
        assert set(Counter(row["template"] for row in rows).values()) == {clips // 16}
    big = toy.Options(train=320)
    order = [toy.ACTIONS.index(toy.clip_scene(replace(big, length=2), "train", number).action) for number in range(320)]
    assert set(Counter(order).values()) == {20} and order != sorted(order)


def test_the_projects_own_reader_takes_it_for_something_something(made):
    manifest = build_manifest(Data(format="something_something", root=str(made[0])), seed=0)
    assert manifest.classes["label"] == [
        toy_scenes.TEMPLATES[action].replace("[", "").replace("]", "") for action in toy.ACTIONS
    ]
    assert (
        manifest.coverage == {"train": {"found": 32, "listed": 32}, "val": {"found": 16, "listed": 16}}
        and not manifest.flip
    )
    for split, name in (("train", "train"), ("val", "validation")):
        rows = manifest.table[manifest.table["split"] == split]
        for clip_id, label in zip(rows["clip_id"], rows["label"], strict=True):
            assert toy.clip_scene(SMALL, name, int(clip_id) - toy.SPLITS[name]).action == toy.ACTIONS[label]


def test_annotations_have_the_form_of_something_something(made):
    for split in toy.SPLITS:
        for row in json.loads((made[0] / f"labels/{split}.json").read_text()):
            assert list(row) == ["id", "label", "template", "placeholders"] and "[" not in row["label"]
            filled = row["template"]
            for actor in row["placeholders"]:
                start = filled.lower().index("[something]")
                filled = filled[:start] + actor + filled[start + len("[something]") :]
            assert filled == row["label"]
            assert all(set(actor.split()) <= {*COLOURS, *SHAPES} for actor in row["placeholders"])


def test_davis_masks_lie_on_the_objects_colours(made):
    root = made[0] / "davis"
    sequences = root.joinpath("ImageSets/2017/val.txt").read_text().split()
    assert sequences == [str(1_000_000 + number) for number in range(SMALL.davis)]
    checked = 0
    for number, sequence in enumerate(sequences):
        scene = toy.clip_scene(SMALL, "validation", number)
        frames, _ = toy.render_scene(scene, SMALL.resolution)
        for t in range(SMALL.length):
            mask = Image.open(root / f"Annotations_unsupervised/480p/{sequence}/{t:05d}.png")
            picture = Image.open(root / f"JPEGImages/480p/{sequence}/{t:05d}.jpg")
            assert mask.mode == "P" and mask.size == picture.size == (SMALL.resolution, SMALL.resolution)
            ids = np.array(mask)
            assert set(np.unique(ids)) <= set(range(len(scene.things[t]) + 1))
            for label, thing in enumerate(scene.things[t], 1):
                inside = frames[t][erode(ids == label)]
                colour = np.array(COLOURS[thing.colour]) * thing.light
                if len(inside) and thing.opacity > 0.99:  # away from the anti-aliased edge
                    np.testing.assert_allclose(inside, np.broadcast_to(colour, inside.shape), atol=1)
                    seen = np.array(picture.convert("RGB"), float)[erode(ids == label)].mean(0)
                    assert np.abs(seen - colour).max() < 60  # JPEG, small objects
                    checked += 1
    assert checked > 30
    assert not list(made[0].rglob("*.part"))


def erode(mask: np.ndarray) -> np.ndarray:
    """Pixels whose eight neighbours are of the mask, too."""
    for axis in (0, 1):
        mask = mask & np.roll(mask, -1, axis) & np.roll(mask, 1, axis)
    return mask


def test_actors_are_named_by_their_looks(made):
    for row in json.loads((made[0] / "labels/validation.json").read_text())[:8]:
        scene = toy.clip_scene(SMALL, "validation", int(row["id"]) - 1_000_000)
        assert row["placeholders"] == [f"{one.colour} {one.shape}" for one in scene.things[-1][-scene.actors :]]
        assert 2 <= len(scene.things[0]) <= 4
