"""Token pruning: r = 0 changes nothing, counts are exact, places stay known, and what is new is kept."""

import pytest
import torch
from torch.nn.functional import normalize

from objadapt.backbone import Encoder, build_backbone, pruning
from objadapt.backbone.features import encode_frames
from objadapt.backbone.pruning import choose, encode_pruned, schedule
from objadapt.config import Backbone
from objadapt.errors import InputError
from objadapt.evaluation.cost import backbone_macs

N, T = 144, 4  # patches of the small CLIP, frames
SMALL = Backbone(library="small_clip")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return build_backbone(SMALL)


def frames(clips: int = 2, number: int = T) -> torch.Tensor:
    """uint8 [B, T, 96, 96, 3]: noise in which neighbouring pixels are alike, and frames, too."""
    coarse = torch.randint(0, 256, (clips, 1, 12, 12, 3), generator=torch.Generator().manual_seed(0))
    drift = torch.randint(-9, 10, (clips, number, 12, 12, 3), generator=torch.Generator().manual_seed(1))
    return (coarse + drift).clamp(0, 255).to(torch.uint8).repeat_interleave(8, 2).repeat_interleave(8, 3)


def images(clips: int = 2) -> torch.Tensor:
    return frames(clips).permute(0, 1, 4, 2, 3).float() / 128 - 1


@torch.inference_mode()
def test_without_pruning_nothing_changes(encoder):
    patches, cls = encoder(images().flatten(0, 1))
    none = encode_pruned(encoder, images(), 0)
    assert torch.equal(none.patches.flatten(0, 1), patches) and torch.equal(none.cls.flatten(0, 1), cls)
    assert (none.kept == torch.arange(N)).all()


@pytest.mark.parametrize("dropped", [4, 36, 72])
@torch.inference_mode()
def test_exact_counts_and_every_place_has_a_token_of_its_frame(encoder, dropped):
    found = encode_pruned(encoder, images(), dropped)
    assert found.kept.shape == (2, T, N - dropped - dropped // 2 - dropped // 4)
    assert (found.kept.diff(dim=2) > 0).all() and found.kept.min() >= 0 and found.kept.max() < N
    assert found.patches.shape == (2, T, N, encoder.joint_width)
    for tokens, kept in zip(found.patches.flatten(0, 1), found.kept.flatten(0, 1), strict=True):
        assert len(tokens[kept].unique(dim=0)) == len(kept), "a token that is left stands at its own place"
        assert len(tokens.unique(dim=0)) == len(kept), "and at those of dropped ones, nothing else"


@torch.inference_mode()
def test_clips_do_not_mix_and_the_same_clip_gives_the_same_tokens(encoder):
    both, one = encode_pruned(encoder, images(), 36), encode_pruned(encoder, images()[1:], 36)
    assert torch.equal(both.kept[1:], one.kept)
    torch.testing.assert_close(both.patches[1:], one.patches)
    pruner = build_backbone(SMALL.model_copy(update={"pruning": 36}))
    patches, cls = encode_frames(pruner, frames())  # split clip by clip on CPUs
    assert patches.shape == (2, T, N, encoder.joint_width) and cls.shape == (2, T, encoder.joint_width)
    assert torch.equal(patches, encode_frames(pruner, frames())[0])
    assert not torch.equal(patches, encode_frames(encoder, frames())[0])


def test_what_cannot_be_pruned_is_refused(encoder):
    with pytest.raises(InputError, match="backbone.pruning: 76 is more than half of a frame's 144 patches"):
        encode_pruned(encoder, images(1), 76)
    shallow = build_backbone(SMALL)
    shallow.model.transformer.resblocks = shallow.model.transformer.resblocks[:2]
    with pytest.raises(InputError, match="small_clip has 2; use 0"):
        encode_pruned(shallow, images(1), 4)
    assert schedule(12, 64) == {0: 64, 4: 32, 8: 16} and schedule(2, 0) == {}


def formula(tokens: list[int], width: int, before: dict[int, int]) -> int:
    """MACs of blocks over 1 + n tokens, and of the keys that are computed a second time where tokens are dropped."""
    blocks = sum(12 * (1 + n) * width**2 + 2 * (1 + n) ** 2 * width for n in tokens)
    return blocks + sum((1 + n) * width**2 for n in before.values())


@torch.inference_mode()
def test_frames_are_scanned_forward_backward_forward(encoder, monkeypatch):
    ways = []

    def recording(keys, tokens, dropped, backwards):
        ways.append(backwards)
        return choose(keys, tokens, dropped, backwards)

    monkeypatch.setattr(pruning, "choose", recording)
    encode_pruned(encoder, images(1), 4)
    assert ways == [False, True, False]
    keys, tokens, _ = planted(1.5, seed=0)
    backward, mirrored = choose(keys, tokens, 64, True), choose(keys.flip(1), tokens.flip(1), 64, False)
    assert all(torch.equal(one, other.flip(1)) for one, other in zip(backward, mirrored, strict=True))
    assert not torch.equal(backward[0], choose(keys, tokens, 64, False)[0])


def scoring(before: int, after: int, frames: int) -> int:
    """MACs of one stage's scores, of keys of 64 numbers: the first frame, the others, and what dropped ones repeat."""
    first = before**2 // 4 * 64 + before**2 * 64
    return first + (frames - 1) * before * after * (64 + 1) + frames * before * after * 64


def test_flops_follow_the_counts():
    frames, width, joint, left = 8, 128, 128, [144, 96, 72, 60]
    embedding = N * 3 * 8 * 8 * width
    whole = embedding + formula([N] * 4, width, {}) + (1 + N) * width * joint
    assert backbone_macs(build_backbone(SMALL), 96, 1) == whole
    assert backbone_macs(build_backbone(SMALL), 96, frames) == frames * whole
    pruned = embedding + formula(left, width, {0: 144, 1: 96, 2: 72}) + (1 + 60) * width * joint
    scores = sum(scoring(*pair, frames) for pair in zip(left, left[1:], strict=False))
    pruner = build_backbone(SMALL.model_copy(update={"pruning": 48}))
    assert backbone_macs(pruner, 96, frames) == frames * pruned + scores


def test_a_vit_b_saves_more_than_30_percent():
    """The paper's claim, and without its attention between frames, of which more could be saved."""
    shares = {}
    for dropped in (48, 64):
        left, number = [], 196
        for block in range(12):
            left.append(number)
            number -= schedule(12, dropped).get(block, 0)
        before = {block: left[block] for block in schedule(12, dropped)}
        shares[dropped] = 1 - formula(left, 768, before) / formula([196] * 12, 768, {})
    assert 0.3 < shares[48] < 0.31 and 0.4 < shares[64] < 0.41


def planted(norm: float, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Keys [1, 8, 196, 64] and tokens of a ground that stays, in which an object appears; where it does, bool [196].

    The ground's tokens are of one norm, the object's are `norm` times as large.
    """
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(196, 64, generator=generator) + 0.3 * torch.randn(8, 196, 64, generator=generator)
    where = torch.zeros(196, dtype=torch.bool)
    where[torch.randperm(196, generator=generator)[:16]] = True
    looks = 3 * torch.randn(64, generator=generator)
    keys[4:, where] = looks + 0.3 * torch.randn(4, 16, 64, generator=generator)
    tokens = torch.ones(8, 196, 32)
    tokens[4:, where] *= norm
    return normalize(keys, dim=-1)[None], tokens[None], where


def first_appearances_kept(norm: float, dropped: int = 64) -> float:
    """Share of the object's tokens that are left in the frame in which it appears, over ten scenes."""
    shares = []
    for seed in range(10):
        keys, tokens, where = planted(norm, seed)
        left, like = choose(keys, tokens, dropped, backwards=False)
        assert (like.gather(2, left) == torch.arange(196 - dropped)).all()
        shares.append(where[left[0, 4]].float().sum().item() / 16)
    return sum(shares) / len(shares)


def test_what_appears_is_kept_more_often_than_at_random():
    at_random = 1 - 64 / 196
    assert first_appearances_kept(norm=1.5) == 1
    assert first_appearances_kept(norm=1.0) > at_random + 0.1, "by what the frame before held alone"
    # the semantic half takes a small norm for unimportant: an object that has one is dropped (docs/pruning.md)
    assert first_appearances_kept(norm=0.7) == 0
