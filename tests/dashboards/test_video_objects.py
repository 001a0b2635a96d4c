"""What the results app shows of a video is what the model says of it: the same frames, answers, masks and norms."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dashboards import slot_pictures, video_reader
from dashboards.video_objects import SHOWN, Clip, Seen, look
from objadapt.config_file import load_config
from objadapt.data.clip import read_clip
from objadapt.data.davis import write_ids
from objadapt.data.decode import decode_frames
from objadapt.errors import InputError
from objadapt.evaluation.mask_video import write_video
from objadapt.evaluation.object_masks import segment_video
from objadapt.evaluation.overlay import palette
from objadapt.video_model import VideoModel


@pytest.fixture(scope="module")
def build(tiny_config):
    """`build("key=value", ...)`: an untrained model of the tiny experiment."""

    def make(*overrides: str) -> VideoModel:
        torch.manual_seed(1)
        return VideoModel(load_config(tiny_config, overrides), {"label": ["one", "two", "three"]}).eval()

    return make


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> str:
    """40 frames of 64 x 48 at 10 frames a second; a square crosses noise."""
    path = tmp_path_factory.mktemp("video") / "square.mp4"
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 255, (1, 48, 64, 3), dtype=np.uint8), 40, axis=0)
    for number, frame in enumerate(frames):
        frame[16:32, number : number + 16] = 255
    write_video(path, frames, 10)
    return str(path)


def test_the_last_answer_is_that_of_the_whole_clip(build, video):
    model = build()
    seen = look(model, Clip("square", video))
    clip = read_clip(video, None, None, model.config.sampling)
    expected = model(torch.from_numpy(clip.frames)[None])
    assert np.allclose(seen.probabilities["label"][-1], expected.logits["label"][0].softmax(0).detach(), atol=1e-6)
    norms = expected.state_changes[0].norm(dim=-1).detach().numpy()
    assert np.allclose(seen.change_norms, norms, rtol=1e-4) and len(seen.change_seconds) == len(norms)
    assert np.allclose(seen.probabilities["label"].sum(axis=1), 1, atol=1e-5) and seen.moments[-1] == pytest.approx(3.9)


def test_a_method_without_objects_answers_and_shows_none(build, video):
    seen = look(build("method.name=linear_probe"), Clip("square", video))
    assert seen.attention is None and seen.change_norms is None and not len(seen.change_seconds)
    assert np.allclose(seen.probabilities["label"].sum(axis=1), 1, atol=1e-5)


def test_a_method_on_frames_is_refused_in_one_line(build, video, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "training")  # where biased_vit lies
    with pytest.raises(InputError, match="this model takes frames"):
        look(build("method.module=biased_vit"), Clip("square", video))


@pytest.mark.parametrize("interval", ["1", "all"])
def test_norms_stand_at_the_middle_of_the_frames_that_they_join(build, video, interval):
    """4 frames of 40 at 10 a second, by the model's own sampling: 4, 14, 24, 34 or so."""
    seen = look(build(f"method.interval={interval}"), Clip("square", video))
    times = np.linspace(0.5, 3.5, 4)  # s, about
    pairs = [(0, 1), (1, 2), (2, 3)] if interval == "1" else [(i, j) for i in range(4) for j in range(i + 1, 4)]
    middles = sorted({(times[i] + times[j]) / 2 for i, j in pairs})
    assert np.allclose(seen.change_seconds, middles, atol=0.2)


def test_an_earlier_answer_is_that_of_the_clip_cut_there(build, video):
    model = build()
    seen = look(model, Clip("square", video))
    assert len(seen.moments) > 3 and (np.diff(seen.moments) > 0).all()
    for moment, answer in zip(seen.moments, seen.probabilities["label"], strict=False):
        clip = read_clip(video, None, float(moment) + 0.05, model.config.sampling)
        expected = model(torch.from_numpy(clip.frames)[None]).logits["label"][0].softmax(0)
        assert np.allclose(answer, expected.detach(), atol=1e-6)


def test_the_masks_are_those_of_segment(build, video):
    model = build()
    seen = look(model, Clip("square", video))
    places = np.rint(seen.seconds * 10).astype(int)
    assert len(places) == SHOWN and places[0] == 0 and places[-1] == 39
    frames = decode_frames(video, places)[0]
    assert (seen.frames == frames).all()
    expected = segment_video(model.encoder, model.method.grouping, [frames], 32).numpy()
    assert np.allclose(seen.attention, expected, atol=1e-6)


def test_a_span_is_a_video_of_its_own(build, video, tmp_path):
    seen = look(build(), Clip("span", video, 1.0, 3.0))
    assert seen.seconds[0] == 0 and seen.seconds[-1] == pytest.approx(1.9) and len(seen.seconds) == 20
    assert (seen.frames == decode_frames(video, np.arange(10, 30))[0]).all()
    with pytest.raises(InputError, match="sampling: no frame between"):
        look(build(), Clip("span", video, 7.0, math.nan))


@pytest.mark.parametrize(
    "override, has_slots, has_changes",
    [
        ("method.slots.number=none", False, False),
        ("method.slots.number=1", False, False),
        ("method.temporal=none", True, False),
        ("method.interval=all", True, True),
        ("sampling.mode=dense", True, True),
    ],
)
def test_every_kind_of_model(build, video, override, has_slots, has_changes):
    seen = look(build(override), Clip("square", video))
    assert (seen.attention is not None) == has_slots and (seen.change_norms is not None) == has_changes
    if has_changes:
        assert seen.change_norms.shape == (len(seen.change_seconds), 3) and (np.diff(seen.change_seconds) > 0).all()
    assert np.isfinite(seen.probabilities["label"]).all() and len(seen.frames) == SHOWN


def test_one_frame_is_a_video_too(build, tmp_path):
    write_video(tmp_path / "one.mp4", np.full((1, 48, 64, 3), 90, np.uint8), 10)
    seen = look(build(), Clip("one", str(tmp_path / "one.mp4")))
    assert len(seen.frames) == len(seen.moments) == 1
    with pytest.raises(InputError, match="one: sampling: too few frames for uniform sampling"):
        look(build("sampling.short_clips=quarantine"), Clip("one", str(tmp_path / "one.mp4")))


def test_pictures_with_their_masks(build, tmp_path):
    ids = np.zeros((48, 64), np.uint8)
    ids[10:20, 30:40] = 2
    for number in range(5):
        Image.fromarray(np.full((48, 64, 3), 40 * number, np.uint8)).save(tmp_path / f"{number}.jpg")
        write_ids(tmp_path / f"{number}.png", ids)
    names = [[str(tmp_path / f"{number}.{kind}") for number in range(5)] for kind in ("jpg", "png")]
    seen = look(build(), Clip("davis", pictures=tuple(names[0]), annotations=tuple(names[1])))
    assert (seen.truth == ids).all() and seen.truth.shape == seen.frames.shape[:3]


@pytest.mark.parametrize("content", [b"", b"not a video", b"\0" * 4096, b"#EXTM3U\nfile:///etc/passwd\n"])
def test_hostile_files_are_refused_as_a_training_would(build, tmp_path, content):
    path = tmp_path / "video"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^theirs\.mp4: (open|demux|decode): .*quarantine") as refused:
        look(build(), Clip("theirs.mp4", str(path)))
    assert str(tmp_path) not in str(refused.value), "where it was written is nobody's business"
    with pytest.raises(InputError, match="theirs.mp4: open"):
        look(build(), Clip("theirs.mp4", str(tmp_path / "gone")))


def test_a_slot_has_its_colour_in_every_picture(build, video):
    seen: Seen = look(build(), Clip("square", video))
    frame = np.full((48, 64, 3), 128, np.uint8)
    attention = np.zeros((3, 6, 8), np.float32)
    attention[0], attention[1, :, 4:], attention[0, :, 4:] = 1, 1, 0  # slot 1 left, slot 2 right, slot 3 nowhere
    shown = slot_pictures.objects(frame, attention).astype(float)
    colours = palette(3).astype(float)
    for slot, column in ((1, 5), (2, -5)):  # numbers stand elsewhere
        tint = shown[5, column] - 64
        assert np.abs(tint - colours[slot] / 2).max() <= 2
    lit = slot_pictures.looked_at(frame, attention, 1, top=1.0).astype(float)
    assert np.abs(lit[5, 5] - lit[5, 5].mean()).max() <= 1, "grey where it does not look"
    assert np.argmax(lit[5, -5]) == np.argmax(colours[2]), "its colour where it does"
    assert slot_pictures.objects(seen.frames[0], seen.attention[0]).shape == (480, 640, 3)


def test_a_video_that_hangs_its_decoder_is_one_line(build, toy_root, tmp_path, monkeypatch):
    shutil.copy(toy_root / "videos" / "1000000.mp4", tmp_path / "video")
    monkeypatch.setattr(video_reader, "SECONDS", 0)  # no decoder answers at once
    with pytest.raises(InputError, match=r"^theirs\.mp4: decode: no answer within 0 s; python jobs/check_videos"):
        look(build(), Clip("theirs.mp4", str(tmp_path / "video")))
