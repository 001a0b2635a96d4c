"""Places given to jobs: a submitted job refuses relative ones.

A file that cannot be written is refused before the work.
"""

import re

import pytest

CHECKPOINT = ("--checkpoint", "/far/last", "--davis", "/far/DAVIS")
SIZE = ("name=kinetics400", "output=/far", "data.root=/far/k400", "--cpus", 8)
DAVIS = ("--predictions", "/far/masks", "--davis", "/far/DAVIS")
RELATIVE = [
    ("evaluate", ["some/place"], "--checkpoint"),
    ("evaluate", ["/far/last", "--predictions", "some/place.csv"], "--predictions"),
    ("demo", ["--output", "some/place"], "--output"),
    ("demo", [], "--output"),
    ("make_toy", ["some/place"], "root"),
    ("check_videos", ["some/place"], "PATH"),
    ("manifest", ["--format", "csv", "--annotations", "some/place"], "--annotations"),
    ("extract_features", ["--list", "--cache", "some/place"], "--cache"),
    ("plan", [*SIZE, "--videos", "some/place"], "--videos"),
    ("plan", [*SIZE, "--rates", "some/place"], "--rates"),
    ("plan", [*SIZE, "--write-rates", "some/place"], "--write-rates"),
    ("segment", [*CHECKPOINT, "--out", "some/place"], "--out"),
    ("score_davis", [*DAVIS, "--output", "some/place"], "--output"),
    ("reproduce", ["--table", "losses", "--output", "some/place", "data.root=/far"], "output"),
] + [
    (name, [*arguments, "--json", "some/place"], "--json")
    for name, arguments in (
        ("evaluate", ["/far/last"]),
        ("make_toy", ["/far/toy"]),
        ("check_videos", ["/far"]),
        ("manifest", ["--format", "csv", "--annotations", "/far"]),
        ("plan", SIZE),
        ("train", []),
        ("sweep", ["x.yaml"]),
        ("segment", [*CHECKPOINT, "--out", "/far/masks"]),
        ("score_davis", DAVIS),
        ("reproduce", ["--all"]),
        ("extract_features", []),
    )
]


@pytest.mark.parametrize("name, arguments, option", RELATIVE, ids=lambda value: value if isinstance(value, str) else "")
def test_a_submitted_job_refuses_relative_paths(run_job, monkeypatch, tmp_path, name, arguments, option):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    done = run_job(name, *arguments)
    assert done.code == 2 and done.err.startswith(f"error: {option}: ") and done.err.count("\n") == 1, done.err
    assert "is relative" in done.err and "absolute path" in done.err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name, arguments, option",
    [
        ("evaluate", ["nowhere"], "--predictions"),
        ("evaluate", ["nowhere"], "--json"),
        ("plan", ["--cpus", 8], "--write-rates"),
        ("train", [], "--json"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(run_job, tmp_path, name, arguments, option):
    (tmp_path / "file").write_text("")
    inside = tmp_path / "file" / "x.json"
    for place, wrong in ((tmp_path, "is a folder"), (inside, "File exists"), ("/proc/x/y.json", "No such file")):
        done = run_job(name, *arguments, option, place)
        assert done.code == 2 and done.err.startswith(f"error: {option}: ") and wrong in done.err, done.err
        assert done.err.count("\n") == 1


def test_the_folder_of_a_file_to_write_is_made(run_job, tmp_path):
    rates = [word for name in ("decode", "encode", "train", "read", "cache_bytes") for word in ("--rate", f"{name}=10")]
    done = run_job("plan", "name=kinetics400", "--cpus", 8, *rates, "--write-rates", tmp_path / "deep" / "rates.json")
    assert done.code == 0 and (tmp_path / "deep" / "rates.json").is_file(), done.err


@pytest.mark.parametrize("option", ["--json", "--output"])
@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        ("new/", "is a folder; give a file"),
        ("a" * 300 + ".csv", "File name too long"),
        ("dangling.csv", "cannot be written .No such file"),
        ("loop.csv", "cannot be written .Too many levels"),
        ("/proc/x.csv", "cannot be written .No such file|may not be written"),
        ("s3://bucket/x.csv", "is a URL; give a file to write"),
        ("", "an empty argument is given"),
    ],
)
def test_odd_names_of_files_to_write_are_refused_before_the_work(run_job, tmp_path, monkeypatch, option, place, wrong):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dangling.csv").symlink_to("nowhere/x.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    before = sorted(tmp_path.iterdir())
    for given in ([option, place], [f"{option}={place}"]):
        done = run_job("manifest", "--format", "csv", "--annotations", tmp_path, *given)
        assert done.code == 2 and re.match(f"error: {option}: .*({wrong}).*\n$", done.err), done.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("check_videos", [""]),
        ("manifest", ["--format", "csv", "--annotations", ""]),
        ("evaluate", ["", "--split", "val"]),
        ("export", ["--checkpoint", "", "--output", "x"]),
        ("config", ["--config="]),
    ],
)
def test_an_empty_argument_is_not_the_current_folder(run_job, tmp_path, monkeypatch, command, arguments):
    monkeypatch.chdir(tmp_path)
    done = run_job(command, *arguments)
    assert done.code == 2 and "an empty argument is given" in done.err and done.err.count("\n") == 1, done.err
    assert not list(tmp_path.iterdir())


def test_no_file_of_somebody_else_is_written_over(run_job, tmp_path):
    (tmp_path / "a.mp4").write_text("x")
    (tmp_path / "labels.csv").write_text("path,label,split\na.mp4,run,train\n")
    (tmp_path / "train.json").write_text("[]")
    mine = ("manifest", "--format", "csv", "--annotations", tmp_path)
    refusals = {
        "is there already; give another name": ["--output", tmp_path / "labels.csv"],
        "is there already and is no JSON; give": ["--json", tmp_path / "labels.csv"],
        "is written by --output, too": ["--output", tmp_path / "new.csv", "--json", tmp_path / "new.csv"],
        "are given; give one file": ["--json", tmp_path / "one.json", "--json", tmp_path / "two.json"],
        "train.json is an annotation file": ["--json", tmp_path / "train.json", "data.train=train.json"],
    }
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for wrong, given in refusals.items():
        done = run_job(*mine, *given)
        assert done.code == 2 and done.err.startswith("error: --") and wrong in done.err, done.err
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    for _ in range(2):  # a summary is written anew by the same command
        assert run_job(*mine, "--json", tmp_path / "report.json").code == 0
    assert run_job(*mine, "--json", "/dev/null").code == 0
    done = run_job("manifest", "--format", "csv", "--annotations", tmp_path / "labels.csv", "data.train=other.csv")
    assert done.code == 2 and "data.train: " in done.err and "is a file" in done.err
