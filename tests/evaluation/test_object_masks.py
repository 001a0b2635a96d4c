"""Object masks: attention at the frame's aspect ratio, its upsampling and its ids,
against plain loops and the parts themselves.
"""

import numpy as np
import pytest
import torch

from objadapt.backbone import build_backbone
from objadapt.backbone.features import encode_frames
from objadapt.config import Backbone
from objadapt.data.transforms import normalise, test_transform
from objadapt.errors import InputError
from objadapt.evaluation import object_masks
from objadapt.evaluation.object_masks import (
    background_slots,
    encode_patches,
    id_maps,
    patch_grid,
    segment_video,
    slot_masks,
    upsample,
)
from objadapt.methods.object_centric.slot_attention import SlotAttention


@pytest.fixture(scope="module")
def encoder(tiny_weights):
    # patches of 16 pixels, J = 64
    return build_backbone(Backbone(library="timm", name="test_vit", weights=str(tiny_weights)))


@pytest.fixture(scope="module")
def slot_attention() -> SlotAttention:
    torch.manual_seed(1)
    return SlotAttention(num_slots=4, input_width=64, width=64, iterations=3).eval()


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Five frames of 48 x 80: 3 x 5 patches of 16 pixels, no resizing."""
    return np.random.default_rng(0).integers(0, 256, (5, 48, 80, 3), dtype=np.uint8)


def random_soft(*shape: int, seed: int = 0) -> torch.Tensor:
    return (3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))).softmax(dim=1)


@pytest.mark.parametrize(
    "height, width, resolution, patch, grid",
    [
        (480, 854, 224, 16, (14, 25)),  # DAVIS for CLIP ViT-B/16: 224 x 398.5 pixels
        (854, 480, 224, 16, (25, 14)),
        (480, 854, 480, 8, (60, 107)),
        (480, 854, 224, 14, (16, 28)),
        (64, 64, 224, 16, (14, 14)),
        (100, 101, 230, 16, (14, 15)),
        (20, 2000, 16, 16, (1, 100)),
    ],
)
def test_patch_grid(height, width, resolution, patch, grid):
    assert patch_grid(height, width, resolution, patch) == grid


def test_the_aspect_ratio_is_kept_to_half_a_patch():
    for height, width in np.random.default_rng(0).integers(48, 2000, (200, 2)).tolist():
        grid = patch_grid(height, width, 224, 16)
        scale = 224 / min(height, width)
        assert min(grid) == 14
        assert abs(grid[0] * 16 - height * scale) <= 8 and abs(grid[1] * 16 - width * scale) <= 8
        assert patch_grid(width, height, 224, 16) == grid[::-1]


@pytest.mark.parametrize("resolution", [-16, 0, 15, 10**6])
def test_impossible_resolutions(resolution):
    with pytest.raises(InputError, match=r"--resolution: -?\d+ pixels"):
        patch_grid(480, 854, resolution, 16)


def test_patches_are_those_of_the_backbone_row_by_row(encoder, frames):
    by_hand = encoder(normalise(torch.from_numpy(frames), encoder.mean, encoder.std))[0]  # [T, 15, J]
    patches = encode_patches(encoder, frames, (3, 5))
    assert patches.dtype == torch.float16 and patches.shape == (5, 15, 64)
    torch.testing.assert_close(patches.float(), by_hand, atol=2e-3, rtol=2e-3)


def test_a_square_frame_is_seen_as_in_training(encoder, slot_attention):
    square = np.random.default_rng(1).integers(0, 256, (2, 100, 100, 3), dtype=np.uint8)
    crops = torch.from_numpy(test_transform(square, 64))
    patches, _ = encode_frames(encoder, crops[None])
    with torch.no_grad():
        _, attention = slot_attention(patches[0].float())  # [T, K, 16]
    masks = slot_masks(encoder, slot_attention, square, (4, 4))
    torch.testing.assert_close(masks, attention.unflatten(2, (4, 4)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("flip", [False, True])
def test_the_slots_share_each_patch(encoder, slot_attention, frames, flip):
    masks = slot_masks(encoder, slot_attention, frames, (3, 5), flip)
    assert masks.shape == (5, 4, 3, 5) and masks.dtype == torch.float32 and (masks >= 0).all()
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(5, 3, 5))


def test_pieces_and_batches_change_nothing(encoder, slot_attention, frames, monkeypatch):
    whole = slot_masks(encoder, slot_attention, frames, (3, 5))
    pieces = segment_video(encoder, slot_attention, iter([frames[:1], frames[1:4], frames[4:]]), resolution=48)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)
    monkeypatch.setattr(object_masks, "BATCH_PATCHES", 1)  # a frame at a time
    torch.testing.assert_close(slot_masks(encoder, slot_attention, frames, (3, 5)), whole, atol=1e-5, rtol=0)


def test_the_same_slot_has_the_same_id_in_all_frames(encoder, slot_attention, frames):
    """A frame's ids do not depend on the frames around it: frames in another order, or twice, keep their maps."""
    order = [3, 0, 3, 4]
    ids = id_maps(upsample(slot_masks(encoder, slot_attention, frames, (3, 5)), (48, 80)))
    again = id_maps(upsample(slot_masks(encoder, slot_attention, frames[order], (3, 5)), (48, 80)))
    assert len(np.unique(ids)) > 1
    assert (again == ids[order]).mean() > 0.999  # batches of another size round differently, so ties may


def test_permuted_slots_are_permuted_ids(encoder, slot_attention, frames):
    order = [2, 0, 3, 1]
    permuted = SlotAttention(num_slots=4, input_width=64, width=64, iterations=3).eval()
    permuted.load_state_dict(slot_attention.state_dict() | {"queries": slot_attention.queries.detach()[order]})
    masks = slot_masks(encoder, slot_attention, frames, (3, 5))
    others = slot_masks(encoder, permuted, frames, (3, 5))
    torch.testing.assert_close(others, masks[:, order], atol=1e-5, rtol=0)
    named = np.array([0, *(np.argsort(order) + 1)], np.uint8)  # id of a slot -> its id among the permuted
    assert (id_maps(others) == named[id_maps(masks)]).all()


# with resizing, uint8 rounds mirrored pixels differently
@pytest.mark.parametrize("width, tolerance", [(80, 1e-6), (91, 0.02)])
def test_averaging_with_the_mirrored_frame_forgets_which_of_the_two_it_was(encoder, slot_attention, width, tolerance):
    frames = np.random.default_rng(2).integers(0, 256, (2, 48, width, 3), dtype=np.uint8)
    grid = patch_grid(48, width, 48, 16)
    masks = slot_masks(encoder, slot_attention, frames, grid, flip=True)
    mirrored = slot_masks(encoder, slot_attention, frames[:, :, ::-1], grid, flip=True)
    torch.testing.assert_close(mirrored, masks.flip(-1), atol=tolerance, rtol=0)
    plain = slot_masks(encoder, slot_attention, frames, grid)
    assert (plain - masks).abs().max() > 1e-3  # a ViT is not symmetric: averaging does something


def bilinear_by_hand(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """float64 [h, w] -> [H, W]; the centre of pixel y lies at (y + 0.5) h / H - 0.5, at the edges the edge goes on."""
    h, w = mask.shape
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            v, u = max((y + 0.5) * h / height - 0.5, 0), max((x + 0.5) * w / width - 0.5, 0)
            top, left = int(v), int(u)
            below, right = min(top + 1, h - 1), min(left + 1, w - 1)
            a, b = v - top, u - left
            out[y, x] = (1 - a) * ((1 - b) * mask[top, left] + b * mask[top, right]) + a * (
                (1 - b) * mask[below, left] + b * mask[below, right]
            )
    return out


@pytest.mark.parametrize("size", [(17, 29), (6, 10), (3, 5)])
def test_upsampling(size):
    soft = random_soft(2, 3, 3, 5)
    large = upsample(soft, size)
    for frame in range(2):
        for slot in range(3):
            by_hand = bilinear_by_hand(soft[frame, slot].double().numpy(), *size)
            np.testing.assert_allclose(large[frame, slot].numpy(), by_hand, atol=1e-6)
    torch.testing.assert_close(large.sum(dim=1), torch.ones(2, *size))


def test_ids_are_those_of_the_strongest_slots():
    soft = random_soft(2, 4, 6, 7)
    ids = id_maps(soft, dropped=[2])
    assert ids.dtype == np.uint8 and ids.shape == (2, 6, 7)
    for frame, y, x in np.ndindex(2, 6, 7):
        strongest = max(range(4), key=lambda slot: float(soft[frame, slot, y, x]))
        assert ids[frame, y, x] == (0 if strongest == 2 else strongest + 1)


def test_more_slots_than_ids():
    assert id_maps(torch.eye(254)[None, :, :, None]).max() == 254
    with pytest.raises(InputError, match="255 masks are more than the 254 ids"):
        id_maps(torch.zeros(1, 255, 2, 2))


def test_background_is_what_lies_at_the_border_over_the_whole_video():
    soft = torch.zeros(3, 4, 5, 6)
    soft[:, 0, 1:4, 1:5] = 0.9  # an object inside, in all frames
    soft[0, 1] = 0.5  # at the border of one frame only, all around
    soft[1:, 2] = 0.5  # at the border of two frames
    soft[:, 3, 0, :2] = 0.8  # two patches of the border
    assert background_slots(soft, 0) == []
    assert background_slots(soft, 1) == [2]
    assert background_slots(soft, 2) == [1, 2]
    assert background_slots(soft, 3) == [1, 2, 3]
    order = [3, 2, 0, 1]
    assert background_slots(soft[:, order], 2) == [1, 3]  # the slots, not their numbers


@pytest.mark.parametrize("number", [-1, 4, 9])
def test_some_slot_must_be_left(number):
    with pytest.raises(InputError, match=r"--drop-background: -?\d of 4 slots"):
        background_slots(random_soft(1, 4, 3, 3), number)
