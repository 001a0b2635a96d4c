"""Places given to jobs: a submitted job refuses relative ones.

A file that cannot be written is refused before the work.
"""

import pytest

CHECKPOINT = ("--checkpoint", "/far/last", "--davis", "/far/DAVIS")
SIZE = ("name=kinetics400", "output=/far", "data.root=/far/k400", "--cpus", 8)
DAVIS = ("--predictions", "/far/masks", "--davis", "/far/DAVIS")
RELATIVE = [
    ("evaluate", ["some/place"], "checkpoint"),
    ("evaluate", ["/far/last", "--predictions", "some/place.csv"], "--predictions"),
    ("demo", ["--output", "some/place"], "--output"),
    ("demo", [], "--output"),
    ("make_toy", ["some/place"], "root"),
    ("check_videos", ["some/place"], "PATH"),
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
