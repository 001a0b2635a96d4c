"""Runs by name: the newest finished one, by link and by look-up; and what a training command says it is about to do."""

import json
import os

import pytest

from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.runs.earlier import write_run
from objadapt.runs.names import find_checkpoint, lead_to, link_of, run_name, runs_of
from objadapt.runs.standing import differences, standing_text
from objadapt.training import checkpoint

HASHES = "0123456789ab", "0123ffffffff", "cafe00000000"


def run_folder(output, name: str, identity: str, at: float, seed: int = 0, finished: bool = True):
    folder = output / "runs" / f"{name}-seed{seed}-{identity}"
    (folder / "last").mkdir(parents=True)
    (folder / "last" / "state.json").write_text("{}")
    if finished:
        (folder / "summary.json").write_text("{}")
    for path in (folder / "summary.json", folder / "last", folder):
        if path.exists():
            os.utime(path, (at, at))
    return folder


@pytest.fixture
def runs(tmp_path):
    old = run_folder(tmp_path, "mine", HASHES[0], at=1000)
    new = run_folder(tmp_path, "mine", HASHES[1], at=2000, seed=1)
    cut_off = run_folder(tmp_path, "mine", HASHES[2], at=3000, finished=False)
    return old, new, cut_off


def test_a_name_is_its_newest_finished_run(runs, tmp_path):
    old, new, cut_off = runs
    assert runs_of(tmp_path, "mine") == [cut_off, new, old]
    assert find_checkpoint("mine", tmp_path) == new / "last"
    assert find_checkpoint(HASHES[0], tmp_path) == find_checkpoint("01234", tmp_path) == old / "last"
    for given in (old, old / "last"):
        assert find_checkpoint(str(given), tmp_path) == old / "last"
    lead_to(old)
    assert find_checkpoint(str(tmp_path / "runs" / "mine"), tmp_path).resolve() == old / "last"
    assert runs_of(tmp_path) == [cut_off, new, old], "a link is no run"


def test_a_link_leads_to_the_run_that_finished_last_and_moves_with_the_folder(runs, tmp_path):
    old, new, _ = runs
    lead_to(new)
    lead_to(old)
    link = tmp_path / "runs" / "mine"
    assert link_of(old) == link and link_of(new) is None and os.readlink(link) == old.name
    moved = tmp_path / "elsewhere"
    (tmp_path / "runs").rename(moved)
    assert (moved / "mine" / "last" / "state.json").exists()
    assert sorted(path.name for path in moved.iterdir()) == sorted([*(one.name for one in runs), "mine"])


def test_what_has_the_name_already_is_left_alone(runs, tmp_path):
    (tmp_path / "runs" / "mine").mkdir()
    (tmp_path / "runs" / "mine" / "notes.txt").touch()
    lead_to(runs[0])
    assert link_of(runs[0]) is None and (tmp_path / "runs" / "mine" / "notes.txt").exists()
    assert find_checkpoint("mine", tmp_path) == runs[1] / "last"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mime", "has no run of that name or hash; did you mean mine"),
        ("something", "there are mine"),
        ("0123", "2 runs have a hash that begins with 0123"),
    ],
)
def test_what_leads_nowhere_is_said(runs, tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        find_checkpoint(text, tmp_path)
    with pytest.raises(InputError, match="there is no run"):
        find_checkpoint(text, tmp_path / "empty")


@pytest.mark.parametrize("text", ["a" * 5000, "a/" + "b" * 300, "/tmp/" + "b" * 300, "a/" * 3000])
def test_a_name_that_no_path_can_have(tmp_path, text):
    with pytest.raises(InputError, match="^checkpoint: .*is longer than a path may be"):
        find_checkpoint(text, tmp_path)


def test_a_run_that_is_not_finished_is_named(tmp_path):
    folder = run_folder(tmp_path, "mine", HASHES[0], at=1000, finished=False)
    with pytest.raises(InputError, match=f"{folder} is not finished; the same training command goes on"):
        find_checkpoint("mine", tmp_path)


def test_an_mlflow_run_is_called_by_what_differs_from_the_defaults():
    assert run_name(load_config(None, ["name=mine", "seed=3"])) == "mine, seed 3"
    named = run_name(load_config(None, ["name=mine", "training.lr=0.001", "method.slots.number=4", "output=x"]))
    assert named == "mine, seed 0: number=4 lr=0.001"
    assert len(run_name(load_config(None, ["name=" + "x" * 300]))) == 200


def test_a_command_says_whether_it_begins_goes_on_or_is_done(tiny_plan, tmp_path):
    where = [f"output={tmp_path}", "name=mine"]
    plan = tiny_plan(*where)
    assert standing_text(plan) == "starts"
    write_run(plan)
    (plan.folder / "config.yaml").write_text(plan.config.to_yaml())
    state = checkpoint.State(
        plan.config.model_dump(mode="json"), plan.manifest.classes, 64, plan.backbone_hash, 1, 2, 4180
    )
    checkpoint.save(plan.folder / "last", plan.method(), None, state)
    assert standing_text(plan) == "goes on from epoch 1 of 2, step 4,180"

    changed = tiny_plan(*where, "training.lr=0.01", "method.slots.number=5", "stream.hold=true")
    said = standing_text(changed)
    assert said == (
        "starts anew: method.slots.number 5 (was 3), stream.views 2 (was at its default), training.lr 0.01 (was 0.001),"
        f" unlike {plan.folder.name}"
    )
    record = json.loads((plan.folder / "run.json").read_text()) | {"manifest_hash": "other"}
    (plan.folder / "run.json").write_text(json.dumps(record))
    assert differences(plan, plan.folder) == ["the clips"]
    (plan.folder / "config.yaml").write_text("method: {width: many}")
    assert differences(plan, plan.folder) == [], "what cannot be read tells nothing"
    (plan.folder / "summary.json").write_text("{}")
    assert standing_text(plan) == "is finished; delete its folder to train it again"
