"""Spatial transforms: the same for every frame, any aspect ratio, and equal to torchvision's own test preprocessing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objadapt.config import Transform
from objadapt.data.transforms import normalise, test_transform, train_transform

# isort: split
from torchvision.transforms import InterpolationMode, v2  # behind torchvision_compat


def noise(height: int, width: int, frames: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([8, 16, 31]), st.integers(0, 99), st.booleans())
def test_any_picture_size_gives_square_crops(height, width, size, seed, augment):
    frames, rng = noise(height, width), np.random.default_rng(seed)
    trained = train_transform(frames, size, Transform(randaugment=augment), True, rng)
    tested = [test_transform(frames, size, crop, 3) for crop in range(3)]
    for result in [trained, *tested, test_transform(frames, size)]:
        assert result.shape == (2, size, size, 3) and result.dtype == np.uint8


@pytest.mark.parametrize("shape", [(64, 1280), (1280, 64), (16, 16), (240, 427)])
def test_real_shapes(shape):
    assert test_transform(noise(*shape), 64).shape == (2, 64, 64, 3)


def test_centre_crop_equals_torchvisions():
    reference = v2.Compose([v2.Resize(48, InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(48)])
    for height, width in ((97, 61), (60, 100), (48, 48), (20, 50)):
        frames = noise(height, width)
        expected = reference(torch.from_numpy(frames).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
        assert np.abs(expected.astype(int) - test_transform(frames, 48)).max() <= 1


def test_three_crops_lie_along_the_long_side():
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, None, :, None], (1, 50, 200, 3))
    left, centre, right = (test_transform(ramp, 50, crop, 3)[0, 25, :, 0].astype(int) for crop in range(3))
    assert abs(left[0] - 0) <= 1 and abs(right[-1] - 199) <= 1 and abs(centre[25] - 100) <= 1
    upright = np.ascontiguousarray(ramp.transpose(0, 2, 1, 3))
    assert (test_transform(upright, 50, 2, 3) == test_transform(ramp, 50, 2, 3).transpose(0, 2, 1, 3)).all()
    assert (test_transform(ramp, 50) == test_transform(ramp, 50, 1, 3)).all()


@pytest.mark.parametrize(("crop", "num_crops"), [(1, 1), (3, 3), (-1, 3), (0, 2)])
def test_unknown_crops_are_refused(crop, num_crops):
    with pytest.raises(ValueError):
        test_transform(noise(20, 20), 8, crop, num_crops)


@pytest.mark.parametrize("augment", [False, True])
def test_every_frame_gets_the_same_transform_and_rng_decides_alone(augment):
    still = np.repeat(noise(60, 80, frames=1), 5, axis=0)
    transform = Transform(randaugment=augment, randaugment_magnitude=9)
    results = []
    for seed in range(8):
        state = torch.get_rng_state()
        result = train_transform(still, 32, transform, True, np.random.default_rng(seed))
        assert (result == result[:1]).all()
        assert torch.equal(state, torch.get_rng_state())  # the caller's random numbers are left alone
        torch.manual_seed(seed)
        assert (result == train_transform(still, 32, transform, True, np.random.default_rng(seed))).all()
        results.append(result)
    assert len({result.tobytes() for result in results}) == 8


def test_random_erasing_makes_noise_of_one_box_in_all_frames_and_is_off_by_default():
    still, boxes, erased = np.full((3, 64, 64, 3), 7, np.uint8), [], Transform(random_erasing=0.25)
    for seed in range(400):
        plain = train_transform(still, 32, Transform(), False, np.random.default_rng(seed))
        found = train_transform(still, 32, erased, False, np.random.default_rng(seed))
        assert (plain == 7).all()
        changed = (found != 7).any(axis=(0, 3))  # [S, S]
        if changed.any():
            rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
            box = found[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert (box != 7).any(axis=3).all() and changed.sum() == box.shape[1] * box.shape[2]
            assert (box[0] != box[1]).any(), "noise moves, the box does not"
            boxes.append(box.shape[1] * box.shape[2] / 32**2)
    assert 0.17 < len(boxes) / 400 < 0.33 and min(boxes) > 0.01 and max(boxes) < 0.36
    cut = train_transform(noise(60, 80), 32, Transform(random_erasing=1.0), True, np.random.default_rng(1))
    whole = train_transform(noise(60, 80), 32, Transform(), True, np.random.default_rng(1))
    assert 0.5 < (cut == whole).mean() < 1, "the crop and the flip are those without it"


def test_flip_happens_half_of_the_time_and_only_where_allowed():
    """min_scale = 1 on a square leaves one fitting box: the whole picture, when the aspect ratio is close to 1."""
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[None, None, :, None], (1, 64, 64, 3))

    def flipped(allowed):
        rng = np.random.default_rng(0)
        rows = [
            train_transform(ramp, 16, Transform(min_scale=1.0), allowed, rng)[0, 8, :, 0].astype(int)
            for _ in range(200)
        ]
        return sum(row[0] > row[-1] for row in rows)

    assert flipped(False) == 0
    assert 70 < flipped(True) < 130


def test_random_crops_respect_the_least_area():
    """A picture that holds its own coordinates tells how much of it each crop shows."""
    grid = np.zeros((1, 200, 200, 3), dtype=np.uint8)
    grid[..., 0], grid[..., 1] = np.arange(200)[None, :, None], np.arange(200)[None, None, :]
    areas = []
    for seed in range(100):
        crop = train_transform(grid, 100, Transform(min_scale=0.5), False, np.random.default_rng(seed)).astype(int)[0]
        areas.append((np.ptp(crop[..., 0]) + 1) * (np.ptp(crop[..., 1]) + 1) / 200**2)
    assert min(areas) > 0.46 and max(areas) > 0.85 and max(areas) <= 1


def test_normalise_equals_plain_loops():
    frames, mean, std = noise(4, 4), (0.48, 0.45, 0.40), (0.26, 0.25, 0.27)
    got = normalise(torch.from_numpy(frames), mean, std)
    assert got.shape == (2, 3, 4, 4) and got.dtype == torch.float32
    for t, c, y, x in np.ndindex(2, 3, 4, 4):
        assert abs(got[t, c, y, x].item() - (frames[t, y, x, c] / 255 - mean[c]) / std[c]) < 1e-5
