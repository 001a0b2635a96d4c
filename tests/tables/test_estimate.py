"""The estimate before anything is spent: it grows with the work, and follows what has been measured."""

import json
from dataclasses import replace

import pytest
import torch

from objadapt.run_folder import object_scores
from objadapt.runs.object_test import ObjectTest
from objadapt.tables import estimate
from objadapt.tables.rows import Place
from objadapt.tables.table import load_table


@pytest.fixture
def place(tiny_plan, tmp_path):
    """A row of the tiny experiment, in a folder of its own."""

    def make(*overrides: str) -> Place:
        table = load_table("losses")
        plan = tiny_plan(f"output={tmp_path}", f"stream.cache={tmp_path}/features", *overrides)
        return Place(table, table.rows[0], plan.config.seed, plan)

    return make


def test_work_is_counted_by_hand(place):
    """2 epochs of 4 batches of 8 clips, forward and backward; after each, 2 batches forward."""
    plan = place().plan
    forward = plan.cost.gflops
    assert 2e-9 * estimate.work(plan) == pytest.approx(forward * (3 * 2 * 4 * 8 + 2 * 2 * 8))


def test_work_grows_with_epochs_slots_and_frames(place):
    base = estimate.work(place().plan)
    assert estimate.work(place("training.epochs=4").plan) == pytest.approx(2 * base)
    assert (
        estimate.work(place("method.slots.number=6").plan) > base
        and estimate.work(place("data.fraction=0.5").plan) < base
    )
    assert estimate.work(place("sampling.frames=8", "method.interval=1").plan) > base


def test_a_measured_rate_is_that_of_a_training_step_and_changes_no_setting(place):
    threads = torch.get_num_threads()
    found = estimate.estimate([place()], threads=1)
    assert torch.get_num_threads() == threads
    assert (
        found.runs == 1
        and found.train_seconds > 0
        and "training steps on random tokens or frames of none" in found.basis
    )
    assert found.encode_seconds > 0
    assert found.feature_bytes == (32 * 2 + 16) * 4 * 5 * 64 * 2  # clip views, T, tokens, J, float16
    twice = replace(found, runs=2, train_seconds=2 * found.train_seconds)
    assert twice.wall_seconds(2) == pytest.approx(found.wall_seconds(1))
    assert twice.wall_seconds(1) == pytest.approx(found.wall_seconds(1) + found.train_seconds)
    assert twice.wall_seconds(100) == twice.wall_seconds(2), "more at a time than there are runs brings nothing"


def test_rows_of_other_methods_and_sizes_are_measured_by_themselves(place, monkeypatch):
    """A probe, or one slot, spends its time on more than MACs: scaled by them, the others would take hours."""
    asked = []

    def rate(plan):
        method = plan.config.method
        asked.append(method.name if method.name == "linear_probe" else method.slots.number)
        return 1e-9 * len(asked)

    monkeypatch.setattr(estimate, "measured_rate", rate)
    probe = place("method.name=linear_probe").plan
    rows = [place("method.slots.number=1"), place(), place("method.slots.number=4"), place("seed=1")]
    rows.append(replace(rows[0], plan=probe))
    found = estimate.estimate(rows, threads=1)
    assert asked == [1, rows[1].plan.config.method.slots.number, "linear_probe"]
    by_hand = [estimate.work(row.plan) * rate for row, rate in zip(rows, (1e-9, 2e-9, 2e-9, 2e-9, 3e-9), strict=True)]
    assert found.train_seconds == pytest.approx(sum(by_hand))


def test_finished_runs_of_the_same_kind_are_what_is_believed(place, tmp_path):
    done, more, other = place(), place("seed=1", "training.epochs=4"), place("seed=2", "method.slots.number=2")
    done.folder.mkdir(parents=True)
    told = {"seconds": 1000.0, "evaluation": done.plan.config.evaluation.label}
    (done.folder / "summary.json").write_text(json.dumps(told))
    found = estimate.estimate([done, more], threads=1)
    assert found.runs == 1 and found.train_seconds == pytest.approx(2000)
    assert found.basis.startswith("finished runs of the same T and cost;")
    mixed = estimate.estimate([done, more, other], threads=1)
    assert mixed.runs == 2 and mixed.train_seconds > 2000 and "training steps on random tokens" in mixed.basis
    tested = estimate.estimate([done, place("evaluation.temporal_clips=3")], threads=1)  # the same run, in other views
    assert tested.runs == 1 and tested.run_bytes == 0, "nothing is trained"
    assert tested.train_seconds == pytest.approx(1000 * 48 / (3 * 2 * 4 * 8 + 2 * 2 * 8)), (
        "6 batches of 8 views, forward"
    )
    nothing = estimate.estimate([done], threads=1)
    assert nothing.runs == 0 and estimate.text(nothing, 2) == "nothing to do: every row is done"
    sequences = ObjectTest(tmp_path, (), 12 * "0")
    only_masks = estimate.estimate([replace(done, test=sequences)], threads=1)
    assert estimate.text(only_masks, 2).startswith("every row is trained; the masks of 1 runs are to be scored")
    both = estimate.estimate([replace(done, test=sequences), replace(more, test=sequences)], threads=1)
    assert both.runs == 1 and "the masks of 2 runs are to be scored" in estimate.text(both, 2)
    done.plan.folder.joinpath(object_scores(sequences.key)).touch()
    assert estimate.estimate([replace(done, test=sequences)], threads=1).to_score == 0
    masks = estimate.estimate([done], 1, ("k-means", "grid"))
    assert estimate.text(masks, 2).startswith("every row is trained; the masks of k-means, grid are to be scored")
