"""The one command: it lists, finds and names what there is; help and refusals come before torch and Ray are loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from objadapt import commands, declared, job
from objadapt.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "ray", "mlflow", "optuna"}


def loaded(*calls: list[str]) -> set[str]:
    """Which of the heavy libraries a fresh process has loaded after these calls of `objadapt`."""
    code = f"""
import contextlib, io, sys
sys.path.insert(0, {str(REPOSITORY / "platform")!r})
from objadapt import commands
for call in {calls!r}:
    sys.argv = ["objadapt", *call]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        commands.main()
print(*{HEAVY!r} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_help_needs_neither_torch_nor_ray():
    light = [name for name in commands.names() if name != "pretrain-backbone"]  # its data set is one of torch's
    assert len(light) == 12 and loaded(["--help"], *([name, "--help"] for name in light)) == set()


def test_a_wrong_config_is_refused_before_torch_and_ray_are_loaded(tmp_path):
    (tmp_path / "table.yaml").write_text("title: 3\n")
    wrong = [
        ["train", "--config", "toy", "model.num_slots=0"],
        ["extract-features", "--config", "toy", "no_such.key=1"],
        ["plan", "--config", "toy", "--cpus", "2", "training.epochs=0"],
        ["sweep", "nowhere", "--config", "toy"],
        ["reproduce", "--table", "nowhere"],
        ["reproduce", "--table", str(tmp_path / "table.yaml")],
        ["segment", "--checkpoint", "x", "--davis", "y", "--out", "z", "--stride", "0"],
    ]
    assert loaded(*wrong) == set()


def test_every_script_has_its_command():
    scripts = {path.stem.replace("_", "-") for path in (REPOSITORY / "jobs").glob("[!_]*.py")}
    assert scripts == set(commands.names()) - {"dashboard"}  # the app is no job for a cluster


def called(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["objadapt", *arguments])
    with pytest.raises(SystemExit) as end:
        commands.main()
    return end.value.code, *capsys.readouterr()


@pytest.mark.parametrize("name", ["check-videos", "check_videos"])
def test_a_name_with_either_sign(monkeypatch, capsys, name):
    code, out, _ = called(monkeypatch, capsys, name, "--help")
    assert code == 0 and out.startswith("usage: objadapt check-videos [-h]")


@pytest.mark.parametrize(("arguments", "said"), [([], "no command"), (["trian"], "score-davis, segment, sweep, train")])
def test_a_wrong_command_is_one_line(monkeypatch, capsys, arguments, said):
    code, out, err = called(monkeypatch, capsys, *arguments)
    assert code == 2 and not out and err.startswith("error: ") and err.count("\n") == 1 and said in err


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("objadapt reproduce", ["objadapt", "reproduce"]),
        ("/some where/jobs/reproduce.py", ["python", "jobs/reproduce.py"]),
        ("", ["python", "jobs/reproduce.py"]),
    ],
)
def test_a_recorded_command_is_the_one_that_was_given(monkeypatch, program, words):
    monkeypatch.setattr(sys, "argv", [program])
    assert job.called("reproduce") == words


def test_a_declared_name_comes_before_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy").touch()
    (tmp_path / "mine").touch()
    assert declared.find("--config", "toy", declared.CONFIGS) == declared.CONFIGS / "toy.yaml"
    for path in ("./toy", "mine", "absent.yaml", "absent/toy", "../toy"):
        found = declared.find("--config", path, declared.CONFIGS)
        assert found == Path(path) == declared.find("--config", found, declared.CONFIGS), "a path stays that path"
    with pytest.raises(InputError, match="^--config: absent: no such file, .* kinetics400, "):
        declared.find("--config", "absent", declared.CONFIGS)
