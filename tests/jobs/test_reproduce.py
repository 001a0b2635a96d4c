"""jobs/reproduce.py: one command to the table, the same command to complete it, nothing spent by a dry run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import yaml

from objadapt.data import toy

REPOSITORY = Path(__file__).resolve().parents[2]
CLAIM = {"text": "three beat two", "kind": "better", "rows": ["three", "two"]}
ROWS = [
    {"name": "two", "overrides": ["method.slots.number=2"], "paper": {"theirs": 50.0}},
    {"name": "three", "overrides": ["method.slots.number=3"], "paper": {"theirs": 60.0}},
]


def write_table(folder: Path, rows: list[dict], name: str = "slots") -> Path:
    tree = {
        "caption": "Slots",
        "source": "own",
        "metrics": {"top1": {"paper": "theirs"}, "adapter_gflops": {}},
        "rows": rows,
    }
    claims = [CLAIM] if {row["name"] for row in rows} >= {"two", "three"} else []
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(tree | {"claims": claims}))
    return folder / f"{name}.yaml"


@pytest.fixture(scope="module")
def command(tiny_config, tmp_path_factory) -> list[str]:
    """Arguments of a table of two rows on one seed, into a folder of its own."""
    folder = tmp_path_factory.mktemp("reproduce")
    table = write_table(folder, ROWS)
    small = ["training.epochs=1", "training.warmup_epochs=0.5", "tracking.uri=null", "stream.views=1"]
    where = ["--table", str(table), "--dataset", str(tiny_config), "--output", str(folder / "out")]
    return [*where, "--cpus-per-row", "0.5", *small]


@pytest.fixture(scope="module")
def dry(run_job, command):
    """A dry run before anything else."""
    output = Path(command[5])
    done = run_job("reproduce", *command, "--dry-run", "--seeds", "2", "--json", output.parent / "dry.json")
    assert done.code == 0, done.err
    return done, json.loads((output.parent / "dry.json").read_text()), output.exists()


@pytest.fixture(scope="module")
def made(run_job, command, dry, local_ray):
    """The table, made."""
    done = run_job("reproduce", *command, "--json", Path(command[5]).parent / "made.json")
    assert done.code == 0, done.err
    return done, Path(command[5])


def test_a_dry_run_shows_rows_and_cost_and_spends_nothing(dry):
    done, told, spent = dry
    assert not spent, "a dry run left something behind"
    assert [row["row"] for row in told["rows"]] == ["two", "three"] and all(row["done"] == 0 for row in told["rows"])
    assert "0 of 2 seeds done" in done.out and "method.slots.number=2" in done.out
    assert "estimate, from measured speed" in done.out and "4 trainings" in done.out
    cost = told["estimate"]
    assert cost["runs"] == 4 and cost["train_seconds"] > 0 and cost["encode_seconds"] > 0
    assert cost["wall_seconds"] <= cost["train_seconds"] + cost["encode_seconds"]
    clip = 4 * (1 + (32 // 16) ** 2) * 64 * 2  # T x tokens x J x float16
    assert cost["feature_bytes"] == 48 * clip, "32 training clips under one view, 16 validation clips"


@pytest.mark.slow
def test_the_table_comes_as_text_and_files(made, command):
    done, output = made
    files = {path.name for path in (output / "tables" / "tiny").iterdir()}
    assert files >= {"slots.md", "slots.tex", "slots.csv", "slots.json"}
    found = json.loads((output / "tables" / "tiny" / "slots.json").read_text())
    assert found == json.loads((output.parent / "made.json").read_text())
    assert [row["status"] for row in found["rows"]] == ["done", "done"]
    assert found["rows"][0]["metrics"]["top1"]["n"] == 1 and found["rows"][0]["metrics"]["top1"]["stderr"] is None
    assert [claim["text"] for claim in found["claims"]] == [CLAIM["text"]] and found["commit"]
    assert found["command"].startswith("python jobs/reproduce.py --table")
    head = "backbone timm test_vit weights from test_vit.pt; T 4; epochs 1 (0.5 of warm-up); batch 8; stored views 1\n"
    assert head in done.out and "difference to the paper: top-1 (%): the data set is not the paper's" in done.out
    assert "top-1 (%), paper" in done.out and [row["differences"] for row in found["rows"]] == [{}, {}]
    assert "three beat two" in done.out and "Slots (slots): toy numbers" in done.out and "mlflow ui" in done.out


@pytest.mark.slow
def test_the_same_command_again_changes_no_number(made, run_job, command):
    _, output = made
    before = {path: path.stat().st_mtime_ns for path in (output / "runs").rglob("*")}
    cells = json.loads((output / "tables" / "tiny" / "slots.json").read_text())["rows"]
    assert run_job("reproduce", *command).code == 0
    assert {path: path.stat().st_mtime_ns for path in (output / "runs").rglob("*")} == before
    assert json.loads((output / "tables" / "tiny" / "slots.json").read_text())["rows"] == cells
    dry = run_job("reproduce", *command, "--dry-run")
    assert "nothing to do: every row is done" in dry.out and "1 of 1 seeds done" in dry.out


@pytest.mark.slow
def test_a_dry_run_of_more_seeds_measures_by_what_has_run(made, run_job, command):
    done = run_job("reproduce", *command, "--dry-run", "--seeds", "3")
    assert (
        "1 of 3 seeds done" in done.out
        and "4 trainings" in done.out
        and "finished runs of the same T and cost" in done.out
    )


@pytest.mark.slow
def test_features_that_are_lacking_are_extracted_beside_those_there(made, run_job, command, tmp_path):
    table, caches = (
        write_table(tmp_path, [{"name": "short", "overrides": ["sampling.frames=2"]}], "short"),
        made[1] / "features",
    )
    (before,) = caches.iterdir()
    done = run_job("reproduce", "--table", table, *command[2:], "--dry-run", "--json", tmp_path / "dry.json")
    assert (
        done.code == 0
        and json.loads((tmp_path / "dry.json").read_text())["estimate"]["feature_bytes"] == 48 * 2 * 5 * 64 * 2
    )
    done = run_job("reproduce", "--table", table, *command[2:], "--json", tmp_path / "short.json")
    assert done.code == 0 and json.loads((tmp_path / "short.json").read_text())["rows"][0]["status"] == "done"
    assert {path.name for path in caches.iterdir()} == {before.name, f"{before.name}-2"}


@pytest.mark.slow
def test_a_row_that_fails_is_named_the_others_go_on_and_the_exit_code_is_1(made, run_job, command, tmp_path):
    table = write_table(tmp_path, [*ROWS, {"name": "wild", "overrides": ["training.lr=1e30"]}], "wild")
    done = run_job("reproduce", "--table", table, *command[2:], "--json", tmp_path / "wild.json")
    assert done.code == 1
    found = json.loads((tmp_path / "wild.json").read_text())
    status = {row["name"]: row["status"] for row in found["rows"]}
    assert status["two"] == status["three"] == "done" and status["wild"].startswith(
        "failed: FloatingPointError: loss is"
    )
    assert any(note.startswith("wild, seed 0 failed") for note in found["notes"]) and "wild" in done.out


@pytest.mark.slow
def test_rows_of_one_stream_keep_no_features_and_a_failed_one_is_named(run_job, command, local_ray, tmp_path):
    table = write_table(tmp_path, [*ROWS, {"name": "wild", "overrides": ["training.lr=1e30"]}], "wild")
    where = ["--table", table, *command[2:4], "--output", tmp_path / "out", "--shared-stream", *command[8:]]
    done = run_job("reproduce", *where, "--json", tmp_path / "wild.json")
    assert done.code == 1 and "shared: 3 trainings in this process, from 1 stream" in done.out, done.err
    found = json.loads((tmp_path / "wild.json").read_text())
    status = {row["name"]: row["status"] for row in found["rows"]}
    assert status["two"] == status["three"] == "done"
    assert status["wild"].startswith("failed: FloatingPointError: loss is")
    assert not (tmp_path / "out" / "features").exists()
    again = run_job("reproduce", *where, "--rows", "two,three", "--dry-run")
    assert again.code == 0 and "0 trainings" in again.out, again.out


@pytest.mark.slow
def test_a_dry_run_makes_the_toy_data_where_there_are_none_or_half_of_them(run_job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toy.Options.__init__, "__defaults__", (32, 16, 0, 32, 8, 12, 2))  # of fewer and smaller clips
    command = ["reproduce", "--table", "losses", "--dataset", "toy", "--dry-run"]
    done = run_job(*command)
    assert (
        done.code == 0 and "outputs/toy: making the toy data there" in done.out and "0 of 1 seeds done" in done.out
    ), done.err
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["toy"]
    shutil.rmtree("outputs/toy/labels")
    (video, *_) = (tmp_path / "outputs/toy/videos").iterdir()
    video.unlink()
    assert run_job(*command).code == 0 and video.exists()
    assert "making the toy data" not in run_job(*command).out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seeds", "0"], "--seeds: 0; give at least 1"),
        (["--concurrent", "0"], "--concurrent: 0"),
        (["--cpus-per-row", "0"], "--cpus-per-row must be above 0"),
        (["--rows", "four"], "--rows: no row four in slots; there are three, two"),
        (["method.slotss=4"], "method.slotss: unknown key"),
        (["method.heads=7"], "method.heads: 7 does not divide"),
        (["seed=3"], "seed=3: the tables set it; use --output for the folder and --seeds for the seeds"),
        (["stream.num_workers=2"], "stream: tables train each row in one process"),
        (["--shared-stream", "--concurrent", "2"], "--concurrent: with --shared-stream rows train one after the other"),
        (["--shared-stream", "stream.cache=features"], "stream.cache: --shared-stream keeps no features"),
        (["data.root=nowhere"], "data.root: "),
        (["--masks", "others"], "--masks: 'others' is not NAME=DIR"),
        (["--masks", "others=nowhere"], "--masks: others: no folder nowhere"),
        (["--masks", "others=."], "--masks: there are no annotated sequences to score them on"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(run_job, command, arguments, told):
    done = run_job("reproduce", *command, *arguments, "--dry-run")
    assert done.code == 2 and told in done.err
    assert (
        len([line for line in done.err.strip().splitlines() if " INFO " not in line]) == 1
    )  # but a busy machine's waits


def test_an_unknown_table_or_data_set_is_one_line(run_job, command):
    done = run_job("reproduce", "--table", "nothing", *command[2:], "--dry-run")
    assert done.code == 2 and "--table: nothing: no such file" in done.err and "time_interval" in done.err
    done = run_job("reproduce", *command[:2], "--dataset", "nowhere", "--dry-run")
    assert done.code == 2 and "--dataset: nowhere: no such file" in done.err


@pytest.mark.slow
def test_a_killed_table_is_completed_by_the_same_command(tiny_config, tmp_path):
    """SIGKILL to the driver when some rows are done: they are kept as they are, none is done twice,
    the table is whole.
    """
    rows = [{"name": f"k{k}", "overrides": [f"method.slots.number={k}"]} for k in (2, 3, 4)]
    output = tmp_path / "out"
    table, script = write_table(tmp_path, rows), REPOSITORY / "jobs" / "reproduce.py"
    options = ["--dataset", tiny_config, "--seeds", "2", "--output", output, "--concurrent", "2"]
    command = [sys.executable, script, "--table", table, *options, "tracking.uri=null", "training.epochs=6"]
    with open(tmp_path / "log", "w") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            while not (done := finished(output)):
                assert driver.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.05)
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
    assert 0 < len(done := finished(output)) < 6, "the kill came too late to show anything"
    assert not (output / "tables" / "tiny" / "slots.json").exists()

    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    after = finished(output)
    assert len(after) == 6 and {path: after[path] for path in done} == done
    found = json.loads((output / "tables" / "tiny" / "slots.json").read_text())
    assert [(row["status"], row["metrics"]["top1"]["n"]) for row in found["rows"]] == [("done", 2)] * 3
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{output}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("tests").experiment_id], "attributes.status = 'FINISHED'")
    parents = [run for run in runs if run.data.tags.get("table") == "slots"]
    ended = [
        run.data.tags["identity"] for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id
    ]
    assert len(parents) == 1 and len(ended) == len(set(ended)) == 6


def finished(output: Path) -> dict[Path, int]:
    """Summaries of finished runs and when they were written."""
    return {path: os.stat(path).st_mtime_ns for path in output.glob("runs/*/summary.json")}
