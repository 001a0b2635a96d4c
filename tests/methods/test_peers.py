"""The peers: at step 0 they are the frozen image model, their sizes are the published ones, their gradients those of a
plain reference, and what is frozen stays.
"""

import open_clip
import plain_peers
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from objadapt.backbone.encoder import Encoder
from objadapt.backbone.open_clip_vit import encoder_of, image_tower
from objadapt.backbone.timm_vit import TimmEncoder
from objadapt.config import Training
from objadapt.config_peers import AIM, EVL, AttentiveProbe, STAdapter, TemporalTransformer, TimeSformer
from objadapt.data.transforms import normalise
from objadapt.errors import InputError
from objadapt.methods.aim import AIMMethod
from objadapt.methods.attentive_probe import AttentiveProbeMethod
from objadapt.methods.evl import EVLMethod
from objadapt.methods.method import Method
from objadapt.methods.st_adapter import STAdapterMethod
from objadapt.methods.temporal_transformer import TemporalTransformerMethod
from objadapt.methods.timesformer import TimeSformerMethod

T, S, B, HEADS = 3, 32, 2, {"label": 5}
TINY = {"embed_dim": 24, "vision_cfg": {"image_size": S, "layers": 3, "width": 64, "head_width": 16, "patch_size": 8}}
INSIDE = {
    "st_adapter mlp": lambda encoder: STAdapterMethod(STAdapter(), encoder, HEADS),
    "st_adapter both": lambda encoder: STAdapterMethod(STAdapter(placement="both"), encoder, HEADS),
    "aim": lambda encoder: AIMMethod(AIM(), encoder, HEADS, T),
    "evl": lambda encoder: EVLMethod(EVL(layers=2), encoder, HEADS, T, S),
    "timesformer": lambda encoder: TimeSformerMethod(TimeSformer(), encoder, HEADS, T),
    "timesformer time": lambda encoder: TimeSformerMethod(TimeSformer(trained="time"), encoder, HEADS, T),
}


def clip_encoder() -> Encoder:
    torch.manual_seed(3)
    return encoder_of(image_tower(TINY), name="tiny", mean=(0.5,) * 3, std=(0.25,) * 3, precision="float32")


def timm_encoder(registers: int = 0) -> Encoder:
    torch.manual_seed(3)
    size = {"img_size": S, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 4}
    model = VisionTransformer(**size, reg_tokens=registers, num_classes=0, dynamic_img_size=True)
    shape = {"joint_width": 64, "image_size": S, "patch_size": 16}
    return TimmEncoder(model, name="tiny", **shape, mean=(0.5,) * 3, std=(0.25,) * 3, precision="float32")


ENCODERS = {"open_clip": clip_encoder, "timm": timm_encoder}


def clips(same: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(256, (B, 1 if same else T, S, S, 3), generator=generator, dtype=torch.uint8)
    return {
        "frames": frames.expand(-1, T, -1, -1, -1).contiguous(),
        "labels": torch.tensor([[1], [4]]),
        "valid": torch.ones(B, dtype=torch.bool),
    }


def cls_of_frames(encoder: Encoder, batch: dict[str, Tensor]) -> Tensor:
    """cls [B, T, D] behind the last block and before the final norm, by the library's own forward."""
    kept = []
    hook = encoder.final_norm.register_forward_pre_hook(lambda _, arguments: kept.append(arguments[0]))
    encoder.model(normalise(batch["frames"].flatten(0, 1), encoder.mean, encoder.std))
    hook.remove()
    return kept[0][:, 0].unflatten(0, (B, T))


def move(method: Method) -> Method:
    """Away from step 0, where half of the gradients are zero."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return method


@pytest.mark.parametrize("library", ENCODERS)
@pytest.mark.parametrize("name", [name for name in INSIDE if name != "evl"])
def test_at_step_0_it_is_the_frozen_image_model(name, library):
    encoder = ENCODERS[library]()
    batch = clips(same=name.startswith("timesformer"))  # its frames share cls, so they must be alike
    with torch.no_grad():
        cls = cls_of_frames(encoder, batch)
        normed = encoder.final_norm(cls)
        expected = encoder.final_norm(cls.mean(dim=1)) if "st_adapter" in name else normed.mean(dim=1)
        found = INSIDE[name](encoder).eval()(batch).video
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


def test_registers_are_no_patches():
    encoder = timm_encoder(registers=4)
    with torch.no_grad():
        expected = encoder.final_norm(cls_of_frames(encoder, clips()).mean(dim=1))
    for name in ("st_adapter both", "evl"):
        method = move(INSIDE[name](encoder)).eval()
        batch, seen = clips(), []
        adapter = method.before_mlp[0] if "st" in name else method.neighbours[0]
        adapter.register_forward_pre_hook(lambda _, arguments, seen=seen: seen.append(arguments[0].shape[2]))
        method(batch)
        assert encoder.prefix == 5 and seen == [4]
    fresh = INSIDE["st_adapter both"](encoder).eval()(clips()).video
    torch.testing.assert_close(fresh, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("st_adapter mlp", 7.1), ("st_adapter both", 14.2), ("aim", 11.0), ("evl", 33), ("timesformer", 121)],
)
def test_published_numbers_of_parameters(name, millions):
    tower = image_tower(open_clip.get_model_config("ViT-B-16-quickgelu"))
    encoder = encoder_of(tower, name="ViT-B-16", mean=(0,) * 3, std=(1,) * 3, precision="float32")
    classes = {} if "st_adapter" in name else {"label": 400}  # published without the classifier, or with it
    match name:
        case "aim":
            method = AIMMethod(AIM(), encoder, classes, 8)
        case "evl":
            method = EVLMethod(EVL(), encoder, classes, 8, 224)
        case "timesformer":
            method = TimeSformerMethod(TimeSformer(), encoder, classes, 8)
        case _:
            method = STAdapterMethod(STAdapter(placement=name.split()[1]), encoder, classes)
    count = sum(value.numel() for value in method.learned_state().values())
    assert count / 1e6 == pytest.approx(millions, abs=0.05 if millions < 30 else 0.6)


@pytest.mark.parametrize("name", INSIDE)
def test_frozen_means_frozen(name):
    method = move(INSIDE[name](clip_encoder())).train()
    everything = name == "timesformer"
    before = {key: value.clone() for key, value in method.encoder.state_dict().items()}
    optimiser = torch.optim.SGD(method.parameter_groups(Training()), lr=0.1)
    batch = clips()
    method.losses(method(batch), batch, 0)["total"].backward()
    optimiser.step()
    moved = {key for key, value in method.encoder.state_dict().items() if not torch.equal(value, before[key])}
    assert bool(moved) == everything and "model.proj" not in moved
    assert any(key.startswith("encoder.") for key in method.learned_state()) == everything
    without = [key for key, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    last = "before_mlp.2."  # published so: behind it no attention brings patches to cls, which the head reads
    assert all(key.startswith(last) for key in without) and bool(without) == method.leaves_unused, without
    state = {key: value.clone() for key, value in method.learned_state().items()}
    other = INSIDE[name](clip_encoder())
    other.load_learned_state(state)
    torch.testing.assert_close(other.eval()(batch).video, method.eval()(batch).video)


@pytest.mark.parametrize("name", INSIDE)
def test_a_backbone_in_half_precision_leaves_what_learns_in_float32(name, monkeypatch):
    exact = move(INSIDE[name](clip_encoder())).eval()(clips()).video
    monkeypatch.setattr(
        "objadapt.backbone.encoder.compute_dtype", lambda precision, _: getattr(torch, precision.replace("auto", ""))
    )
    encoder = clip_encoder()
    encoder.precision = "bfloat16"
    method = move(INSIDE[name](encoder)).eval()
    video = method(clips()).video
    half = torch.float32 if name == "timesformer" else torch.bfloat16  # which learns as a whole
    assert next(encoder.model.parameters()).dtype == half and video.dtype == torch.float32
    assert {p.dtype for p in method.parameters() if p.requires_grad} == {torch.float32}
    video.sum().backward()
    assert (video - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("name", INSIDE)
def test_no_gradient_passes_through_float16(name, monkeypatch):
    """Where a GPU has no bfloat16: small gradients would be lost."""
    monkeypatch.setattr("objadapt.backbone.encoder.compute_dtype", lambda precision, _: getattr(torch, precision))
    encoder = clip_encoder()
    encoder.precision = "float16"
    method = INSIDE[name](encoder)
    with torch.no_grad():
        tokens = encoder.embed(torch.zeros(1, 3, S, S))
    assert tokens.dtype == (torch.float16 if name == "evl" else torch.float32) and method.dtype == torch.float32


def test_more_decoder_layers_than_blocks_are_refused():
    with pytest.raises(InputError, match=r"method\.layers: 20 is more than the 3 blocks of tiny"):
        EVLMethod(EVL(layers=20), clip_encoder(), HEADS, T, S)


@pytest.mark.parametrize("name", INSIDE)
def test_outputs_and_gradients_are_those_of_a_plain_reference(name):
    method = move(INSIDE[name](clip_encoder())).double().eval()
    method.encoder.model.double()
    reference = getattr(plain_peers, name.split()[0])
    batch, visual = clips(), method.encoder.model
    images = normalise(batch["frames"].flatten(0, 1), method.encoder.mean, method.encoder.std).double()
    tokens = visual.conv1(images).flatten(2).mT
    tokens = torch.cat([visual.class_embedding.expand(B * T, 1, -1), tokens], dim=1) + visual.positional_embedding
    if name == "aim":
        tokens = tokens + method.time.repeat(B, 1, 1)
    with pytest.MonkeyPatch.context() as patch:  # a float64 backbone, which no config asks for
        patch.setattr("objadapt.backbone.encoder.compute_dtype", lambda *_: torch.float64)
        found = method(batch).video
    expected = reference(method, visual.ln_pre(tokens).unflatten(0, (B, T)))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    learned = {key: p for key, p in method.named_parameters() if p.requires_grad and not key.startswith("heads.")}
    towards = torch.randn(found.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours = torch.autograd.grad((found * towards).sum(), list(learned.values()))
    theirs = torch.autograd.grad((expected * towards).sum(), list(learned.values()))
    for key, one, other in zip(learned, ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


def features() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    shape = {"patches": (B, T, 6, 16), "cls": (B, T, 16)}
    return {name: torch.randn(size, generator=generator).half() for name, size in shape.items()}


def test_the_attentive_probe_sees_every_token_and_no_order_at_step_0():
    method = AttentiveProbeMethod(AttentiveProbe(heads=4), HEADS, 16, T).eval()
    batch = features()
    video = method(batch).video
    backwards = {name: values.flip(1) for name, values in batch.items()}
    torch.testing.assert_close(method(backwards).video, video, atol=1e-5, rtol=1e-5)
    for name, at in (("patches", (0, 2, 5)), ("cls", (0, 1))):
        other = {key: values.clone() for key, values in batch.items()}
        other[name][at] += 5
        changed = (method(other).video - video).abs().amax(dim=1)
        assert changed[0] > 1e-4 and changed[1] == 0
    with torch.no_grad():
        method.time.normal_()
    assert not torch.allclose(method(backwards).video, method(batch).video, atol=1e-3)


def test_the_temporal_transformer_reads_the_order_of_mean_patches():
    method = TemporalTransformerMethod(TemporalTransformer(heads=4), HEADS, 16, T).eval()
    batch = features()
    video = method(batch).video
    moved = batch | {"patches": batch["patches"][:, :, torch.randperm(6)]}
    torch.testing.assert_close(method(moved).video, video, atol=1e-4, rtol=1e-3)
    backwards = {name: values.flip(1) for name, values in batch.items()}
    assert not torch.allclose(method(backwards).video, video, atol=1e-4)


@pytest.mark.parametrize("method", [AttentiveProbeMethod, TemporalTransformerMethod])
def test_heads_that_do_not_divide_the_width_are_refused(method):
    settings = AttentiveProbe(heads=3) if method is AttentiveProbeMethod else TemporalTransformer(heads=3)
    with pytest.raises(InputError, match="method.heads: 3 does not divide the joint width 16"):
        method(settings, HEADS, 16, T)


def test_attention_along_time_begins_as_the_blocks_own():
    encoder, lines = clip_encoder(), torch.randn(4, T, 64)
    blocks = encoder.model.transformer.resblocks
    for block in blocks:
        block.ln_1.weight.data.normal_()  # as trained ones are
    method = TimeSformerMethod(TimeSformer(), encoder, HEADS, T)
    for block, added in zip(blocks, method.in_time, strict=True):
        theirs = plain_peers.attention(block, block.ln_1(lines))
        ours = plain_peers.attention(added.attention, added.norm(lines), frozen=False)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
        assert added.norm.weight is not block.ln_1.weight and added.norm.weight.requires_grad


def test_stochastic_depth_leaves_out_whole_branches_in_training_alone():
    method = move(AIMMethod(AIM(drop_path=0.5), clip_encoder(), HEADS, T))
    assert torch.equal(method.eval()(clips()).video, method(clips()).video)
    method.train()
    assert not torch.equal(method(clips()).video, method(clips()).video)
