"""A sweep's study as the results app reads it: nothing written, no running sweep disturbed, the Pareto front right."""

import hashlib
import json
import random
import re
import sqlite3

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from dashboards import sweep_charts
from dashboards.study_file import SweepFile, read_sweep
from objadapt.errors import InputError
from objadapt.sweeps.study import COST

SPACE = {
    "method.width": optuna.distributions.CategoricalDistribution([64, 128]),
    "training.lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
}


def trial(
    value: float | None, cost: float | None, state: TrialState = TrialState.COMPLETE, lr: float = 1e-3, width: int = 64
):
    attrs = {} if cost is None else {COST: cost, "run": "a-run"}
    params = {"method.width": width, "training.lr": lr}
    return create_trial(state=state, value=value, params=params, distributions=SPACE, user_attrs=attrs)


@pytest.fixture
def study(tmp_path) -> optuna.Study:
    """A study in a sweep's folder, with trials of every kind."""
    (tmp_path / "records.jsonl").write_text(
        json.dumps({"time": 1, "kind": "start", "name": "s", "tags": {"metric": "top1"}}) + "\n"
    )
    made = optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="s", direction="maximize")
    for number, (value, cost) in enumerate([(0.2, 1.0), (0.5, 3.0), (0.4, 2.0), (0.3, 2.5), (0.45, 3.5)]):
        made.add_trial(trial(value, cost, lr=1e-4 * (number + 1), width=64 if number % 2 else 128))
    made.add_trial(trial(None, None, TrialState.FAIL))
    made.add_trial(trial(None, None, TrialState.RUNNING))
    made.set_user_attr("reasons", {"5": "its process died"})
    return made


def content(folder) -> tuple:
    return tuple((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(folder.iterdir()))


def test_reading_leaves_the_folder_as_it_is(study, tmp_path):
    before = content(tmp_path)
    found = read_sweep(tmp_path)
    assert content(tmp_path) == before, "a file came, went or changed"
    assert found.metric == "top1" and len(found.trials()) == 7 and len(found.trials(TrialState.RUNNING)) == 1
    table = found.table()
    assert (
        table["top1"].tolist()[:5] == [0.2, 0.5, 0.4, 0.3, 0.45] and table["reason"].tolist()[5] == "its process died"
    )
    assert table["method.width"].tolist()[:2] == [128, 64]


def test_a_parameter_of_numbers_and_words_is_a_column_of_words():
    study = optuna.create_study()
    for value in (1, "all"):
        space = {"method.interval": optuna.distributions.CategoricalDistribution([1, "all"])}
        study.add_trial(create_trial(value=0.5, params={"method.interval": value}, distributions=space))
    assert SweepFile(study, "top1", {}).table()["method.interval"].tolist() == ["1", "all"], (
        "a browser's table takes one type"
    )


def test_a_sweep_that_runs_is_seen_and_not_held_up(study, tmp_path):
    held = [read_sweep(tmp_path)]
    study.add_trial(trial(0.9, 4.0))  # the reader must hold no lock
    held.append(read_sweep(tmp_path))
    assert [len(one.trials(TrialState.COMPLETE)) for one in held] == [5, 6]
    writer = sqlite3.connect(tmp_path / "study.db")
    writer.execute("BEGIN IMMEDIATE")  # a write in the middle of being made
    assert len(read_sweep(tmp_path).trials()) == 8
    writer.rollback()
    writer.close()


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_front_is_what_no_trial_beats(direction):
    """Against all pairs."""
    rng = random.Random(0)
    study, sign = optuna.create_study(direction=direction), 1 if direction == "maximize" else -1
    for _ in range(60):
        study.add_trial(trial(rng.randrange(8) / 8, float(rng.randrange(6))))
    front = SweepFile(study, "top1", {}).front()
    points = {row.trial: (sign * row.top1, -getattr(row, COST)) for row in front.itertuples()}

    def beaten(one: int) -> bool:
        value, cost = points[one]
        return any(v >= value and c >= cost and (v, c) != (value, cost) for v, c in points.values())

    chosen = set(front.loc[front["front"], "trial"])
    assert chosen == {one for one in points if not beaten(one)} and len(chosen) > len({points[one] for one in chosen})


def test_figures_of_a_study_with_failed_and_running_trials(study, tmp_path):
    sweep = read_sweep(tmp_path)
    assert sweep_charts.varied(sweep) == ["method.width", "training.lr"]
    for draw in (sweep_charts.history, sweep_charts.parallel, sweep_charts.slices, sweep_charts.cost):
        assert draw(sweep).data, draw.__name__
    assert list(sweep_charts.history(sweep).data[1].y) == [0.2, 0.5, 0.5, 0.5, 0.5], "the best so far"
    assert sweep_charts.short("method.interval [sampling.frames=4]") == "method.interval [frames=4]"
    assert sweep_charts.short("method.losses.temporal.margin") == "temporal.margin"


@pytest.mark.parametrize("directions", [["maximize"], ["minimize"], ["maximize", "minimize"], ["minimize", "maximize"]])
def test_the_darkest_line_is_the_best_trial(directions):
    rates, values = (
        {"training.lr": SPACE["training.lr"]},
        [[value, 1.0][: len(directions)] for value in (0.1, 0.5, 0.3)],
    )
    study = optuna.create_study(directions=directions)
    study.add_trial(create_trial(state=TrialState.FAIL, params={}, distributions={}))
    for number, one in enumerate(values):
        study.add_trial(create_trial(values=one, params={"training.lr": 1e-4 * 10**number}, distributions=rates))
    sweep = SweepFile(study, "top1", {})
    drawn = sweep_charts.parallel(sweep).data[:3]
    lines = {line.y[0]: sum(map(float, re.findall(r"[\d.]+", line.line.color))) for line in drawn}
    assert min(lines, key=lines.get) == (1 if directions[0] == "maximize" else 0), "axes go from 0 to 1"
    assert sorted(sweep_charts.slices(sweep).data[0].marker.color) == [1, 2, 3], "trials keep their numbers"
    assert [one.values for one in study.trials[1:]] == values, "the study itself is left alone"


def test_importances_and_contours_come_with_enough_trials_and_say_how_many_before():
    study = optuna.create_study(direction="maximize")
    sweep = SweepFile(study, "top1", {})
    for number in range(20):
        if number < 19:
            with pytest.raises(InputError, match="needs|no parameter"):
                sweep_charts.importances(sweep)
        if number in (0, 8):
            with pytest.raises(InputError, match=f"needs 9 complete trials with both; {number} are there"):
                sweep_charts.contour(sweep, "method.width", "training.lr")
        study.add_trial(trial(number / 20, 1.0, lr=1e-4 * (number + 1), width=(64, 128)[number % 2]))
    with pytest.raises(InputError, match="needs 20 complete trials, 10 a parameter; 1 are there"):
        one = optuna.create_study()
        one.add_trial(trial(0.1, 1.0))
        sweep_charts.importances(SweepFile(one, "top1", {}))
    shares = sweep_charts.importances(sweep).data[0].x
    assert abs(sum(shares) - 1) < 1e-6
    assert sweep_charts.contour(sweep, "method.width", "training.lr").data, "a choice of two has no three values"


def test_a_contour_of_two_rates_needs_three_of_each():
    study = optuna.create_study()
    for number in range(12):
        study.add_trial(trial(number / 20, 1.0, lr=(1e-4, 1e-3)[number % 2], width=(64, 128)[number // 2 % 2]))
    with pytest.raises(InputError, match=r"needs 3 values of training\.lr; the trials have 2"):
        sweep_charts.contour(SweepFile(study, "top1", {}), "method.width", "training.lr")


def test_ties_are_all_best_and_no_axis_shows_an_accuracy_below_zero():
    study = optuna.create_study(direction="maximize")
    for value in (0.0, 0.5, 0.25, 0.5):
        study.add_trial(trial(value, 1.0))
    sweep = SweepFile(study, "top1", {})
    assert [one.number for one in sweep.best()] == [1, 3]
    for draw in (sweep_charts.history, sweep_charts.slices, sweep_charts.cost):
        assert draw(sweep).layout.yaxis.rangemode == "nonnegative", draw.__name__
    study.add_trial(trial(-0.5, 1.0))
    assert sweep_charts.history(sweep).layout.yaxis.rangemode is None, "this objective can be negative"
    assert SweepFile(optuna.create_study(), "top1", {}).best() == []


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "other", "absent"])
def test_a_damaged_study_is_refused_by_name(study, tmp_path, damage):
    path = tmp_path / "study.db"
    whole = path.read_bytes()
    match damage:
        case "text":
            path.write_text("no database\n" * 100)
        case "cut":
            path.write_bytes(whole[:5000])
        case "empty":
            path.write_bytes(b"")
        case "other":
            path.unlink()
            sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
        case "absent":
            path.unlink()
    with pytest.raises(InputError, match="study.db: not") as refused:
        read_sweep(tmp_path)
    assert "\n" not in str(refused.value)
