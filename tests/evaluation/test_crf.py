"""Dense CRF: agrees with brute force over all pairs of pixels, and does what it is for."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from objadapt.evaluation.crf import Settings, appearance_kernel, mean_field, refine, smoothness_kernel
from objadapt.evaluation.permutohedral import Permutohedral

WIDE = Settings(smoothness=3, smoothness_px=3, appearance=10, appearance_px=80, appearance_colour=13, iterations=5)


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Two colours, their border a slope, with noise: uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    left = (x < width / 3 + y / 4)[..., None]
    noisy = np.where(left, (180, 120, 60), (70, 110, 160)) + rng.normal(0, 4, (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def random_masks(number: int, height: int, width: int, seed: int) -> torch.Tensor:
    """float32 [K, H, W], sums to 1."""
    generator = torch.Generator().manual_seed(seed)
    return (1.5 * torch.randn(number, height, width, generator=generator)).softmax(dim=0)


def pair_weights(frame: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """The two kernels of every pair of pixels, by loops: float64 [N, N] each."""
    height, width = frame.shape[:2]
    places = [(y, x) for y in range(height) for x in range(width)]
    near, alike = np.zeros((len(places),) * 2), np.zeros((len(places),) * 2)
    for i, (y, x) in enumerate(places):
        for j, (v, u) in enumerate(places):
            distance = (y - v) ** 2 + (x - u) ** 2
            colour = sum((float(a) - float(b)) ** 2 for a, b in zip(frame[y, x], frame[v, u], strict=True))
            near[i, j] = math.exp(-distance / (2 * settings.smoothness_px**2))
            alike[i, j] = math.exp(
                -distance / (2 * settings.appearance_px**2) - colour / (2 * settings.appearance_colour**2)
            )
    return near, alike


def brute_force(frame: np.ndarray, soft: torch.Tensor, settings: Settings) -> np.ndarray:
    """Mean-field inference pixel by pixel and mask by mask, with the Potts penalty written out: float64 [K, H, W]."""
    near, alike = (k / np.sqrt(np.outer(k.sum(axis=1), k.sum(axis=1))) for k in pair_weights(frame, settings))
    weights = settings.smoothness * near + settings.appearance * alike
    unary = -np.log(soft.double().numpy().reshape(len(soft), -1))  # [K, N], energies
    q = np.exp(-unary) / np.exp(-unary).sum(axis=0)
    for _ in range(settings.iterations):
        after = np.empty_like(q)
        for i in range(q.shape[1]):
            for mask in range(len(q)):
                pays = sum(float(weights[i] @ q[other]) for other in range(len(q)) if other != mask)
                after[mask, i] = math.exp(-unary[mask, i] - pays)
            after[:, i] /= after[:, i].sum()
        q = after
    return q.reshape(soft.shape)


@pytest.mark.parametrize("settings", [WIDE, Settings()], ids=["wide", "default"])
def test_mean_field_is_brute_force_with_exact_kernels(settings):
    """With the appearance kernel of all pairs in the lattice's place, all the rest is exact."""
    frame, soft = picture(8, 9, 0), random_masks(3, 8, 9, 1).double()
    alike = torch.from_numpy(pair_weights(frame, settings)[1])
    kernels = (
        smoothness_kernel(torch.from_numpy(frame).double(), settings),
        lambda q: (q.flatten(1) @ alike).view_as(q),
    )
    found = mean_field(soft, kernels, (settings.smoothness, settings.appearance), settings.iterations)
    expected = brute_force(frame, soft, settings)
    assert np.abs(found.numpy() - expected).max() < 2e-5
    assert np.abs(soft.numpy() - expected).max() > 0.1  # it had something to do


@pytest.mark.parametrize("seed", range(3))
def test_refine_is_near_brute_force(seed):
    """The lattice is an approximation: near for every pixel, and never another mask where one mask is clearly ahead."""
    frame, soft = picture(12, 14, seed), random_masks(3, 12, 14, seed + 10)
    found, expected = refine(frame[None], soft[None], WIDE)[0].numpy(), brute_force(frame, soft, WIDE)
    assert np.abs(found - expected).mean() < 0.01
    first, second = np.sort(expected, axis=0)[::-1][:2]
    clear = first - second > 0.2
    assert clear.mean() > 0.9
    assert (found.argmax(axis=0) == expected.argmax(axis=0))[clear].all()
    assert (soft.numpy().argmax(axis=0) != expected.argmax(axis=0)).mean() > 0.1


def test_smoothness_kernel_is_the_gaussian_of_all_pairs():
    pixels = torch.zeros(7, 40, 3, dtype=torch.float64)
    q = torch.rand(2, 7, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(40.0), indexing="ij")
    at = torch.stack([y, x], dim=2).flatten(0, 1).double()
    pairs = torch.exp(-(torch.cdist(at, at) ** 2) / (2 * 3.0**2))
    expected = (q.flatten(1) @ pairs).view_as(q)
    assert torch.allclose(smoothness_kernel(pixels, WIDE)(q), expected, rtol=1e-4)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_lattice_is_near_the_gaussian_of_all_pairs(dimensions):
    """Weighted means over a dense cloud of points; a wrong scale of the lattice by a third would already fail."""
    generator = torch.Generator().manual_seed(dimensions)
    points = torch.rand(1500, dimensions, generator=generator) * 3
    values = torch.sin(2 * points[:, :1]) + torch.rand(1500, 1, generator=generator)  # [N, 1]
    both = torch.cat([values, torch.ones_like(values)], dim=1)
    found = Permutohedral(points).filter(both)

    def mean(sigma: float) -> torch.Tensor:
        weighted = torch.exp(-(torch.cdist(points, points) ** 2) / (2 * sigma**2)) @ both
        return weighted[:, 0] / weighted[:, 1]

    lattice = found[:, 0] / found[:, 1]
    errors = {sigma: float((lattice - mean(sigma)).square().mean().sqrt()) for sigma in (0.67, 0.8, 1.0, 1.25, 1.5)}
    assert errors[1.0] < 0.1 * float(values.std())
    assert min(errors, key=errors.get) == 1.0, errors


def test_lattice_refuses_points_too_far_apart():
    with pytest.raises(ValueError, match="too many standard deviations"):
        Permutohedral(torch.rand(10, 5) * 1e5)


def test_sums_to_one_and_is_finite_for_any_masks():
    """Hard masks of 0 and 1, a mask of nothing at all, one mask alone, and frames of one pixel."""
    for number, height, width in ((4, 9, 11), (1, 5, 6), (3, 1, 1), (2, 1, 20)):
        soft = torch.zeros(2, number, height, width)
        soft[:, 0] = 1
        found = refine(np.stack([picture(height, width, seed) for seed in range(2)]), soft)
        assert found.shape == soft.shape and found.dtype == torch.float32
        assert torch.allclose(found.sum(dim=1), torch.ones(2, height, width), atol=1e-5)


def test_permuted_masks_give_permuted_masks():
    frames, soft = picture(20, 30, 0)[None], random_masks(5, 20, 30, 0)[None]
    order = [3, 0, 4, 1, 2]
    assert torch.allclose(refine(frames, soft)[:, order], refine(frames, soft[:, order]), atol=1e-5)


def test_frames_are_refined_on_their_own():
    frames = np.stack([picture(16, 20, seed) for seed in range(3)])
    soft = torch.stack([random_masks(3, 16, 20, seed) for seed in range(3)])
    alone = torch.cat([refine(frames[[t]], soft[[t]]) for t in (2, 0, 1)])
    assert torch.equal(refine(frames, soft)[[2, 0, 1]], alone)


def test_nothing_happens_without_links():
    frames, soft = picture(10, 12, 0)[None], random_masks(4, 10, 12, 0)[None]
    assert torch.allclose(refine(frames, soft, Settings(smoothness=0, appearance=0)), soft, atol=1e-5)
    assert torch.allclose(refine(frames, soft, Settings(iterations=0)), soft, atol=1e-5)


def test_specks_vanish_where_the_picture_is_plain():
    frames = np.full((1, 40, 50, 3), 128, np.uint8)
    soft = torch.full((1, 2, 40, 50), 0.3)
    soft[:, 0] = 0.7
    speck = torch.rand(40, 50, generator=torch.Generator().manual_seed(0)) < 0.1
    soft[:, :, speck] = soft[:, :, speck].flip(1)
    assert (soft.argmax(dim=1) == 1).any()
    assert (refine(frames, soft).argmax(dim=1) == 0).all()


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


def test_a_blurred_border_moves_to_the_edge_of_the_picture():
    """A disk that is seen at 1/8 of its resolution, as a slot's attention is, beside what shows at full resolution."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :128]
    disk = (y - 50) ** 2 + (x - 60) ** 2 < 30**2
    frame = np.clip(np.where(disk[..., None], (200, 90, 60), (60, 90, 130)) + rng.normal(0, 3, (96, 128, 3)), 0, 255)
    seen = adaptive_avg_pool2d(torch.from_numpy(disk)[None, None].float(), (12, 16))
    soft = interpolate(torch.cat([seen, 1 - seen], dim=1) * 0.6 + 0.2, (96, 128), mode="bilinear")
    before = iou((soft.argmax(dim=1) == 0)[0].numpy(), disk)
    after = iou((refine(frame.astype(np.uint8)[None], soft).argmax(dim=1) == 0)[0].numpy(), disk)
    assert before < 0.97 and after > 0.995


@pytest.mark.slow
def test_true_objects_at_patch_resolution_gain_on_real_frames(shared):
    """Slots that saw the object rightly on 14 x 25 patches, and the background in three parts: J of the object rises.

    (With one mask for the whole background it need not: a large mask outvotes a thin object, whoever computes the CRF.)
    """
    root, gains = shared / "davis", []
    for name in (root / "ImageSets/2017/val.txt").read_text().split():
        with Image.open(root / f"JPEGImages/480p/{name}/00000.jpg") as image:
            frame = np.asarray(image.resize((427, 240), Image.Resampling.LANCZOS))
        with Image.open(root / f"Annotations_unsupervised/480p/{name}/00000.png") as image:
            truth = np.asarray(image.resize((427, 240), Image.Resampling.NEAREST)) == 1
        seen = adaptive_avg_pool2d(torch.from_numpy(truth)[None, None].float(), (14, 25))
        slots = torch.cat([seen, (1 - seen) * random_masks(3, 14, 25, 0)], dim=1) * 0.6 + 0.1
        soft = interpolate(slots, (240, 427), mode="bilinear")  # [1, 4, H, W]
        gains.append(iou((refine(frame[None], soft).argmax(dim=1) == 0)[0].numpy(), truth))
        gains[-1] -= iou((soft.argmax(dim=1) == 0)[0].numpy(), truth)
    assert len(gains) == 8 and np.mean(gains) > 0.04, gains


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match="are not uint8"):
        refine(np.zeros((1, 8, 9, 3), np.uint8), torch.ones(1, 2, 4, 5) / 2)
    with pytest.raises(ValueError, match="are not uint8"):
        refine(np.zeros((1, 8, 9, 3)), torch.ones(1, 2, 8, 9) / 2)


def test_appearance_kernel_keeps_colours_apart():
    """Across a sharp edge next to nothing is exchanged; within a colour nearly all of it is."""
    frame = np.zeros((10, 20, 3), np.uint8)
    frame[:, 10:] = 200
    one = torch.zeros(1, 10, 20)
    one[0, 5, 5] = 1
    response = appearance_kernel(torch.from_numpy(frame).float(), Settings())(one)[0]
    assert response[:, 10:].max() < 1e-6 < response[:, :10].min()
