"""Pictures of masks: colours that stay and are told apart, crisp outlines, sheets that show what they say,
playable video.
"""

import av
import numpy as np
import pytest
import torch

from objadapt.evaluation.mask_video import write_video
from objadapt.evaluation.overlay import attention_sheet, evenly_spaced, outlines, overlay, palette, strip

# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as those see it who lack a kind of cone
COLOUR_VISION = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def lab(colours: np.ndarray, vision: np.ndarray) -> np.ndarray:
    """uint8 sRGB [n, 3] -> CIE Lab under D65 as seen with that vision, [n, 3]."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    linear = (linear @ vision.T).clip(0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("vision", COLOUR_VISION)
def test_the_first_eight_colours_are_told_apart(vision):
    """At least 10 units of Lab apart (2.3 is just noticeable), from each other and from the background's black."""
    seen = lab(palette(8), COLOUR_VISION[vision])
    distances = np.linalg.norm(seen[:, None] - seen[None, :], axis=2) + 1000 * np.eye(9)
    assert distances.min() > 10


def test_a_slot_keeps_its_colour():
    whole = palette(254)
    assert whole.shape == (255, 3) and whole.dtype == np.uint8
    assert (whole[0] == 0).all()
    assert len(np.unique(whole, axis=0)) == 255
    for number in (0, 1, 8, 9, 40):
        assert (palette(number) == whole[: number + 1]).all()


def video(frames: int = 5, height: int = 30, width: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def test_overlay_tints_inside_outlines_and_leaves_the_rest():
    frames, ids = video(), np.zeros((5, 30, 40), np.uint8)
    ids[:, 5:15, 5:20], ids[:, 5:15, 20:30], ids[:, 20:25, 5:10] = 1, 2, 255
    shown, colours = overlay(frames, ids, alpha=0.25), palette(2)
    for t, y, x in np.ndindex(ids.shape):
        here = ids[t, y, x]
        around = [
            ids[t, v, u] for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)) if 0 <= v < 30 and 0 <= u < 40
        ]
        if here in (0, 255):
            expected = frames[t, y, x].astype(float)
        elif any(other != here for other in around):
            expected = colours[here].astype(float)
        else:
            expected = 0.75 * frames[t, y, x] + 0.25 * colours[here]
        assert np.abs(shown[t, y, x] - expected).max() <= 0.51
    assert shown.dtype == np.uint8


def test_outlines_grow_with_the_picture_and_not_along_its_edge():
    ids = np.zeros((1, 480, 854), np.uint8)
    ids[:, :, 400:] = 1
    assert np.flatnonzero(outlines(ids)[0, 0]).tolist() == [398, 399, 400, 401]
    assert not outlines(np.ones((2, 50, 60), np.uint8)).any()


def test_evenly_spaced():
    cases = {(10, 4): [0, 3, 6, 9], (3, 6): [0, 1, 2], (9, 1): [4], (1, 6): [0], (2, 2): [0, 1]}
    assert {case: evenly_spaced(*case).tolist() for case in cases} == cases


def windows(sheet: np.ndarray, cell: np.ndarray) -> list[tuple[int, int]]:
    """Places (y, x) at which `cell` stands in `sheet`."""
    height, width = cell.shape[:2]
    corners = np.argwhere((sheet == cell[0, 0]).all(axis=2))
    return [(y, x) for y, x in corners.tolist() if np.array_equal(sheet[y : y + height, x : x + width], cell)]


def test_strip_has_the_right_frames_in_rows_of_even_gaps():
    both = video(18, 72, 96)
    frames, truth = both[:9], both[9:]
    sheet = strip({"frames": frames, "ground truth": truth}, count=3, width=96)
    assert sheet.dtype == np.uint8 and sheet.ndim == 3
    places = [[windows(sheet, row[t]) for t in (0, 4, 8)] for row in (frames, truth)]
    assert all(len(found) == 1 for row in places for found in row)
    rows = [row[0][0][0] for row in places]
    columns = [found[0][1] for found in places[0]]
    assert [[found[0] for found in row] for row in places] == [[(y, x) for x in columns] for y in rows]
    assert rows[1] - rows[0] - 72 == columns[1] - columns[0] - 96 == columns[2] - columns[1] - 96 > 0
    right, bottom = sheet.shape[1] - columns[2] - 96, sheet.shape[0] - rows[1] - 72
    assert right == bottom > 0
    assert (sheet[:, -right:] == 255).all() and (sheet[-bottom:] == 255).all()
    # labels: ink at the left of each row and above each column, nowhere cut off by the paper's edge
    for y in rows:
        assert (sheet[y : y + 72, : columns[0]] < 100).any()
    for x in columns:
        assert (sheet[: rows[0], x : x + 96] < 100).any()
    assert (sheet[:, :8] == 255).all() and (sheet[:4] == 255).all()


def test_strip_of_large_frames_has_cells_of_the_asked_width():
    sheet = strip({"a": np.zeros((4, 480, 854, 3), np.uint8)}, count=2, width=200)
    black = (sheet == 0).all(axis=2)
    assert black.any(axis=1).sum() == round(480 * 200 / 854) and black.any(axis=0).sum() == 400


def test_attention_lights_up_where_the_slot_looks():
    """One scale for all slots, their colours at the left; float tensors as well as arrays."""
    frames = np.full((4, 60, 80, 3), 128, np.uint8)
    soft = torch.zeros(4, 3, 60, 80)
    soft[:, 0, :, :40] = 0.8
    soft[:, 1, :, 40:] = 0.4
    sheet = attention_sheet(frames, soft, count=2, width=80)
    assert np.array_equal(sheet, attention_sheet(frames, soft.numpy(), count=2, width=80))
    colours = palette(3)[1:]
    bars = [np.argwhere((sheet == colour).all(axis=2)) for colour in colours]
    levels = []
    for bar in bars:
        (top, _), (bottom, right) = bar.min(axis=0), bar.max(axis=0)
        assert bottom - top + 1 == 60  # as high as its row
        left = right + 1 + int(np.argmax((sheet[top, right + 1 :] != 255).any(axis=1)))
        cell = sheet[top : bottom + 1, left : left + 80].astype(int)
        assert (cell == cell[..., :1]).all()  # grey
        levels.append((cell[30, 10, 0], cell[30, 70, 0]))
    (full, dark), (also_dark, half), (nothing, nowhere) = levels
    assert dark == also_dark == nothing == nowhere < half < full
    assert abs(half - (full + dark) / 2) <= 1


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="do not belong"):
        overlay(video(5), np.zeros((4, 30, 40), np.uint8))
    with pytest.raises(ValueError, match="must be uint8"):
        overlay(video(5) / 255, np.zeros((5, 30, 40), np.uint8))
    with pytest.raises(ValueError, match="one shape"):
        strip({"a": video(5), "b": video(4)})
    with pytest.raises(ValueError, match="must be uint8"):
        strip({"a": video(0)})
    with pytest.raises(ValueError, match="do not belong"):
        attention_sheet(video(5), np.zeros((5, 2, 15, 20), np.float32))


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63), (48, 63)])
def test_video_is_what_browsers_play(tmp_path, height, width):
    """H.264, yuv420p, index before the pictures, colours and frames as they were, an odd side one pixel longer."""
    y, x = np.mgrid[:height, :width]
    frames = np.stack([np.stack([y * 4, x * 3, np.full_like(x, 20 * t)], axis=2) for t in range(10)]).astype(np.uint8)
    path = tmp_path / "masks.mp4"
    write_video(path, (frame for frame in frames), fps=29.97)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == pytest.approx(29.97)
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert decoded.shape == (10, 48, 64, 3)
    assert np.abs(decoded[:, :height, :width].astype(int) - frames).mean() < 4
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert [file.name for file in tmp_path.iterdir()] == ["masks.mp4"]


def test_a_video_that_fails_leaves_nothing_and_keeps_what_was(tmp_path):
    path = tmp_path / "masks.mp4"
    write_video(path, video(3), fps=8)
    before = path.read_bytes()

    def breaks_off():
        yield video(1)[0]
        raise RuntimeError("no more frames")

    for frames, error in (
        ([], ValueError),
        ([video(1)[0], video(1, 20, 20)[0]], ValueError),
        (breaks_off(), RuntimeError),
    ):
        with pytest.raises(error):
            write_video(path, frames, fps=8)
        assert [file.name for file in tmp_path.iterdir()] == ["masks.mp4"] and path.read_bytes() == before
