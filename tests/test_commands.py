"""The one command: it lists, finds and names what there is; help and refusals come before anything heavy is loaded."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from objadapt import commands, declared, job
from objadapt.config import Experiment
from objadapt.errors import InputError
from objadapt.stored_format import FORMAT
from objadapt.training.state import State

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "ray", "mlflow", "optuna", "open_clip", "timm", "decord", "pandas", "sklearn", "scipy", "streamlit"}


def called_afresh(calls: list[list[str]], folder: Path) -> list[dict]:
    """What these calls of `objadapt` came to in one fresh process: exit code, output, heavy libraries loaded so far."""
    code = f"""
import contextlib, io, json, sys
sys.path.insert(0, {str(REPOSITORY / "platform")!r})
from objadapt import commands
for call in {calls!r}:
    sys.argv, code, out, err = ["objadapt", *call], 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            commands.main()
        except SystemExit as end:
            code = end.code or 0
    loaded = sorted({HEAVY!r} & sys.modules.keys())
    print(json.dumps({{"code": code, "out": out.getvalue(), "err": err.getvalue(), "loaded": loaded}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_help_loads_nothing_heavy_and_shows_how(tmp_path):
    names = commands.names()
    general, *each = called_afresh([["--help"], *([name, "--help"] for name in names)], tmp_path)
    assert len(names) == 19 and general["loaded"] == [] and all(name in general["out"] for name in names)
    for name, one in zip(names, each, strict=True):
        assert one["code"] == 0 and one["loaded"] == [], name
        assert re.search(rf"^    objadapt {name}( |$)", one["out"], re.M), f"{name}: no example"
        assert "default: None" not in one["out"] and "default: False" not in one["out"]
        if "key.sub=value" in one["out"]:
            assert "objadapt config --keys" in one["out"]


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder of class folders, a checkpoint's state without weights, a table and a list of sequences that are not."""
    (tmp_path / "clips" / "train" / "wave").mkdir(parents=True)
    (tmp_path / "clips" / "train" / "wave" / "a.mp4").touch()
    (tmp_path / "table.yaml").write_text("title: 3\n")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "clips" / "labels.csv").write_text("file,label,split\n")
    (tmp_path / "last").mkdir()
    config = Experiment().model_dump(mode="json") | {"data": {"format": "class_folders", "root": "gone"}}
    state = {"format": FORMAT, "objadapt": "0"} | vars(State(config, {"label": ["wave"]}, 8, "0"))
    (tmp_path / "last" / "state.json").write_text(json.dumps(state))
    return tmp_path


MINE = ["data.format=class_folders", "data.root=clips", "backbone.pretrained=openai"]
DAVIS = ["--davis", "nowhere", "--out", "masks"]
WRONG = [
    ("trian", "trian: no such command; did you mean train?"),
    ("train --confg toy", "--confg; did you mean --config?"),
    ("train --config toyy", "--config: toyy: no such file, and none of that name is declared; did you mean toy?"),
    ("train --config toy epochs=3", "epochs: unknown key; did you mean training.epochs?"),
    ("train --config toy method.intervall=1", "method.intervall: unknown key; did you mean method.interval?"),
    ("train --config toy training.epochs=0", "training.epochs: "),
    ("train --config toy data.root=nowhere", "data.root: no folder "),
    ("train --config toy data.root=clips", "data.format: "),
    ("train --config toy data.root=last", "data.labels: no labels.json"),
    ("train last", "last is a checkpoint, and overrides are of the form key.sub=value"),
    ("train", "data.root: not set"),
    (["train", *MINE], "data.val: no val or validation folder in "),
    (["train", *MINE, "data.val=train"], "data.val: "),
    (
        ["train", *MINE[:2], "data.holdout=0.5", "backbone.pretrained=null"],
        "backbone: ViT-B-16-quickgelu needs backbone.pretrained=TAG",
    ),
    (["train", *MINE, "data.holdout=0.5", "backbone.weights=gone.pt"], "backbone.weights: gone.pt is not a file"),
    (["train", *MINE, "data.holdout=0.5", "output=notes.txt/runs"], "output: "),
    (["train", *MINE, "data.holdout=0.5", "tracking.uri=ftp://x"], "tracking.uri: 'ftp://x' is no store"),
    (["train", *MINE, "data.holdout=0.5", "method.module=no_such.method"], "method.module: no module no_such.method"),
    ("evaluate nowhere", "checkpoint: 'nowhere' is no folder, and outputs/runs has no run of that name"),
    ("evaluate clips", "checkpoint clips: no state.json there"),
    ("evaluate last", "data.root: no folder "),
    ("evaluate last data.rot=clips", "data.rot: unknown key; did you mean data.root?"),
    ("evaluate last --split vall", "invalid choice: 'vall'"),
    ("evaluate last --challenge notes.txt", "--challenge: notes.txt is there already"),
    ("evaluate last --challenge c.json", "--challenge: it asks for 97 classes of verb_label and 300 of noun_label"),
    ("evaluate last --supervision 5,3", "--supervision: '5,3' is not PT,TL,TD"),
    ("evaluate last --predictions p.txt", "--predictions: p.txt ends in neither"),
    (["segment", "nowhere", *DAVIS], "checkpoint: 'nowhere' is no folder"),
    (["segment", *DAVIS], "--checkpoint: none is given"),
    (["segment", "--checkpoint", "last", *DAVIS, "--stride", "0"], "--stride: 0 is below 1"),
    (["segment", "last", *DAVIS, "backbone.pretrained=openai"], "nowhere: no such folder"),
    ("segment last --video clips --out masks backbone.pretrained=openai", "checkpoint last: unreadable weights"),
    ("segment last --video nowhere --out masks backbone.pretrained=openai", "nowhere does not exist"),
    ("extract-features --config toy no_such.key=1", "no_such: unknown key"),
    ("extract-features --config toy", "stream.cache: no folder given"),
    ("extract-features --config toy stream.cache=c data.root=nowhere", "data.root: no folder "),
    ("extract-features --config toy stream.cache=c --frames 4,x", "--frames: '4,x' is not a list"),
    ("extract-features --cache nowhere --list", "--cache: no folder nowhere"),
    ("extract-features --cache clips --prune abc", "--prune: "),
    ("plan --config toy --cpus 2 training.epochs=0", "training.epochs: "),
    ("plan --config toy --cpus 2 data.root=nowhere", "give --clips TRAIN,VAL"),
    ("plan --config kinetics400 --cpus 2 --rates gone.json", "--rates: gone.json: "),
    ("plan --config kinetics400 --cpus 2 --rate decod=1", "--rate: 'decod' is no rate"),
    ("plan --config kinetics400 --cpus 2 --measure", "--measure: data.root "),
    ("sweep nowhere --config toy", "SPACE: nowhere: no such file"),
    ("sweep architecture --config toy data.root=nowhere", "data.root: no folder "),
    ("sweep architecture --config toy --sampler tpee", "--sampler: invalid choice: 'tpee'"),
    (
        "reproduce --table loses",
        "--table: loses: no such file, and none of that name is declared; did you mean losses?",
    ),
    ("reproduce --table table.yaml", "table.yaml: "),
    ("reproduce --table losses --rows bth", "--rows: no row bth in losses"),
    ("reproduce --table losses --davis nowhere", "nowhere: no such folder"),
    ("reproduce --table losses --davis here=nowhere", "--davis: here=nowhere: the first folder fills the table's own"),
    ("reproduce --table losses --davis clips --davis x=", "--davis: x=: no folder behind the name; give x=DIR"),
    ("reproduce --table regularisation --davis clips", "--davis: no column of regularisation is about objects"),
    ("reproduce --table losses --davis clips --davis last", "--davis: last: further sequences need a name"),
    ("reproduce --table losses --davis clips --davis x=last --davis x=clips", "--davis: x stands twice"),
    ("reproduce --table losses --masks RVOS=nowhere", "--masks: RVOS: no folder nowhere"),
    ("reproduce --table losses --dataset jhmdb data.root=nowhere", "data.root: no folder "),
    ("score-davis --predictions clips --davis nowhere", "nowhere: no such folder"),
    ("check-videos nowhere", "nowhere does not exist; give a video"),
    ("check-videos last", "PATH: no video file in "),
    ("manifest --format ucf11 --annotations clips", "--format: invalid choice: 'ucf11'"),
    ("manifest --format csv --annotations nowhere", "data.root: no folder "),
    ("manifest --format ucf101 --annotations clips", "data.labels: no classInd.txt, "),
    ("make-toy clips", "clips: not empty and not a toy data set"),
    ("pretrain-backbone --steps 0", "--steps: 0; give at least 1"),
    ("pretrain-backbone --start nowhere", "--start: nowhere holds no earlier pretraining"),
    ("demo --output notes.txt", "--output: "),
    ("train --config toy method.name=linear_prob", "'linear_prob' is no method; did you mean linear_probe?"),
    ("train --config toy data.format=kinetic", "data.format: did you mean kinetics? Input should be"),
    ("evaluate last --split tets", "did you mean test?"),
    ("evaluate", "--checkpoint: none is given"),
    ("export --output new", "--checkpoint: none is given"),
    (["propagate", *DAVIS], "--checkpoint: none is given"),
    (["propagate", "nowhere", *DAVIS], "checkpoint: 'nowhere' is no folder"),
    ("predict last", "last: one word is given, where a run and a video are needed"),
    ("predict clips/train/wave/a.mp4 last", "clips/train/wave/a.mp4 is a video, and the first word is the run's"),
    ("train data.root=clips --name=mine", "--name=mine: a key of the config has no dashes; write name=mine"),
    ("train data.root=clips --seed 1", "--seed: a key of the config has no dashes; write seed=VALUE"),
    ("train --data.root=clips", "--data.root=clips: a key of the config has no dashes; write data.root=clips"),
    ("train data.root=clips dry-run=true", "dry-run=true: is an option, not a key of the config; write --dry-run"),
    ("train --config toy --dry-run --json x.json", "--json: a dry run has no summary"),
    ("sweep architecture --config toy --dry-run --json x.json", "--json: a dry run has no summary"),
    ("sweep --config toy", "the following arguments are required: SPACE; "),
    ("sweep architecture data.root=clips", "data.val: no val or validation folder"),
    ("plan --cpus 2 data.root=nowhere", "give --clips TRAIN,VAL"),
    ("train data.root=clips data.format=csv", "no column path; it has file, label, split; data.path_column, "),
    ("train --config jobs/configs/toy.yaml", "jobs/configs/toy.yaml: no such file; the declared one is called toy"),
    ("train --config toy training.epochs=three", "training.epochs: 'three' is neither a whole number nor auto"),
    ("train --config toy data.label_column=[verb,", "the value is not valid YAML; one with spaces needs quotes"),
    ("train --config toy output=", "override 'output=': the value is empty"),
    ("benchmark --methods evll", "--methods: evll: no such method; did you mean evl?"),
    ("benchmark backbone.weights=gone.pt", "backbone.weights: gone.pt is not a file"),
    ("benchmark output=notes.txt/runs", "output: "),
    ("dashboard nowhere", "store: no folder nowhere; give a job's output folder"),
    ("dashboard sqlite:///gone.db", "store: no file gone.db"),
    ("config --kyes", "--kyes; did you mean --keys?"),
    ("dashboard --prot 1", "--prot; did you mean --port?"),
    ("predict --checkpoint nowhere clips", "checkpoint: 'nowhere' is no folder, and outputs/runs has no run"),
    ("predict --checkpoint last clips", "backbone: ViT-B-16-quickgelu needs backbone.pretrained=TAG"),
    ("predict --checkpoint last gone.mp4 backbone.pretrained=openai", "VIDEO: gone.mp4 does not exist"),
    ("predict --checkpoint last last backbone.pretrained=openai", "VIDEO: no video file in last or below"),
    ("predict --checkpoint last backbone.pretrained=openai", "VIDEO: none is given"),
    ("predict --checkpoint last clips --window 0", "--window: 0 is no length of time"),
    ("predict --checkpoint last clips --predictions table.yaml", "--predictions: table.yaml ends in neither"),
    ("predict --checkpoint last clips --overlay notes.txt", "--overlay: "),
    ("export --checkpoint nowhere --output new", "checkpoint: 'nowhere' is no folder"),
    ("export --checkpoint last --output clips backbone.pretrained=openai", "--output: clips is there already"),
]


def test_what_is_wrong_is_one_line_before_anything_heavy_is_loaded(place):
    """In one process, so the first call that loads something is the one to look at."""
    calls = [call.split() if isinstance(call, str) else call for call, _ in WRONG]
    before = sorted(place.rglob("*"))
    for call, one, (_, said) in zip(calls, called_afresh(calls, place), WRONG, strict=True):
        assert one["code"] == 2 and one["out"] == "", f"{call}: {one}"
        assert one["err"].startswith("error: ") and one["err"].count("\n") == 1 and said in one["err"], f"{call}: {one}"
        assert one["loaded"] == [], f"{' '.join(call)} loads {one['loaded']}"
    assert sorted(place.rglob("*")) == before, "nothing is made by what is refused"


def test_small_things_need_neither_torch_nor_ray(tmp_path):
    calls = [
        ["config", "--keys"],
        ["config", "--config", "toy", "training.epochs=3"],
        ["make-toy", "toy", "--train", "16", "--validation", "16", "--davis", "2", "--length", "4", "--workers", "1"],
        ["extract-features", "--cache", "toy", "--list"],
        ["check-videos", "toy/videos"],
        ["manifest", "--format", "something_something", "--annotations", "toy"],
        ["score-davis", "--predictions", "toy/davis/Annotations_unsupervised/480p", "--davis", "toy/davis"],
    ]
    done = called_afresh(calls, tmp_path)
    assert [one["code"] for one in done] == [0] * len(calls), done
    assert " classes, 0 of them incomplete" in done[5]["out"]
    assert "0 of 32 videos are broken" in done[4]["out"] and "all objects" in done[6]["out"]
    for call, one in zip(calls, done, strict=True):
        assert not {"torch", "ray"} & set(one["loaded"]), call


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


def test_a_dotted_name_is_a_file_in_a_package(tmp_path, monkeypatch):
    package = tmp_path / "theirs" / "configs"
    package.mkdir(parents=True)
    (tmp_path / "theirs" / "__init__.py").touch()
    (package / "__init__.py").write_text("raise RuntimeError('a config is found without its package')")
    (package / "clips.yaml").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert declared.find("--config", "theirs.configs.clips", declared.CONFIGS) == package / "clips.yaml"
    for absent in ("theirs.configs.none", "theirs.nothing.clips", "no_such_package.clips", "a..b", ".a", "os.path"):
        with pytest.raises(InputError, match=f"^--config: {re.escape(absent)}: no such file, "):
            declared.find("--config", absent, declared.CONFIGS)
    for broken in ("import no_such_library", "raise RuntimeError('no driver')", "1 +"):
        (tmp_path / "broken").mkdir(exist_ok=True)
        (tmp_path / "broken" / "__init__.py").write_text(broken)
        sys.modules.pop("broken", None)
        importlib.invalidate_caches()
        with pytest.raises(InputError, match=r"^--config: broken.configs.x: broken.configs cannot be imported \("):
            declared.find("--config", "broken.configs.x", declared.CONFIGS)
