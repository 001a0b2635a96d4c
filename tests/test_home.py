"""`~` is the user's home in every path of a config and of a command line, wherever it stands.

One rule, here checked for each.
"""

from pathlib import Path

import pytest
import yaml

from objadapt import commands, job
from objadapt.config import Experiment
from objadapt.config_file import load_config
from objadapt.config_where import Section, at_home
from objadapt.errors import InputError

PATHS = [
    "output",
    "data.root",
    "data.train",
    "data.val",
    "data.labels",
    "data.videos",
    "data.test",
    "backbone.weights",
    "stream.cache",
    "stream.download_cache",
    "tracking.uri",
]
WORDS = [
    "name",
    "data.path_column",
    "data.label_column",
    "data.split_column",
    "backbone.name",
    "backbone.pretrained",
    "stream.num_workers",
    "stream.trainer_gpus",
    "stream.encoders",
    "stream.encoder_gpus",
    "tracking.experiment",
    "method.interval",
    "method.slots.number",
]


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text_fields(section: type[Section], prefix: str = "") -> set[str]:
    found = set()
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found |= text_fields(field.annotation, f"{prefix}{name}.")
        elif "str" in str(field.annotation) and "Literal" not in str(field.annotation).partition("|")[0]:
            found.add(prefix + name)
    return found


def test_every_field_that_may_be_a_path_is_tested_here():
    """A new field of text belongs to one of the two lists."""
    assert text_fields(Experiment) | set(WORDS) == {*PATHS, *WORDS}


def value(config: Experiment, key: str) -> object:
    for part in key.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize("key", PATHS)
def test_paths_of_a_config(home, tmp_path, key):
    assert value(load_config(None, [f"{key}=~/x/y"]), key) == f"{home}/x/y"
    section, _, name = key.rpartition(".")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({section: {name: "~/x"}} if section else {name: "~/x"}))
    assert value(load_config("c.yaml"), key) == f"{home}/x"
    for same in ("x/~/y", "/x/~", "s3://bucket/~/x", "./~x"):
        if key not in ("output", "stream.cache", "stream.download_cache") or "://" not in same:
            assert value(load_config(None, [f"{key}={same}"]), key) == same
    with pytest.raises(InputError, match=f"{key}: '~nobody-here/x': no home of '~nobody-here'; write ./~nobody-here/x"):
        load_config(None, [f"{key}=~nobody-here/x"])


def test_the_store_of_a_config(home):
    assert load_config(None, ["tracking.uri=sqlite:///~/m.db"]).tracking.uri == f"sqlite:///{home}/m.db"
    assert at_home("sqlite:////x/m.db") == "sqlite:////x/m.db" and at_home("http://x/~y") == "http://x/~y"
    assert load_config(None, ["tracking.uri=~", "data.train=~"]).data.train is None  # YAML's null


DAVIS = ("--davis", "~/none")
OPTIONS = [  # a job, its arguments, of which one path is not there or cannot be written; `file` is a file
    ("train", ["--config", "~/none"]),
    ("train", ["--config=~/none"]),
    ("train", ["data.root=~/none"]),
    ("train", ["--json", "~/file/x"]),
    ("train", ["--json=~/file/x"]),
    ("check_videos", ["~/none"]),
    ("check_videos", ["/", "--json", "~/file/x"]),
    ("make_toy", ["~/x", "--json=~/file/x"]),
    ("evaluate", ["/none", "--predictions", "~/file/x"]),
    ("evaluate", ["/none", "--json", "~/file/x"]),
    ("extract_features", ["--json", "~/file/x"]),
    ("plan", ["name=kinetics400", "--cpus", "8", "--rates", "~/none"]),
    ("plan", ["--cpus", "8", "--write-rates", "~/file/x"]),
    ("reproduce", ["--table", "losses", "--dataset", "~/none.yaml"]),
    ("segment", ["--checkpoint", "~/none", *DAVIS, "--out", "~/x"]),
    ("segment", ["--checkpoint", "~/none", "--video", "~/none", "--out", "~/x"]),
    ("score_davis", ["--predictions", "~/none", *DAVIS]),
    ("sweep", ["~/none.yaml"]),
]


@pytest.mark.parametrize(
    ("name", "arguments"), OPTIONS, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_paths_of_a_command_line(home, run_job, name, arguments):
    (home / "file").touch()
    done = run_job(name, *arguments)
    assert done.code == 2 and done.err.startswith("error: ") and done.err.count("\n") == 1, done.err
    assert str(home) in done.err and "~" not in done.err, done.err
    assert {path.name for path in home.iterdir()} == {"file"}


def test_what_follows_an_equals_sign(home):
    options = job.parser("A job.")
    options.add_argument("--masks")
    options.add_argument("overrides", nargs="*")
    for arguments in (["--masks", "a=~/x"], ["--masks=a=~/x"]):
        assert options.parse_intermixed_args([*arguments, "b.c=~/y", "d=~", "e~/=f"]).masks == f"a={home}/x"
    assert options.parse_intermixed_args(["b.c=~/y", "d=~", "e~/=f", "~"]).overrides == [
        f"b.c={home}/y",
        "d=~",
        "e~/=f",
        str(home),
    ]
    with pytest.raises(InputError, match="no home of '~nobody-here'"):
        options.parse_args(["~nobody-here/x"])


def test_commands_read_their_arguments_in_one_way():
    files = list(commands.FOLDER.glob("*.py"))
    assert len(files) > 10 and not [path.name for path in files if "ArgumentParser(" in path.read_text()]
