"""Pages of the app over a small store, run by Streamlit's own test runner: what they say is what the files show."""

import json
import sys
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from streamlit.testing.v1 import AppTest

from objadapt.data.manifest import Manifest
from objadapt.evaluation.mask_video import write_video
from objadapt.tables import formats

REPOSITORY = Path(__file__).resolve().parents[2]
STARTED = {"time": 1000.0, "kind": "start", "name": "a run", "tags": {}, "params": {}}
EPOCHS = [
    {"time": 1001.0, "kind": "metrics", "step": n, "values": {"epoch/train/total": 1 / n, "epoch/val/top1": 0.1 * n}}
    for n in (1, 2)
]


@pytest.fixture
def store(tmp_path, found) -> Path:
    """A table; runs `weak` (the newest), `strong`, `cut` off after two epochs and one that never began."""
    write_video(tmp_path / "clip.mp4", np.zeros((6, 32, 32, 3), np.uint8), 10)
    found["rows"][0]["runs"] = {"0": "id-of-strong"}
    formats.write(found, tmp_path / "tables" / "toy")
    for name, top1, slots in (("strong", 0.75, 8), ("weak", 0.25, 4), ("cut", None, 4), ("never", None, 4)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        settings = {"seed": 0, "data": {"root": "data/mine"}, "method": {"slots": {"number": slots}}}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        if name != "never":
            lines = [STARTED, *EPOCHS] + ([] if top1 is None else [STARTED | {"kind": "finish", "status": "FINISHED"}])
            (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if top1 is not None:
            summary = {"top1": top1, "chance": 0.5, "epochs": 2, "mlflow_run_id": f"id-of-{name}"}
            (folder / "summary.json").write_text(json.dumps(summary))
            (folder / "quarantine.csv").write_text("clip_id,path,split,stage,reason\n")
            _predictions(folder, tmp_path / "clip.mp4", round(4 * top1))
    return tmp_path


def _predictions(folder: Path, video: Path, right: int) -> None:
    """4 clips of classes a and b, of which so many are right."""
    columns = {"clip_id": list("pqrs"), "path": str(video), "start_s": np.nan, "end_s": np.nan, "label": [0, 0, 1, 1]}
    Manifest(pd.DataFrame(columns | {"split": "val"}), {"label": ["a", "b"]}, {}, True).write(folder / "manifest")
    true = np.array([0, 0, 1, 1])
    answers = np.where(np.arange(4) < right, true, 1 - true)
    rows = {"row": range(4), "head": "label", "true": true, "predicted": answers, "probability": 0.5, "rank": 0}
    pd.DataFrame(rows).to_parquet(folder / "clips.parquet")


@pytest.fixture
def shown(store, monkeypatch):
    """`shown(page, **query)`: a page of the app over the store."""

    def run(page: str, **query: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["app.py", str(store)])
        # Streamlit puts the app in its place, and every process that a later test starts would run it
        monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        app = AppTest.from_file(str(REPOSITORY / "dashboards" / "app.py"), default_timeout=240)
        app.run()
        if page != "overview":
            app.switch_page(f"views/{page}.py")
            for key, value in query.items():
                app.query_params[key] = value
            app.run()
        assert not app.exception, app.exception
        return app

    return run


def text(app: AppTest) -> str:
    said = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.subheader]
    return "\n".join(one.value for one in said).replace("\\", "")


def test_the_app_opens_on_the_best_run_and_the_claims(shown):
    app = shown("overview")
    assert app.title[0].value == "Overview"
    assert [(one.label, one.value) for one in app.metric] == [("top-1", "75.0 %"), ("chance", "50.0 %")]
    said = text(app)
    assert "Best on mine" in said and "strong; +25.0 points over chance; no linear probe was trained" in said
    assert "rows done; claims: " in said
    newest = app.dataframe[0].value.set_index("run")["state"].to_dict()
    assert newest == {
        "strong": "finished",
        "weak": "finished",
        "cut": "cut off, epoch 2",
        "never": "not begun",
    }


def test_runs_open_on_the_best_with_settings_that_differ_and_rows(shown):
    app = shown("runs")
    table = app.dataframe[0].value.set_index("run")
    assert list(table.index)[:2] == ["strong", "weak"], "the best first"
    assert table["number"].to_dict() == {"strong": "8", "weak": "4", "cut": "4", "never": "4"}
    assert table.loc["strong", "row of"] == "losses (toy): none" and "root" not in table
    assert table.loc["cut", "top-1 (%)"] == 20.0 and table.loc["cut", "epochs"] == 2, "what it has"
    said = text(app)
    assert "the best is shown" in said and "every clip that was asked for could be read" in said


def test_what_evaluate_kept_stands_beside_its_run(shown, store):
    assert "Evaluations of" not in text(shown("runs"))
    folder = store / "runs/strong/evaluations/last-test-4x3"
    folder.mkdir(parents=True)
    kept = {"split": "test", "views": "8 x 4 x 3", "num_test_clips": 12, "top1": 0.5, "top5": 0.75}
    (folder / "evaluation.json").write_text(json.dumps(kept))
    app = shown("runs")
    assert "Evaluations of strong" in text(app)
    table = next(one.value for one in app.dataframe if "evaluation" in one.value)
    assert table.values.tolist() == [["last-test-4x3", "test", "8 x 4 x 3", "", 12, 0.5, 0.75]]
    (folder / "evaluation.json").write_text(json.dumps(kept | {"changed": {"sampling.frames": 16}}))
    assert "sampling.frames=16" in str(next(one.value for one in shown("runs").dataframe if "evaluation" in one.value))
    (folder / "evaluation.json").write_text("{}")
    assert "evaluation.json: damaged" in text(shown("runs"))


def test_commands_are_those_of_what_is_installed():
    from dashboards.page import as_installed

    for here, installed in {
        ".venv/bin/python jobs/make_toy.py outputs/toy": "objadapt make-toy outputs/toy",
        "python jobs/train.py --config jobs/configs/toy.yaml": "objadapt train --config toy",
        "make dashboard STORE=outputs/demo": "objadapt dashboard outputs/demo",
        "make demo": "objadapt demo",
    }.items():
        assert as_installed(here, True) == installed and as_installed(here, False) == here


def test_no_false_word_of_a_run_that_never_began(shown):
    said = text(shown("runs", run="never"))
    assert "never is shown" in said and "Not known before its end: never" in said
    assert "it has not begun" in said and "starts anew" in said
    assert "could be read" not in said and "last checkpoint" not in said


def test_the_filter_keeps_runs_that_hold_all_words(shown):
    app = shown("runs")
    app.text_input(key="filter").input("finished 4").run()
    assert list(app.dataframe[0].value["run"]) == ["weak"]
    app.text_input(key="filter").input("nothing of this").run()
    assert "No run holds all these words" in text(app) and not app.exception


def test_classes_of_the_best_run_and_of_a_linked_one(shown):
    app = shown("classes")
    assert "3 of 4 validation clips are right, of 2 classes" in text(app)
    assert app.dataframe[0].value["class"].tolist() == ["b", "a"], "the least recognised first"
    assert app.dataframe[1].value[["true", "predicted", "clips"]].values.tolist() == [["b", "a", 1]]
    assert "1 of 4 validation clips are right" in text(shown("classes", run="weak"))


def test_a_sweep_names_ties_and_says_how_many_trials_are_needed(shown, store):
    folder = store / "sweeps" / "s"
    folder.mkdir(parents=True)
    study = optuna.create_study(storage=f"sqlite:///{folder / 'study.db'}", study_name="s", direction="maximize")
    rate = {"training.lr": optuna.distributions.FloatDistribution(1e-4, 1e-2)}
    for value, lr in ((0.25, 1e-3), (0.5, 2e-3), (0.5, 3e-3)):
        study.add_trial(optuna.trial.create_trial(value=value, params={"training.lr": lr}, distributions=rate))
    app = shown("sweep")
    said = text(app)
    assert "2 trials tie at objective 0.5" in said and "trial 1: training.lr = 0.002" in said
    assert "needs 10 complete trials, 10 a parameter; 3 are there" in said
    assert app.dataframe[0].value["trial"].tolist() == [1, 2, 0], "the best first"
    assert "Choose a row" in said and "Trial 2" not in said
    assert "Trial 2" in text(shown("sweep", trial="2")) and "Choose a row" in text(shown("sweep", trial="7"))
