"""The study of a sweep: what a killed driver leaves behind is put right, and nothing finished is asked for again."""

import math

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from objadapt.errors import InputError
from objadapt.sweeps import study as studies
from objadapt.sweeps.space_file import load_space

CHOICES = {
    "method.slots.number": {"choice": [2, 4, 8]},
    "method.slots.iterations": {"choice": [1, 2], "when": {"method.slots.number": 8}},
}


@pytest.fixture
def space(tmp_path):
    def make(**settings):
        (tmp_path / "space.yaml").write_text(yaml.safe_dump({**settings, "parameters": CHOICES}, sort_keys=False))
        return load_space(tmp_path / "space.yaml")

    return make


def ask(study: optuna.Study, space) -> optuna.Trial:
    trial = study.ask()
    space(trial)
    return trial


def search(folder, space) -> studies.StudySearch:
    sampler = optuna.samplers.RandomSampler(seed=0)
    return studies.StudySearch(space, "top1", "max", sampler=sampler, study_name="s", storage=studies.storage(folder))


def result(epoch: int, top1: float, finished: bool) -> dict:
    return {"top1": top1, "epoch": epoch, "finished": finished, "run": "r", "mlflow_run_id": "m", studies.COST: 0.5}


def test_trials_that_were_cut_off_wait_with_their_values_and_finished_ones_stay(tmp_path, space):
    grid = space(sampler="grid", trials=10)
    study = studies.open_study(tmp_path, "s", grid)
    assert studies.prepare(study, grid) == 4
    # the last one was killed before it drew anything: its values wait with it
    done, cut, early = ask(study, grid), ask(study, grid), study.ask()
    study.tell(done, 0.5)

    reopened = studies.open_study(tmp_path, "s", grid)  # as another driver finds it
    assert studies.prepare(reopened, grid) == 3
    cut_off = [row for row in studies.rows(reopened, grid) if row["reason"] == "cut off"]
    assert len(cut_off) == 2 and all(row["params"] for row in cut_off)
    assert [trial.state for trial in reopened.trials[:3]] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    left = [ask(reopened, grid) for _ in range(3)]
    for trial in left:
        reopened.tell(trial, 0.1)
    assert cut.params in [trial.params for trial in left] and early.params == {}
    visited = sorted(map(repr, [done.params, *(trial.params for trial in left)]))
    assert visited == sorted(map(repr, grid.grid()))
    assert studies.prepare(reopened, grid) == 0 and not reopened.get_trials(states=(TrialState.WAITING,))
    assert [row["state"] for row in studies.rows(reopened, grid)] == ["complete"] * 4


def test_a_trial_that_was_cut_off_before_it_had_values_is_none(tmp_path, space):
    random = space(sampler="random", trials=2)
    study = studies.open_study(tmp_path, "s", random)
    study.tell(ask(study, random), 0.5)
    study.ask()
    assert studies.prepare(study, random) == 1
    assert [row["state"] for row in studies.rows(study, random)] == ["complete"]


def test_a_grid_stops_at_the_trials_asked_for_and_goes_on_when_more_are(tmp_path, space):
    study = studies.open_study(tmp_path, "s", space(sampler="grid"))
    assert studies.prepare(study, space(sampler="grid", trials=1)) == 1
    study.tell(ask(study, space(sampler="grid")), 0.5)
    assert studies.prepare(study, space(sampler="grid", trials=3)) == 2
    assert len(study.get_trials(states=(TrialState.WAITING,))) == 2


def test_a_trial_that_diverged_is_done_and_any_other_failure_is_tried_again(tmp_path, space):
    random = space(sampler="random", trials=4)
    study, found = studies.open_study(tmp_path, "s", random), search(tmp_path, random)
    params = [found.suggest(name) for name in ("a", "b")]
    for name, reason in (("a", "FloatingPointError: training has diverged"), ("b", "OSError: disk full")):
        found.on_trial_complete(name, error=True)
        found.note_failure(name, reason)
    assert studies.prepare(study, random) == 3 and studies.finished(study) == 1
    (waiting,) = study.get_trials(states=(TrialState.WAITING,))
    assert waiting.system_attrs["fixed_params"] == params[1]
    assert [row["reason"].split(":")[0] for row in studies.rows(study, random)] == ["FloatingPointError", "OSError"]


def test_a_trial_that_the_scheduler_stopped_is_pruned_at_its_last_value(tmp_path, space):
    random = space(sampler="random", trials=3)
    study, found = studies.open_study(tmp_path, "s", random), search(tmp_path, random)
    for name in ("stopped", "complete", "not a number"):
        found.suggest(name)
    found.on_trial_result("stopped", result(1, 0.2, False))
    found.on_trial_complete("stopped", result(3, 0.3, False))
    found.on_trial_result("complete", result(4, 0.4, True))
    found.on_trial_complete("complete", result(4, 0.4, True))
    found.on_trial_complete("not a number", result(4, math.nan, True))
    stopped, complete, odd = study.trials
    assert (stopped.state, stopped.value, stopped.intermediate_values) == (TrialState.PRUNED, 0.3, {1: 0.2, 3: 0.3})
    assert (complete.state, complete.value, complete.intermediate_values) == (TrialState.COMPLETE, 0.4, {4: 0.4})
    assert odd.state == TrialState.FAIL
    rows = studies.rows(study, random)
    assert [row["epoch"] for row in rows[:2]] == [3, 4] and "no number" in rows[2]["reason"]
    assert [trial.number for trial in studies.best(study)] == [1] and studies.finished(study) == 2


def test_a_sampler_that_goes_on_does_not_draw_the_same_again(tmp_path, space):
    random = space(sampler="random", trials=50)
    study = studies.open_study(tmp_path, "s", random)

    def draws(number: int) -> list[dict]:
        study.sampler = studies.build_sampler(study, random, seed=1)
        trials = [ask(study, random) for _ in range(number)]
        for trial in trials:
            study.tell(trial, 0.0)
        return [trial.params for trial in trials]

    first = draws(8)
    assert draws(8) != first
    other = studies.open_study(tmp_path, "other", random)
    other.sampler = studies.build_sampler(other, random, seed=1)
    assert [ask(other, random).params for _ in range(8)] == first, "the same seed draws the same"


def test_a_damaged_study_is_refused_with_a_remedy(tmp_path, space):
    (tmp_path / "study.db").write_bytes(b"no database at all, but long enough to look like one" * 20)
    with pytest.raises(InputError, match=r"study\.db: not an Optuna study .*; move it away"):
        studies.open_study(tmp_path, "s", space())
