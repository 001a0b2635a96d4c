"""jobs/segment.py: masks of a DAVIS folder and of any videos from a checkpoint, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from objadapt.backbone import build_backbone
from objadapt.config_file import load_config
from objadapt.data import toy
from objadapt.data.davis import davis_sequences, read_ids
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter
from objadapt.training import checkpoint


@pytest.fixture(scope="module")
def random_checkpoint(tiny_config, tmp_path_factory):
    """`random_checkpoint("method.slots.number=4", ...)`: a checkpoint of the tiny experiment that never learned
    anything.
    """

    def make(*overrides: str) -> Path:
        config = load_config(tiny_config, overrides)
        encoder, classes = build_backbone(config.backbone), {"label": ["a", "b"]}
        torch.manual_seed(3)
        adapter = ObjectCentricAdapter(config.method, {"label": 2}, encoder.joint_width, config.sampling.frames)
        state = checkpoint.State(config.model_dump(mode="json"), classes, encoder.joint_width, encoder.weights_hash)
        checkpoint.save(folder := tmp_path_factory.mktemp("run") / "last", adapter, None, state)
        return folder

    return make


@pytest.fixture(scope="module")
def last(random_checkpoint) -> Path:
    return random_checkpoint()


@pytest.fixture(scope="module")
def toy_davis(tmp_path_factory) -> Path:
    """Object Actions with two DAVIS sequences of 4 frames of 64 x 64."""
    root = tmp_path_factory.mktemp("toy")
    (root / "videos").mkdir()
    for number in range(2):
        toy.write_clip(
            root, toy.Options(train=16, validation=16, resolution=64, length=4, davis=2), "validation", number
        )
    (root / "davis" / "ImageSets" / "2017").mkdir(parents=True)
    (root / "davis" / "ImageSets" / "2017" / "val.txt").write_text("1000000\n1000001\n")
    return root


def refused(done, *named: str) -> None:
    assert done.code == 2 and done.err.startswith("error: ") and done.err.count("\n") == 1, done.out + done.err
    assert all(name in done.err for name in named), done.err


@pytest.mark.slow
def test_a_davis_folder(run_job, last, toy_davis, local_ray, tmp_path):
    out = tmp_path / "masks"
    command = ("segment", "--checkpoint", last, "--davis", toy_davis / "davis", "--out", out)
    done = run_job(*command, "--json", tmp_path / "s.json", "--soft", "--pictures")
    assert done.code == 0, done.err
    assert "8 frames of 2 videos (0 were there), 0 quarantined\n" in done.out and "ids 1 .. 3\n" in done.out
    for sequence in davis_sequences(toy_davis / "davis"):
        assert [path.name for path in sequence.annotations] == sorted(
            path.name for path in (out / sequence.name).glob("*.png")
        )
        for path in sequence.annotations:
            ids = read_ids(out / sequence.name / path.name)
            assert ids.shape == read_ids(path).shape and set(np.unique(ids)) <= {1, 2, 3}
            assert np.load(out / sequence.name / f"{path.stem}.npz")["masks"].shape == (3, 64, 64)
        assert (out / "pictures" / f"{sequence.name}.mp4").exists()
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["settings"]["resolution"] == 32  # transform.size of the tiny experiment
    again = run_job(*command)
    assert again.code == 0 and "8 frames of 2 videos (2 were there), 0 quarantined\n" in again.out
    refused(run_job(*command, "--flip"), "--out", "flip False (now True)", "give a new folder")


@pytest.mark.slow
def test_a_folder_of_videos_some_of_them_broken(run_job, last, shared, toy_davis, local_ray, tmp_path):
    (tmp_path / "videos" / "deep").mkdir(parents=True)
    shutil.copy(toy_davis / "videos" / "1000000.mp4", tmp_path / "videos" / "deep" / "good.mp4")
    shutil.copy(shared / "hostile" / "text_renamed.mp4", tmp_path / "videos" / "bad.mp4")
    done = run_job(
        "segment",
        "--checkpoint",
        last,
        "--video",
        tmp_path / "videos",
        "--out",
        tmp_path / "masks",
        "--json",
        tmp_path / "s.json",
        "--stride",
        "3",
        "--baseline",
        "grid",
        "--slots",
        "4",
        "--resolution",
        "48",
    )
    assert done.code == 0, done.err
    assert "2 frames of 1 videos (0 were there), 1 quarantined\n" in done.out and "bad: open: " in done.out
    names = sorted(path.name for path in (tmp_path / "masks" / "deep" / "good").iterdir())
    assert names == ["00000.png", "00003.png"]
    assert set(np.unique(read_ids(tmp_path / "masks" / "deep" / "good" / "00003.png"))) == {1, 2, 3, 4}
    assert [one["name"] for one in json.loads((tmp_path / "s.json").read_text())["quarantined"]] == ["bad"]
    alone = run_job(
        "segment", "--checkpoint", last, "--video", tmp_path / "videos" / "bad.mp4", "--out", tmp_path / "other"
    )
    refused(alone, "bad.mp4: no video could be segmented", "open: ")


@pytest.mark.parametrize(
    "options, named",
    [
        (("--stride", "0"), ("--stride", "use 1")),
        (("--slots", "4"), ("--slots", "--baseline")),
        (("--baseline", "grid", "--flip"), ("--flip", "--baseline")),
        (("--baseline", "kmeans", "--slots", "0"), ("--slots", "below 1")),
        (("--baseline", "grid", "--slots", "255"), ("--slots", "254")),
        (("--drop-background", "3"), ("--drop-background", "0 .. 2")),
        (("--drop-background", "-1"), ("--drop-background", "0 .. 2")),
        (("--sequences", "nowhere.txt"), ("nowhere.txt", "No such file")),
        (("method.slotss=3",), ("method.slotss", "unknown key")),
        (("backbone.weights=nowhere.pt",), ("backbone.weights", "nowhere.pt")),
        (("method.slots.number=5",), ("does not fit this config",)),
        (("stream.encoder_gpus=64",), ("stream", "GPU")),
    ],
)
def test_impossible_options(run_job, last, toy_davis, local_ray, tmp_path, options, named):  # noqa: PLR0913 -- fixtures and parameters
    done = run_job(
        "segment", "--checkpoint", last, "--davis", toy_davis / "davis", "--out", tmp_path / "masks", *options
    )
    refused(done, *named)
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("slots", ["1", "none"])
def test_a_checkpoint_without_slots(run_job, random_checkpoint, toy_davis, tmp_path, slots):
    overrides = f"method.slots.number={slots}", "method.losses.temporal.weight=0", "method.losses.distillation.weight=0"
    folder = random_checkpoint(*overrides)
    command = ("segment", "--checkpoint", folder, "--davis", toy_davis / "davis", "--out", tmp_path / "masks")
    refused(run_job(*command), f"checkpoint {folder}: has no slots (method.name=object_centric)", "--baseline")
    refused(run_job(*command, "--baseline", "kmeans"), "--slots", "say how many")


def test_what_is_not_there(run_job, last, toy_davis, tmp_path):
    out = ("--out", tmp_path / "masks")
    refused(run_job("segment", "--checkpoint", tmp_path, "--davis", toy_davis / "davis", *out), "no state.json there")
    refused(run_job("segment", "--checkpoint", last, "--davis", tmp_path / "no", *out), "no such folder")
    refused(run_job("segment", "--checkpoint", last, "--video", tmp_path / "no", *out), "--video", "does not exist")
    (tmp_path / "empty").mkdir()
    refused(run_job("segment", "--checkpoint", last, "--video", tmp_path / "empty", *out), "--video", "holds no video")
    for suffix in (".mp4", ".webm"):
        shutil.copy(toy_davis / "videos" / "1000000.mp4", tmp_path / "empty" / f"same{suffix}")
    refused(
        run_job("segment", "--checkpoint", last, "--video", tmp_path / "empty", *out),
        "would share a folder",
        "rename one",
    )
    listed = run_job("segment", "--checkpoint", last, "--video", tmp_path / "empty", "--sequences", "x.txt", *out)
    refused(listed, "--sequences", "--davis")


@pytest.mark.parametrize("command", ["segment", "propagate", "evaluate", "predict", "export"])
def test_every_command_takes_a_run_by_its_name_and_its_folder(run_job, last, tmp_path, command):
    """What each refuses next shows that it has found the checkpoint."""
    run = tmp_path / "runs" / "mine-seed0-0123456789ab"
    shutil.copytree(last, run / "last")
    (run / "summary.json").write_text("{}")
    rest = {
        "segment": ["--video", tmp_path / "no", "--out", tmp_path / "masks"],
        "propagate": ["--davis", tmp_path / "no", "--out", tmp_path / "masks"],
        "predict": [tmp_path / "no"],
        "export": ["--output", tmp_path / "runs"],
    }
    for given in ("mine", run):
        asked = [given] if command == "evaluate" else ["--checkpoint", given]
        wrong = "data.root=/nowhere" if command == "evaluate" else "backbone.weights=/nowhere.pt"
        done = run_job(command, *asked, *rest.get(command, []), f"output={tmp_path}", wrong)
        refused(done, "nowhere" if command not in ("export", "predict") else "")
        assert "checkpoint" not in done.err and "state.json" not in done.err, done.err
    unknown = ["other"] if command == "evaluate" else ["--checkpoint", "other"]
    refused(run_job(command, *unknown, *rest.get(command, []), f"output={tmp_path}"), "'other' is no folder")


def test_masks_without_frames(run_job, last, toy_davis, tmp_path):
    shutil.copytree(toy_davis / "davis", tmp_path / "davis")
    shutil.rmtree(tmp_path / "davis" / "JPEGImages" / "480p" / "1000001")
    command = ("segment", "--checkpoint", last, "--davis", tmp_path / "davis", "--out", tmp_path / "masks")
    refused(run_job(*command), "1000001 has masks but no frames", "--sequences")


def test_relative_paths_under_a_submitted_job(run_job, last, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    refused(
        run_job("segment", "--checkpoint", last, "--davis", "davis", "--out", tmp_path), "--davis: 'davis' is relative"
    )
