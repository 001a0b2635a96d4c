"""Pictures of masks tell which frames they show."""

import numpy as np
import pytest
import torch
from PIL import Image

from objadapt.data.davis import write_ids
from objadapt.evaluation.overlay import attention_sheet, overlay, strip
from objadapt.masks.pictures import CELL, SIDE, frame_label, picture_files, write_pictures, write_scored_pictures
from objadapt.masks.video import Video
from objadapt.masks.whole_videos import Frames

HEIGHT, WIDTH = 180, CELL  # as wide as a cell, so that nothing is resized


@pytest.fixture
def frames(tmp_path) -> Frames:
    """Every third of 7 pictures."""
    rng, paths = np.random.default_rng(0), []
    for number in range(7):
        paths.append(tmp_path / f"{number:05d}.png")
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(paths[-1])
    return Frames(Video("v", pictures=tuple(map(str, paths))), stride=3)


def read(path) -> np.ndarray:
    return np.array(Image.open(path))


def test_frames_bear_their_own_numbers_whatever_the_stride(frames, tmp_path):
    ids = np.zeros((3, HEIGHT, WIDTH), np.uint8)
    ids[:, :90] = 1
    (tmp_path / "masks").mkdir()
    for name, one in zip(frames.names, ids, strict=True):
        write_ids(tmp_path / "masks" / f"{name}.png", one)
    attention = torch.rand(3, 2, HEIGHT, WIDTH)
    write_pictures(tmp_path / "out", frames, tmp_path / "masks", attention)
    seen, labels = frames.read([0, 1, 2]), ["frame 0", "frame 3", "frame 6"]
    rows = {"frames": seen, "slots": overlay(seen, ids)}
    strip_file, sheet_file, _ = picture_files(tmp_path / "out", "v")
    assert np.array_equal(read(strip_file), strip(rows, 3, CELL, labels))
    assert not np.array_equal(read(strip_file), strip(rows, 3, CELL))  # their places among those looked at
    expected = [attention_sheet(seen, attention.half().numpy(), 3, CELL, one) for one in (labels, None)]
    assert np.array_equal(read(sheet_file), expected[0]) and not np.array_equal(read(sheet_file), expected[1])

    write_scored_pictures(tmp_path / "scored", frames, attention, sorted((tmp_path / "masks").iterdir()))
    assert np.array_equal(read(picture_files(tmp_path / "scored", "v")[1]), expected[0])
    with Image.open(tmp_path / "scored" / "v.gif") as moving:
        assert moving.n_frames == 3 and moving.width == 3 * SIDE and moving.info["loop"] == 0
        assert moving.info["duration"] == pytest.approx(1000 / float(frames.fps), abs=10)


def test_a_frame_without_a_number_bears_its_name():
    assert frame_label("00010") == "frame 10" and frame_label("left_9") == "left_9"
