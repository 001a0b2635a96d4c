"""The relatives by the platform's own jobs: trained, named, looked at by their commands, asked about a whole video."""

import json
from pathlib import Path

import pytest
from PIL import Image

from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt_relatives.concepts.pictures import draw
from objadapt_relatives.representation import represent
from objadapt_relatives.streaming_memory.ask import ask
from objadapt_relatives.streaming_memory.needle import needle

pytestmark = pytest.mark.slow

SETTINGS = {
    "dclr": ["width=8"],
    "concepts": ["width=8", "concepts=4", "frozen_steps=2", "contrast_from=3"],
    "streaming_memory": ["width=16", "selected=1"],
}


@pytest.fixture(scope="module")
def runs(run_job, tiny_config, local_ray, tmp_path_factory) -> dict:
    """Name -> summary of a training of each method by jobs/train.py."""
    found = {}
    for name, settings in SETTINGS.items():
        output = tmp_path_factory.mktemp(name)
        overrides = [
            f"method.module=objadapt_relatives.{name}",
            f"output={output}",
            "tracking.uri=null",
            f"name={name}",
        ]
        overrides += [f"method.settings.{setting}" for setting in settings]
        done = run_job("train", "--config", tiny_config, "--json", output / "summary.json", *overrides)
        assert done.code == 0, done.err
        found[name] = json.loads((output / "summary.json").read_text()) | {
            "checkpoint": output / "runs" / name / "last"
        }
    return found


def test_they_are_trained_and_named(runs):
    for name, summary in runs.items():
        assert summary["method"] == f"objadapt_relatives.{name}" and 0 <= summary["top1"] <= 1


@pytest.mark.parametrize("name", ["dclr", "concepts"])
def test_a_representation_is_looked_at(runs, name):
    found = represent(runs[name]["checkpoint"], [])
    assert (found["training_clips"], found["validation_clips"]) == (32, 16)
    assert 0 <= found["recall_at_1"] <= found["recall_at_5"] <= found["recall_at_10"] <= 1
    assert all(0 <= found[f"{kind}_probe"] <= 1 for kind in ("motion", "scene", "colours"))
    frozen = {key: value for key, value in found.items() if key.startswith("frozen_")}
    assert len(frozen) == 6 and frozen == {
        key: value for key, value in represent(runs["dclr"]["checkpoint"], []).items() if key in frozen
    }, "what the backbone knows is no matter of the method"


def test_a_finetuning_begins_with_a_finished_encoder(run_job, tiny_config, runs, tmp_path):
    begun = f"method.settings.encoder={runs['dclr']['checkpoint']}"
    common = ["method.module=objadapt_relatives.dclr", f"output={tmp_path}", "tracking.uri=null"]
    tuned = ["method.settings.stage=finetune", "method.settings.width=8", begun]
    done = run_job("train", "--config", tiny_config, *common, *tuned)
    assert done.code == 0, done.err
    refused = run_job("train", "--config", tiny_config, *common, "method.settings.stage=probe")
    assert refused.code == 2 and "a probe needs `encoder`" in refused.err.splitlines()[-1]


def test_a_whole_video_is_asked_about_and_encoded_once(runs, toy_root, tmp_path):
    videos = [str(path) for path in sorted((toy_root / "videos").glob("*.mp4"))[:2]]
    checkpoint, folder = runs["streaming_memory"]["checkpoint"], tmp_path / "history"
    found = ask(checkpoint, videos[0], 0.08, folder)
    assert found["clips"] == 6  # 12 frames at 12 a second
    (answer,) = found["answers"]
    assert len(answer["best"]) == 3 and sum(one["share"] for one in answer["best"]) <= 1 + 1e-6
    (segment,) = answer["segments"]
    assert segment["end_s"] - segment["start_s"] == pytest.approx(1 / 6, abs=1e-5) and 0 <= segment["start_s"] < 1
    written = (folder / "summaries.f32").stat().st_mtime_ns
    assert ask(checkpoint, videos[0], 0.08, folder) == found
    assert (folder / "summaries.f32").stat().st_mtime_ns == written, "asked again, it is not encoded anew"
    with pytest.raises(InputError, match="give another folder"):
        ask(checkpoint, videos[1], 0.08, folder)
    for every, message in (
        (5.0, "--every: 5 s is longer than .*, which has 1.00 s"),
        (1e300, "--every: 1e[+]300 s is"),
    ):
        with pytest.raises(InputError, match=message):
            ask(checkpoint, videos[0], every, tmp_path / "longer")
    (answer,) = ask(checkpoint, videos[0], 0.45, tmp_path / "few")["answers"]  # of 0, 0.42 and 0.83 s
    assert all(0 <= one["start_s"] < one["end_s"] <= 1 for one in answer["segments"]), "none ends behind the video"
    with pytest.raises(InputError, match="is not of objadapt_relatives.streaming_memory"):
        ask(runs["dclr"]["checkpoint"], videos[0], 0.08, tmp_path / "other")


def test_pictures_of_concepts(runs, toy_root, tmp_path):
    videos = [str(path) for path in sorted((toy_root / "videos").glob("*.mp4"))[:3]]
    assert draw(runs["concepts"]["checkpoint"], videos, tmp_path, columns=2) == 8
    assert Image.open(tmp_path / "dynamic-03.png").size == (64, 32)
    with pytest.raises(InputError, match="is no pretraining"):
        draw(runs["dclr"]["checkpoint"], videos, tmp_path, columns=2)


def test_a_needle_is_asked_for_in_clips_strung_together(runs, tiny_config, toy_root):
    config = load_config(Path(tiny_config), [])
    for name, said in (
        ("streaming_memory", "has method.settings.selected=1; train one with 2"),
        ("dclr", "is of method objadapt_relatives.dclr"),
    ):
        with pytest.raises(InputError, match=f"--begin: .* ({said})"):
            needle(config, 4, range(1), runs[name]["checkpoint"])
    found = needle(config, 4, range(2))
    again = needle(config, 4, range(1))
    assert set(found) == {"adaptive", "last"} and all(len(values["answer"]) == 2 for values in found.values())
    assert all(0 <= share <= 1 for runs in found.values() for values in runs.values() for share in values)
    assert abs(found["last"]["found"][0] - 0.2) < 0.08, "the last clip is the needle in one video of five"
    assert again["last"]["answer"][0] == found["last"]["answer"][0], "a function of the seed alone"
