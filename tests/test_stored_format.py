"""What earlier versions wrote is read, what newer ones wrote is refused by name, and what is damaged is called so.

The stored example (tests/examples/README.md) is of format 1; it is read where it lies, or copied where reading writes.
"""

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dashboards import folder_store, run_files
from objadapt import __version__, stored_format
from objadapt.config_file import validate
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError
from objadapt.methods.build import build_method
from objadapt.pipeline.cache import open_cache
from objadapt.pipeline.cache_folder import Contents, read_record, write_record
from objadapt.plan import Plan, plan
from objadapt.runs.earlier import Earlier, earlier
from objadapt.runs.evaluate import declare, evaluate_checkpoint
from objadapt.runs.run import run_experiment, stored_summary
from objadapt.training import checkpoint
from objadapt.training.loop import build_optimiser

PLATFORM = Path(__file__).resolve().parents[1] / "platform"
EXAMPLE = Path(__file__).parent / "examples" / "format_1"
(RUN,) = (EXAMPLE / "runs").iterdir()
(CACHE,) = (EXAMPLE / "features").iterdir()


@pytest.fixture
def example(tmp_path) -> Path:
    """A copy that can be written into."""
    return shutil.copytree(EXAMPLE, tmp_path / "example")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """`tiny_weights` as they were drawn where the example was written: MKL draws others on other processors."""
    path = tmp_path_factory.mktemp("weights") / "test_vit.pt"
    environment = os.environ | {"MKL_CBWR": "COMPATIBLE", "PYTHONPATH": str(PLATFORM)}
    subprocess.run([sys.executable, Path(__file__).parent / "tiny_weights.py", path], env=environment, check=True)
    return path


@pytest.fixture
def here(example, weights) -> list[str]:
    """Overrides that say where the example's files are."""
    places = {"output": example, "data.root": example / "data", "stream.cache": example / "features"}
    return [f"{key}={place}" for key, place in places.items()] + [f"backbone.weights={weights}"]


@pytest.fixture
def again(example, weights, tmp_path) -> Plan:
    """The example's run, planned by the code of today."""
    tree = stored_format.current_config(yaml.safe_load((RUN / "config.yaml").read_text()), 1)
    tree |= {"output": str(example), "data": tree["data"] | {"root": str(example / "data")}}
    tree["backbone"]["weights"] = str(weights)
    tree["stream"]["cache"] = str(example / "features")
    tree["tracking"]["uri"] = f"sqlite:///{tmp_path}/mlflow.db"
    config = validate(tree)
    return plan(config, build_manifest(config.data, config.seed))


def test_the_keys_of_a_config_of_format_1_become_those_of_format_2():
    tree = {
        "seed": 3,
        "model": {"width": 16, "num_slots": 2, "iterations": 1, "slot_mlp": True, "implicit": False, "interval": "all"},
        "objective": {
            "classification": 0.5,
            "distillation": {"weight": 0},
            "temporal": {"margin": 0.1},
            "mask_overlap": 0,
        },
    }
    before = json.dumps(tree)
    slots = {"number": 2, "iterations": 1, "mlp": True, "implicit": False}
    method = {"width": 16, "interval": "all", "slots": slots, "losses": tree["objective"]}
    assert stored_format.migrate_config(tree) == {"seed": 3, "method": method}
    assert json.dumps(tree) == before, "what is given stays as it is"
    assert stored_format.migrate_config({"model": {"num_slots": "none"}}) == {"method": {"slots": {"number": "none"}}}
    assert stored_format.migrate_config({"model": {"heads": 2}}) == {"method": {"heads": 2}}
    assert stored_format.migrate_config({"objective": {"classification": 1}}) == {
        "method": {"losses": {"classification": 1}}
    }
    for done in ({"seed": 3}, {"method": method}):
        assert stored_format.migrate_config(done) == done


def test_a_checkpoint_of_format_1_is_loaded_whole():
    state = checkpoint.read_state(RUN / "last")
    config = validate(state.config)
    assert (config.name, config.training.lr, config.sampling.frames, state.epoch) == ("tiny", 1e-3, 2, 2)
    adapter = build_method(config, {head: len(names) for head, names in state.classes.items()}, state.joint_width)
    optimiser = build_optimiser(adapter, config.training)
    assert checkpoint.load(RUN / "last", adapter, optimiser) == state and optimiser.state_dict()["state"]
    assert checkpoint.load(RUN / "best", adapter).best == state.best


def test_a_checkpoint_is_written_with_its_number(tmp_path):
    state = checkpoint.read_state(RUN / "last")
    adapter = build_method(validate(state.config), {"label": 2}, state.joint_width)
    checkpoint.save(tmp_path / "last", adapter, None, state)
    written = json.loads((tmp_path / "last" / "state.json").read_text())
    assert (written["format"], written["objadapt"]) == (2, __version__) == tuple(stored_format.marks().values())
    assert checkpoint.read_state(tmp_path / "last") == state


def test_a_run_of_format_1_is_shown():
    run = folder_store.read_run(RUN)
    assert run.finished and run.problem is None and run.summary["top1"] == 0.5
    clips, classes = run_files.read_clips(RUN)
    assert classes == {"label": ["left", "right"]} and len(clips) == 2 and set(clips["true"]) == {"left", "right"}
    records = run_files.read_records(RUN / "records.jsonl")
    assert (len(records.epochs), len(records.steps), records.status, records.damaged) == (2, 4, "FINISHED", 0)
    assert run_files.read_quarantine(RUN).empty


def test_a_run_and_a_cache_of_format_1_are_evaluated(example, here):
    look = declare(str(RUN / "last"), here)
    assert look.cache is not None and look.cache.folder == example / "features" / CACHE.name
    summary, clips = evaluate_checkpoint(look)
    assert summary["features"] == "cache" and summary["top1"] == 0.5 and len(clips) == 2
    stored = {clip["clip_id"]: clip for clip in run_files.read_clips(RUN)[0].to_dict("records")}
    for clip in clips:
        assert clip["heads"]["label"]["top"][0] == stored[clip["clip_id"]]["predicted"]
        top = max(clip["heads"]["label"]["probabilities"])
        assert top == pytest.approx(stored[clip["clip_id"]]["probability"], abs=1e-4)


def test_a_run_of_format_1_is_trained_anew_and_that_is_said(again, example, caplog):
    old = example / "runs" / RUN.name
    assert again.folder != old and earlier(again) == Earlier(old, "modules changed (format 1 does not name them)")
    with caplog.at_level(logging.WARNING):
        run_experiment(again, "c0ffee")
    assert f"modules changed (format 1 does not name them) since {old}: trained anew" in caplog.text
    record = stored_format.read_run(again.folder)
    assert (record["format"], record["identity"], record["method"]) == (2, again.identity, again.method_sources)

    other = again.folder.rename(again.folder.with_name(again.folder.name[:-12] + "0" * 12))
    shutil.rmtree(old)
    assert earlier(again) is None, "the same version"
    changed = record["method"] | {name: "before" for name in record["method"] if name.endswith("slot_attention")}
    (other / "run.json").write_text(json.dumps(record | {"method": changed}))
    found = earlier(again)
    assert found.folder == other and found.why.endswith("/slot_attention.py changed") and ";" not in found.why
    (other / "summary.json").unlink()
    assert earlier(again) is None and earlier(again, finished=False) == found, "one that was cut off"


def newer(path: Path, **more) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | {"format": 3, "new": [1]} | more))


@pytest.mark.parametrize("more, use", [({"objadapt": "0.9.0"}, "objadapt >= 0.9.0"), ({}, "a newer objadapt")])
def test_what_a_newer_version_wrote_is_refused_with_the_version_that_reads_it(more, use, example, again):
    said = rf"written by a newer objadapt \(format 3\); this one reads up to 2; use {use}$"
    last, cache = example / "runs" / RUN.name / "last", example / "features" / CACHE.name
    newer(last / "state.json", **more)
    with pytest.raises(InputError, match=f"^checkpoint .*{said}"):
        checkpoint.read_state(last)
    newer(cache / "cache.json", **more)
    with pytest.raises(InputError, match=said):
        open_cache(cache.parent, again.cache_key, again.contents)
    again.folder.mkdir()
    newer(again.folder / "run.json", **more)
    with pytest.raises(InputError, match=said):
        stored_summary(again)
    shown = folder_store.read_run(again.folder)
    assert not shown.finished and shown.problem.endswith(use) and str(again.folder) in shown.problem


def test_a_cache_is_written_with_its_number_under_the_key_that_it_had(again, tmp_path):
    assert again.cache_key == CACHE.name, "a new number makes no cache useless"
    write_record(tmp_path, again.cache_key, Contents((2,), 1, 1, 1), 5, 64, 4, {})
    assert read_record(tmp_path).items() >= stored_format.marks().items()
    assert read_record(CACHE)["format"] == 1


def test_a_cache_of_another_model_name_with_the_same_weights_serves_nobody(again):
    """The name decides normalisation and activation; one file under two names read one cache."""
    there = read_record(CACHE)["contents"]
    assert there.backbone == "timm test_vit" == again.contents.backbone and there.lacks(again.contents) is None
    other = dataclasses.replace(again.contents, backbone="timm test_vit2")
    assert there.lacks(other) == "it is of the backbone timm test_vit, not timm test_vit2, with the same weights"
    with pytest.raises(InputError, match="no cache of .* can serve this .*not timm test_vit2"):
        open_cache(CACHE.parent, again.cache_key, other)


def test_a_file_with_a_number_is_read_if_it_is_not_newer(tmp_path):
    path = tmp_path / "mark.json"
    assert stored_format.read_marked(path, "delete it") == {}, "there is none"
    for content in ({"run_id": "a"}, {"run_id": "a"} | stored_format.marks()):
        path.write_text(json.dumps(content))
        assert stored_format.read_marked(path, "delete it") == content
    newer(path, objadapt="0.9.0")
    with pytest.raises(InputError, match=r"mark\.json: written by a newer objadapt .*; use objadapt >= 0\.9\.0$"):
        stored_format.read_marked(path, "delete it")
    path.write_text("[1]")
    with pytest.raises(InputError, match=r"mark\.json: damaged, not a JSON object; delete it$"):
        stored_format.read_marked(path, "delete it")


@pytest.mark.parametrize("config", [None, [1], "x", 3])
def test_a_state_whose_config_is_no_mapping_is_damaged(tmp_path, config):
    state = {
        "format": stored_format.FORMAT,
        "config": config,
        "classes": {"label": ["a"]},
        "joint_width": 8,
        "backbone_hash": "0",
    }
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match="state.json is damaged; use another checkpoint"):
        checkpoint.read_state(tmp_path)
    (tmp_path / "state.json").write_text("[" * 10**5)
    with pytest.raises(InputError, match="state.json is damaged; use another checkpoint"):
        checkpoint.read_state(tmp_path)


def test_damaged_is_said_of_what_is_damaged_alone(example):
    last, cache, run = (
        example / "runs" / RUN.name / "last",
        example / "features" / CACHE.name,
        example / "runs" / RUN.name,
    )
    readers = {
        last / "state.json": lambda: checkpoint.read_state(last),
        cache / "cache.json": lambda: read_record(cache),
        run / "run.json": lambda: stored_format.read_run(run),
    }
    for path, read in readers.items():
        for content in ("{", "[1]", '{"format": "two"}', '{"format": 0}'):
            path.write_text(content)
            with pytest.raises(InputError, match="damaged"):
                read()
        path.unlink()
        path.mkdir()  # a folder in its place: not damage, and root reads every file, whatever its rights
        with pytest.raises(InputError, match="Is a directory") as caught:
            read()
        assert "damaged" not in str(caught.value).replace(str(example), "")
