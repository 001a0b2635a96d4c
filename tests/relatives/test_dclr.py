"""DCLR: its halves, its losses against a plain reference, workers, and what each stage teaches."""

import copy
import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import save_file
from torch.nn.functional import normalize

from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.methods.build import build_method
from objadapt_relatives.dclr.contrast import info_nce
from objadapt_relatives.map_encoder import MapEncoder, activation_map, pooled
from objadapt_relatives.views import drawn_frame, dynamic_half, static_half, two_clips, windows

B, T, N, J, HEADS = 6, 8, 9, 16, {"label": 4}
SMALL = ("width=8", "projection=6", "momentum=0.9")


def method(*settings: str, frames: int = T):
    overrides = [f"method.settings.{setting}" for setting in (*SMALL, *settings)]
    config = load_config(None, [f"sampling.frames={frames}", "method.module=objadapt_relatives.dclr", *overrides])
    return build_method(config, HEADS, J).double()


def clips(seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "patches": torch.randn(B, T, N, J, generator=generator).half(),
        "labels": torch.tensor([[0], [1], [2], [3], [0], [-1]]),
        "valid": torch.tensor([True, True, True, True, False, True]),
        "row": torch.tensor([3, 8, 4, 5, -1, 6]),
    }


def losses(model, batch, step: int = 0) -> dict[str, torch.Tensor]:
    return model.losses(model(batch), batch, step)


def test_the_halves_of_a_clip():
    tokens = torch.randn(2, 6, 4, 3)
    one, two = two_clips(tokens)
    assert torch.equal(torch.stack([one, two], dim=2).flatten(1, 2), tokens)
    still = static_half(one, 1)
    assert still.shape == one.shape and all(torch.equal(still[:, t], one[:, 1]) for t in range(3))
    changes = dynamic_half(one)
    assert torch.equal(changes[:, 2], one[:, 2] - one[:, 1]) and not changes[:, 0].any()
    torch.testing.assert_close(changes.sum(dim=1), one[:, 2] - one[:, 0])  # so its mean tells a clip from its reverse
    assert not dynamic_half(still).any(), "a still video has no dynamic half"
    torch.testing.assert_close(dynamic_half(one + still), changes)  # what stands still is gone from it
    with pytest.raises(ValueError, match="7 frames"):
        two_clips(tokens[:, :1].expand(2, 7, 4, 3))
    drawn = [drawn_frame(seed, step, 4) for seed in range(3) for step in range(40)]
    assert set(drawn) == set(range(4)) and drawn == [drawn_frame(s, t, 4) for s in range(3) for t in range(40)]


def test_each_clip_is_seen_through_a_window_of_its_own_whichever_worker_has_it():
    grid = torch.arange(25.0)[None, None, :, None].expand(6, 2, 25, 3)  # a patch is its place
    rows = torch.tensor([3, 8, 4, 5, -1, 3])
    one, two = windows((grid, grid), 3, seed=0, step=7, rows=rows)
    assert one.shape == two.shape == (6, 2, 9, 3)
    square = torch.tensor([0, 1, 2, 5, 6, 7, 10, 11, 12.0])
    for clip in (one, two):
        corners = clip[:, 0, 0, 0].long()
        assert ((corners // 5 <= 2) & (corners % 5 <= 2)).all()
        assert torch.equal(clip, (corners[:, None] + square)[:, None, :, None].expand_as(clip))
    assert not torch.equal(one, two) and torch.equal(one[0], one[5])
    for part in (slice(0, 3), slice(3, 6)):
        assert torch.equal(windows((grid[part], grid[part]), 3, 0, 7, rows[part])[1], two[part])
    assert not torch.equal(windows((grid, grid), 3, 0, 8, rows)[0], one)
    seen = {int(windows((grid[:1], grid[:1]), 3, 0, step, rows[:1])[0][0, 0, 0, 0]) for step in range(100)}
    assert len(seen) == 9, "every window is drawn"
    assert torch.equal(windows((grid, grid), 5, 0, 7, rows)[0], grid)
    with pytest.raises(InputError, match="method.settings.window: 6; a frame has 25 patches"):
        windows((grid, grid), 6, 0, 7, rows)


def test_maps_know_the_order_of_frames_and_an_activation_map_weighs_them():
    torch.manual_seed(0)
    encoder, tokens = MapEncoder(J, 8, 2), torch.randn(2, 4, 25, J)
    maps = encoder(tokens)
    assert maps.shape == (2, 4, 9, 8) and (maps >= 0).all()
    assert not torch.allclose(pooled(maps), pooled(encoder(tokens.flip(1))), atol=1e-4)
    weights = activation_map(maps)
    torch.testing.assert_close(weights.mean(dim=(1, 2)), torch.ones(2))
    only = torch.zeros(2, 4, 9)
    only[:, 1, 3] = 36.0  # mean 1
    torch.testing.assert_close(pooled(maps, only), maps[:, 1, 3])
    assert activation_map(torch.zeros(1, 2, 3, 4)).isfinite().all()
    with pytest.raises(ValueError, match="8 patches"):
        encoder(tokens[:, :, :8])


def test_info_nce_is_minus_the_log_of_the_key_s_share():
    query, key = (normalize(torch.randn(5, 4, requires_grad=True).double(), dim=-1) for _ in range(2))
    valid, rows = torch.tensor([True, True, False, True, True]), torch.tensor([7, 2, -1, 7, 4])
    found = info_nce(query, key, valid, rows, 0.2)
    others_of = {0: (1, 4), 1: (0, 3, 4), 3: (1, 4), 4: (0, 1, 3)}  # 0 and 3 are one clip, 2 is padding
    for i, negatives in others_of.items():
        own = torch.exp(query[i] @ key[i] / 0.2)
        others = sum(torch.exp(query[i] @ key[negative] / 0.2) for negative in negatives)
        torch.testing.assert_close(found[i], -torch.log(own / (own + others)))
    assert not info_nce(query[:1], key[:1], valid[:1], rows[:1], 0.2).any()


def test_features_that_drift_together_learn_nothing():
    """Against keys of earlier steps, features that all move along one direction would have a lower loss than chance."""
    model, batch = method("losses.rgb=0", "losses.static=0").train(), clips()
    losses(model, clips(2))
    with torch.no_grad():
        for projection in (*model.projections.values(), *model.momentum["projections"].values()):
            projection[-1].bias += 1e4
    torch.testing.assert_close(losses(model, batch)["dynamic"].item(), 2 * math.log(5), atol=1e-3, rtol=0)


def test_losses_are_those_of_a_plain_reference():
    model, batch = method().train(), clips()
    before, step = copy.deepcopy(model), 3
    found = losses(model, batch, step)

    slow, slow_heads = before.momentum["encoder"], before.momentum["projections"]
    for behind, ahead in ((slow, before.encoder), (slow_heads, before.projections)):
        for a, b in zip(behind.parameters(), ahead.parameters(), strict=True):
            a.copy_((0.9 * a + 0.1 * b).detach())
    one, two = batch["patches"].double()[:, 0::2], batch["patches"].double()[:, 1::2]
    frame = drawn_frame(0, step, 4)

    def halves(clip):
        changes = [0 * clip[:, 0], *(clip[:, t] - clip[:, t - 1] for t in range(1, 4))]
        return clip[:, [frame] * 4], torch.stack(changes, dim=1)

    def weighted(maps, half_maps):
        strength = half_maps.sum(-1)
        return (maps * (strength / strength.mean((1, 2), keepdim=True))[..., None]).mean((1, 2))

    def unit(heads, name, vector):
        return heads[name](vector) / heads[name](vector).norm(dim=-1, keepdim=True)

    def nce(query, key):
        seen = [i for i in range(B) if batch["valid"][i]]
        each = []
        for i in seen:
            scores = torch.stack([query[i] @ key[j] for j in [i, *(j for j in seen if j != i)]]) / 0.07
            each.append(torch.logsumexp(scores, 0) - scores[0])
        return sum(each) / 5

    expected = {}
    rgb, other = before.encoder(one), slow(two)
    expected["rgb"] = nce(
        unit(before.projections, "rgb", rgb.mean((1, 2))),
        unit(slow_heads, "rgb", other.mean((1, 2))),
    )
    for name, place in (("static", 0), ("dynamic", 1)):
        own_half, other_half = halves(one)[place], halves(two)[place]
        related = unit(before.projections, f"rgb_{name}", weighted(rgb, slow(own_half)))
        related_key = unit(slow_heads, f"rgb_{name}", weighted(other, slow(other_half)))
        half = unit(before.projections, name, before.encoder(own_half).mean((1, 2)))
        half_key = unit(slow_heads, name, slow(other_half).mean((1, 2)))
        expected[name] = nce(related, half_key) + nce(half, related_key)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    torch.testing.assert_close(found["total"], found["classification"] + sum(expected.values()))


def test_a_method_s_clips_go_through_its_windows():
    batch = clips()
    whole, given, small = (
        losses(method(*some), batch)["total"] for some in ((), ("window=3",), ("window=2",))
    )  # a frame has 3 x 3 patches
    assert torch.equal(given, whole) and not torch.allclose(small, whole)
    with pytest.raises(InputError, match="method.settings.window: 4"):
        losses(method("window=4"), batch)


def test_labels_teach_the_classifier_alone():
    model, batch = method().train(), clips()
    losses(model, clips(2))
    losses(model, batch)["classification"].backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.heads.parameters())
    losses(model, batch)["total"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    relabelled = batch | {"labels": torch.zeros_like(batch["labels"])}
    gradients = []
    for some in (batch, relabelled):
        again = method().train()
        losses(again, clips(2))
        losses(again, some)["total"].backward()
        gradients.append([parameter.grad for parameter in again.encoder.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("off", [("static", "dynamic"), ("rgb", "dynamic"), ("rgb", "static")])
def test_a_contrast_that_is_off_has_no_projections_and_nothing_waits(off):
    model = method(*(f"losses.{name}=0" for name in off)).train()
    losses(model, clips(2))
    found = losses(model, clips())
    assert not set(off) & set(found)
    found["total"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_evaluating_changes_nothing_and_the_momentum_encoder_follows():
    model, batch = method(), clips()
    before = copy.deepcopy(model.state_dict())
    losses(model.eval(), batch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(1.0)
    losses(model.train(), batch)
    for slow, was in zip(model.momentum["encoder"].parameters(), method().encoder.parameters(), strict=True):
        torch.testing.assert_close(slow, was + 0.1)


def test_a_checkpoint_holds_the_momentum_encoder():
    model = method().train()
    losses(model, clips())
    other = method("momentum=0.5")
    other.load_learned_state(model.learned_state())
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.save(a_step(slice(3 * rank, 3 * rank + 3)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def a_step(part: slice) -> dict[str, torch.Tensor]:
    model = method().train()
    found = losses(model, {name: value[part] for name, value in clips().items()}, step=1)
    found["total"].backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"total": found["total"].detach(), **gradients}


@pytest.mark.slow
def test_two_workers_are_one(tmp_path):
    mp.spawn(worker, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, value in a_step(slice(None)).items():
        torch.testing.assert_close(first[name] + second[name], value)


def test_stages(tmp_path):
    pretrained = method()
    save_file(pretrained.learned_state(), tmp_path / "adapter.safetensors")
    begun = f"encoder={tmp_path}"
    probe, tuned = method("stage=probe", begun).train(), method("stage=finetune", begun).train()
    for model, learns in ((probe, False), (tuned, True)):
        assert all(
            torch.equal(a, b) for a, b in zip(model.encoder.parameters(), pretrained.encoder.parameters(), strict=True)
        )
        found = losses(model, clips())
        assert set(found) == {"classification", "total"}
        found["total"].backward()
        assert all((parameter.grad is not None) == learns for parameter in model.encoder.parameters())
        assert {"encoder.out.weight", "heads.label.weight"} <= model.learned_state().keys()


def test_what_is_wrong_is_said(tmp_path):
    for settings, said in (
        (("losses.rgb=0", "losses.static=0", "losses.dynamic=0"), "all three are 0"),
        (("stage=probe",), "needs `encoder`"),
        ((f"encoder={tmp_path}",), "is no checkpoint that can be read"),
        (("widht=3",), "method.settings.widht"),
    ):
        with pytest.raises(InputError, match=said):
            method(*settings)
    save_file({"encoder.out.weight": torch.zeros(3, 3)}, tmp_path / "adapter.safetensors")
    with pytest.raises(InputError, match="has no encoder of this shape"):
        method(f"encoder={tmp_path}")
    for frames in (2, 7):
        with pytest.raises(InputError, match=f"sampling.frames: {frames}"):
            method(frames=frames)
