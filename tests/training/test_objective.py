"""Mixed clips, weighted classes and smoothed labels, for any method: losses and gradients against plain formulas."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from objadapt.config import Experiment, Training
from objadapt.config_file import load_config
from objadapt.methods.build import build_method
from objadapt.training.class_balance import class_weights
from objadapt.training.loop import LossModule, accumulate, global_counts
from objadapt.training.mixing import Mix, drawn, mix, mixed
from objadapt.training.objective import objective

T, N, J, B, HEADS = 4, 9, 16, 8, {"verb": 3, "noun": 5}
CPU = torch.device("cpu")


def config(method: str, *overrides: str) -> Experiment:
    of = {"object_centric": ["method.slots.number=3", "method.heads=2"]}
    common = [f"method.name={method}", f"sampling.frames={T}", f"training.batch_size={B}"]
    return load_config(None, [*common, *of.get(method, []), *overrides])


def batch(seed: int = 0) -> dict[str, torch.Tensor]:
    """Clip 3 could not be read, clip 5 has no noun."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.stack([torch.arange(B) % classes for classes in HEADS.values()], dim=1)
    labels[5, 1] = -1
    valid = torch.ones(B, dtype=torch.bool)
    valid[3] = False
    return {
        "patches": torch.randn(B, T, N, J, generator=generator).half(),
        "cls": torch.randn(B, T, J, generator=generator).half(),
        "labels": labels,
        "valid": valid,
        "row": torch.arange(B),
    }


def with_gradients(settings: Experiment, clips: dict[str, torch.Tensor], labels=None, step: int = 0, parts=None):
    """Losses of a step, and the gradient of their total by each parameter."""
    method = build_method(settings, HEADS, J).eval()
    labels = np.zeros((1, 2), np.int64) if labels is None else labels
    module = LossModule(objective(method, settings, labels, list(HEADS.values())))
    clips = next(mixed([clips], settings.training, settings.seed, step, CPU)) if settings.training.mixes else clips
    losses = accumulate(module, clips, step, parts, torch.autocast("cpu", enabled=False))
    found = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
    return losses, found


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


METHODS = ("object_centric", "linear_probe", "attentive_probe", "temporal_transformer")


def test_nothing_asked_for_is_the_method_itself():
    settings = config("object_centric", "training.class_balance=sampling", "training.repeats=2", "training.ema=0.9")
    method = build_method(settings, HEADS, J)
    assert objective(method, settings, np.zeros((1, 2), np.int64), [3, 5]) is method


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_losses_of_mixed_clips_are_those_under_both_labels_by_their_shares(method, kind):
    settings, step = config(method, f"training.{kind}=1.0"), 3
    losses, gradients = with_gradients(settings, batch(), step=step)
    how, clips = drawn(settings.training, settings.seed, step), batch()
    partner = torch.tensor([1, 0, 2, 3, 5, 4, 7, 6])  # of a clip that could not be read there is none
    own = how.own(3)
    for name, other in ((name, clips[name][partner]) for name in ("patches", "cls")):
        if kind == "mixup" or name == "cls":
            clips[name] = (own * clips[name].double() + (1 - own) * other.double()).half()
        else:
            for place in range(N):
                if how.taken(3)[place // 3, place % 3]:
                    clips[name][:, :, place] = other[:, :, place]
    plain = build_method(settings, HEADS, J).eval()
    totals = [
        plain.losses(plain(clips), clips | {"labels": labels}, step)
        for labels in (clips["labels"], clips["labels"][partner])
    ]
    expected = {name: own * totals[0][name] + (1 - own) * totals[1][name] for name in totals[0]}
    expected["total"].backward()
    assert 0 < own < 1 and losses.keys() == expected.keys()
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name].detach().to(value.dtype), rtol=1e-3, atol=1e-4)
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("asked", ["training.mixup=0.8", "training.cutmix=1.0", "training.class_balance=loss"])
def test_micro_batches_add_up(asked):
    settings, labels = config("linear_probe", asked), np.array([[0, 0], [0, 1], [1, 2]])
    whole, parts = (with_gradients(settings, batch(), labels, parts=size) for size in (None, 2))
    assert_close(parts[0], whole[0])
    assert_close(parts[1], whole[1])


def test_frames_are_mixed_as_pixels_in_all_frames_alike():
    frames = torch.randint(256, (4, 2, 8, 8, 3), dtype=torch.uint8)
    clips = {"frames": frames, "labels": torch.arange(4)[:, None], "valid": torch.ones(4, dtype=torch.bool)}
    partner = [1, 0, 3, 2]
    blended = mix(clips, Mix(0.25))
    expected = (0.25 * frames.double() + 0.75 * frames[partner].double()).numpy()
    assert blended["frames"].dtype == torch.uint8
    assert np.abs(blended["frames"].numpy() - expected).max() <= 0.5 + 1e-6
    assert blended["labels"].tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]
    cut = mix(clips, Mix(0.75, (0.0, 0.5, 0.5, 1.0)))["frames"]
    assert torch.equal(cut[:, :, :4, 4:], frames[partner][:, :, :4, 4:])
    assert torch.equal(cut[:, :, 4:], frames[:, :, 4:]) and torch.equal(cut[:, :, :, :4], frames[:, :, :, :4])
    assert Mix(0.75, (0.0, 0.5, 0.5, 1.0)).own(8) == 0.75


def test_groups_of_one_class_are_mixed_with_the_group_beside_them():
    clips = batch() | {"valid": torch.ones(B, dtype=torch.bool)}
    found = mix(clips, Mix(0.5), group=2)
    assert torch.equal(found["labels"][:, 2:], clips["labels"][[2, 3, 0, 1, 6, 7, 4, 5]])


def test_a_clip_without_partner_stays_as_it_is_bit_for_bit():
    clips = batch()
    clips["valid"][:] = torch.tensor([True, False] * 4)
    for how in (Mix(0.3), Mix(0.3, (0.0, 0.7, 0.0, 1.0))):
        found = mix(clips, how)
        assert torch.equal(found["patches"], clips["patches"]) and torch.equal(found["cls"], clips["cls"])
        assert torch.equal(found["labels"], clips["labels"].repeat(1, 2))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_shares_follow_the_beta_distribution_and_boxes_their_area(kind):
    training = Training(**{kind: 0.4})
    found = [drawn(training, 0, step) for step in range(2000)]
    shares = np.array([one.share for one in found])
    assert shares.mean() == pytest.approx(0.5, abs=0.03) and shares.var() == pytest.approx(0.25 / 1.8, rel=0.1)
    assert found[7] == drawn(training, 0, 7) != drawn(training, 1, 7)
    if kind == "cutmix":
        for how in found[:200]:
            assert how.own(16) >= how.share - 0.1  # where the box sticks out less is taken
    both = Training(mixup=0.4, cutmix=0.4)
    assert np.mean([drawn(both, 0, step).box is None for step in range(1000)]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("beta", [None, 0.9, 0.0])
def test_class_weights(beta):
    labels = np.array([[0, -1]] * 6 + [[1, 2]] * 3 + [[1, 0]] * 0 + [[2, 2]])
    verbs, nouns = class_weights(labels, [4, 3], beta)
    plain = [1 / n if beta is None else (1 - beta) / (1 - beta**n) for n in (6, 3, 1)]
    scale = 10 / sum(n * weight for n, weight in zip((6, 3, 1), plain, strict=True))
    torch.testing.assert_close(verbs, torch.tensor([*(scale * weight for weight in plain), 0.0]))
    assert nouns.tolist() == [0, 0, 1]
    if beta == 0.0:
        assert verbs[:3].tolist() == [1, 1, 1]


@pytest.mark.parametrize("method", METHODS)
def test_a_balanced_loss_has_the_gradient_of_the_weighted_sum(method):
    off = ["method.losses.distillation.weight=0", "method.losses.temporal.weight=0"] * (method == "object_centric")
    settings = config(method, "training.class_balance=loss", *off)
    labels = np.array([[0, 0]] * 5 + [[1, 1]] * 2 + [[2, 4]])
    losses, gradients = with_gradients(settings, batch(), labels)
    plain, clips = build_method(settings, HEADS, J).eval(), batch()
    logits, kept = plain(clips).logits, clips["labels"].masked_fill(~clips["valid"][:, None], -1)
    terms = []
    for column, (scores, weights) in enumerate(zip(logits.values(), class_weights(labels, [3, 5]), strict=True)):
        there = kept[:, column] >= 0
        each = cross_entropy(scores[there], kept[there, column], reduction="none")
        terms.append((weights[kept[there, column]] * each).mean())
    (sum(terms) / 2).backward()
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)
    unweighted = with_gradients(config(method, *off), batch())[0]
    assert losses["classification"].item() == unweighted["classification"].item(), "what is shown stays a plain mean"


@pytest.mark.parametrize("method", METHODS[1:])
def test_peers_smooth_labels_as_torch_does(method):
    settings, clips = config(method, "method.label_smoothing=0.2"), batch()
    losses, gradients = with_gradients(settings, clips)
    plain = build_method(settings, HEADS, J).eval()
    kept = clips["labels"].masked_fill(~clips["valid"][:, None], -1)
    terms = [
        cross_entropy(scores, kept[:, column], ignore_index=-1, label_smoothing=0.2)
        for column, scores in enumerate(plain(clips).logits.values())
    ]
    expected = sum(terms) / 2
    expected.backward()
    torch.testing.assert_close(losses["total"], expected.detach())
    assert_close(gradients, {name: p.grad for name, p in plain.named_parameters() if p.grad is not None})


def test_counts_of_mixed_clips_are_those_of_each_label():
    clips = mix(batch(), Mix(0.5))
    assert global_counts(clips)["labelled"].tolist() == [7, 6, 7, 6]
