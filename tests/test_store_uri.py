"""URIs of SQLite files: whatever a folder is called, MLflow, Optuna and SQLAlchemy open the file in it,
and make nothing beside it.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from objadapt.errors import InputError
from objadapt.run_folder import store_uri
from objadapt.store_uri import experiment_page, sqlite_file, sqlite_uri, ui_command

NAMES = [
    "plain",
    "100%",
    "a%20b",
    "%2F",
    "%zz",
    "what?",
    "what?mode=ro",
    "#1",
    "a#b?c%25d",
    "two words",
    "Größe",
    "ann@host",
    "k:v",
    "it's",
    'a"b',
    "dots..",
    "{brace}",
    "{0}",
    "a;b",
    "a&b=c",
    "$HOME",
    "back\\slash",
    "~",
    "new\nline",
    ":memory:",
    "+plus+",
]


@pytest.fixture(params=NAMES)
def folder(request, tmp_path) -> Path:
    place = tmp_path / "in" / request.param
    place.mkdir(parents=True)
    return place


def write(uri: str) -> None:
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (x INTEGER)"))
    engine.dispose()


def test_sqlalchemy_opens_the_file_itself(folder):
    path = folder / "mlflow.db"
    write(sqlite_uri(path))
    assert [one.name for one in folder.iterdir()] == ["mlflow.db"] and os.listdir(folder.parent) == [folder.name]
    assert sqlite_file(sqlite_uri(path)) == path
    with sqlalchemy.create_engine(sqlite_uri(path, read_only=True)).connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM t")).scalar() == 0
        with pytest.raises(sqlalchemy.exc.OperationalError, match="readonly"):
            connection.execute(sqlalchemy.text("INSERT INTO t VALUES (1)"))
    assert sqlite_file(sqlite_uri(path, read_only=True)) == path


def test_a_relative_path_stays_relative(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    path = Path(folder.name) / "mlflow.db"
    write(sqlite_uri(path))
    assert [one.name for one in folder.iterdir()] == ["mlflow.db"] and os.listdir(folder.parent) == [folder.name]
    assert sqlite_file(sqlite_uri(path)) == path


def test_optuna_opens_the_file_itself(folder):
    study = optuna.create_study(storage=sqlite_uri(folder / "study.db"), study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert [one.name for one in folder.iterdir()] == ["study.db"] and os.listdir(folder.parent) == [folder.name]
    assert len(optuna.load_study(study_name="s", storage=sqlite_uri(folder / "study.db")).trials) == 1


def test_a_shell_hands_a_quoted_uri_on_as_it_is(folder):
    uri = sqlite_uri(folder / "mlflow.db")
    shown = subprocess.run(
        ["sh", "-c", f"printf %s {shlex.quote(uri)}"], capture_output=True, text=True, check=True
    ).stdout
    assert shown == uri and "\n" not in uri


def test_usual_paths_are_read_with_the_eye():
    assert sqlite_uri("/data/out put/Größe@1/mlflow.db") == "sqlite:////data/out put/Größe@1/mlflow.db"
    assert store_uri(None, Path("outputs")) == "sqlite:///outputs/mlflow.db"
    assert store_uri("http://host:5000", Path("outputs")) == "http://host:5000"


@pytest.mark.parametrize(
    "uri, path",
    [
        ("sqlite:///a.db", "a.db"),
        ("sqlite:////x/a.db?timeout=30", "/x/a.db"),
        ("sqlite+pysqlite:////x/a%20b.db", "/x/a b.db"),
        ("sqlite:///file:/x/a.db?mode=ro&uri=true", "/x/a.db"),
        ("sqlite:///file:///x/a.db?uri=true", "/x/a.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("sqlite:///", None),
        ("sqlite:/x", None),
        ("http://h/sqlite:///a", None),
        ("postgresql://h/d", None),
    ],
)
def test_the_file_of_a_given_uri(uri, path):
    assert sqlite_file(uri) == (path and Path(path))


def test_a_question_mark_that_was_not_encoded_is_refused():
    with pytest.raises(InputError, match="%3F"):
        sqlite_file("sqlite:////data/what?/mlflow.db")


def test_the_page_s_command_is_that_of_this_environment(tmp_path, monkeypatch):
    """In a checkout below its folder, elsewhere by its whole path or, where the shell finds it, by its name."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    program = tmp_path / "venv" / "bin" / "mlflow"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    monkeypatch.chdir(tmp_path)
    assert ui_command("sqlite:///a.db") == "venv/bin/mlflow ui --backend-store-uri sqlite:///a.db"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert ui_command("sqlite:///a.db").startswith(f"{program} ui ")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert ui_command("sqlite:///a.db").startswith("mlflow ui ")
    assert ui_command("http://127.0.0.1:5000") == "http://127.0.0.1:5000"


def test_the_page_of_an_experiment_is_named_with_the_command_that_opens_it():
    page = "#/experiments/3/runs?workflowType=machine_learning"
    assert experiment_page("http://mlflow:5000/", "3") == f"http://mlflow:5000/{page}"
    assert experiment_page("http://mlflow:5000/", None) == "http://mlflow:5000/"
    command = ui_command("sqlite:///mlflow.db")
    assert experiment_page("sqlite:///mlflow.db", "3") == f"{command}    then http://127.0.0.1:5000/{page}"
