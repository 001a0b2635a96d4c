"""Motion layers as a method: parts add up to a batch, pairs are drawn by the clip, still objects have masks."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from stopping import FRAMES, GRID, REST, Scenes, object_iou, scenes

from objadapt.backbone import build_backbone
from objadapt.config import Backbone, Training
from objadapt.config_discovery import MotionLayers
from objadapt.errors import InputError
from objadapt.methods.motion_layers.estimated_flow import estimated_flow, in_patches
from objadapt.methods.motion_layers.motion_layers import MotionLayersMethod, Paired

B, T, S, N = 4, 5, 32, 16


def method(frames: int = T, crop: int = S, **settings) -> MotionLayersMethod:
    torch.manual_seed(0)
    encoder = build_backbone(Backbone(library="small_clip"))
    return MotionLayersMethod(MotionLayers(width=32, **settings), encoder, crop, frames, seed=3)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "frames": torch.randint(0, 256, (B, T, S, S, 3), generator=generator, dtype=torch.uint8),
        "flow": torch.randn(B, T, T, N, 2, generator=generator),
        "labels": torch.full((B, 1), -1),
        "valid": torch.tensor([True, True, False, True]),
        "row": torch.tensor([3, 8, -1, 5]),
    }


def of(model, batch, counts=None):
    losses = model.losses(model(batch), batch, 11, counts)
    model.zero_grad()
    losses["total"].backward()
    return losses, {name: one.grad.clone() for name, one in model.named_parameters() if one.requires_grad}


def test_it_gives_masks_and_no_classes_and_every_parameter_learns(batch):
    model = method(layers=3).train()
    output = model(batch)
    assert output.logits == {} and output.attention.shape == (B, T, 3, N) and output.slots.shape == (B, T, 3, 32)
    torch.testing.assert_close(output.attention.sum(dim=2), torch.ones(B, T, N))
    losses, gradients = of(model, batch)
    assert losses.keys() == {"flow", "fit", "consistency", "total"}
    assert all(one.isfinite().all() and float(one.abs().max()) > 0 for one in gradients.values())
    assert not any(name.startswith("encoder.") for name in (*gradients, *model.learned_state()))
    tokens = model.encoder(torch.zeros(1, 3, S, S))[0][0]
    assert model.grouping.video_masks(tokens[None].repeat(4, 1, 1), (4, 4)).shape == (4, 3, N)


def test_parts_of_a_batch_add_up_to_it_and_padding_counts_for_nothing(batch):
    model = method()
    whole, gradients = of(model, batch)
    counts, sums = {"valid": batch["valid"].sum()}, {}
    for start in (0, 2):
        part = {name: values[start : start + 2] for name, values in batch.items()}
        for name, one in of(model, part, counts)[1].items():
            sums[name] = sums.get(name, 0) + one
    for name, one in gradients.items():
        torch.testing.assert_close(sums[name], one, msg=name, rtol=1e-3, atol=1e-5)
    noisy = batch | {"frames": batch["frames"].clone()}
    noisy["frames"][2] = 7
    torch.testing.assert_close(of(model, noisy)[0]["total"], whole["total"])
    MotionLayersMethod.check(Training(micro_batch=2))


def test_each_frame_is_paired_with_one_within_the_pace_that_is_not_its_next():
    model, rows = method(frames=8, pace=3), torch.arange(40)
    drawn = model.drawn(rows, step=5)
    apart = (drawn - torch.arange(8)).abs()
    assert apart.min() == 1 and apart.max() == 3 and (drawn != model.following()).all()
    assert torch.equal(drawn, model.drawn(rows, 5)) and not torch.equal(drawn, model.drawn(rows, 6))
    assert torch.equal(model.drawn(rows[7:9], 5), drawn[7:9]), "by its row, wherever it stands in a batch"
    assert method(frames=3, pace=2).drawn(rows, 0).shape == (40, 3)


def test_without_a_known_flow_it_learns_from_that_of_the_frames_themselves(batch):
    model, others = method(), torch.tensor([[1, 2, 3, 4, 0]] * B)
    assert torch.equal(model.known(batch, others)[1, 2], batch["flow"][1, 2, 3])
    frames = batch.pop("frames")
    found = model.known({"frames": frames}, others)
    expected = in_patches(estimated_flow(frames[1, 2:3], frames[1, 3:4]), 8)[0]
    assert found.shape == (B, T, N, 2) and torch.equal(found[1, 2], expected)


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"method\.heads: 5 does not divide method\.width = 32"):
        method(heads=5)
    with pytest.raises(ValueError, match=r"sampling\.frames: 2 are too few"):
        MotionLayers().check(2)


def learned(data: Scenes, steps: int) -> MotionLayersMethod:
    """From exact flow; the frozen tokens are those of `data`, encoded once."""
    model = method(frames=FRAMES, crop=96)
    optimiser = torch.optim.AdamW(model.parameter_groups(Training()), lr=2e-3)
    for step in range(steps):
        rows = torch.from_numpy(np.random.default_rng(step).choice(len(data.tokens), 4, replace=False))
        tokens = data.tokens[rows]
        found = model.pairs(tokens, model.following().expand(tokens.shape[:2]))
        output = Paired({}, found.objects, found.opacity, tokens=tokens, flow=found.flow)
        loss = model.losses(output, data.batch(rows), step)["total"]
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.layers.parameters(), 1.0)
        optimiser.step()
    return model


def clustered(flow: torch.Tensor) -> np.ndarray:
    """Two clusters of a flow [N, 2]; one where it is the same everywhere."""
    values = (flow - flow.mean(dim=0)).numpy()
    still = np.abs(values).max() < 1e-3
    return np.zeros(len(values), int) if still else KMeans(2, n_init=2, random_state=0).fit_predict(values)


@pytest.mark.slow
def test_an_object_that_has_stopped_keeps_its_mask_where_its_flow_says_nothing():
    """On scenes that were not learned from; flow is used in training alone."""
    data, others = scenes(24, seed=1), scenes(12, seed=2)
    model, ious = learned(data, steps=60), {"layers": [], "flow": []}
    for number in range(len(others.tokens)):
        masks = model.grouping.video_masks(others.tokens[number], GRID).argmax(dim=1).numpy()  # [T, N]
        for t in range(REST, FRAMES - 1):
            ids = others.ids[number, t]
            ious["layers"].append(object_iou(masks[t], ids))
            ious["flow"].append(object_iou(clustered(others.flow[number, t, t + 1]), ids))
    means = {name: np.mean(values) for name, values in ious.items()}
    print({name: round(float(value), 3) for name, value in means.items()})
    assert means["flow"] < 0.25, "nothing but the picture as a whole"
    assert means["layers"] > 0.55, means
