"""Wrong input ends each job with exit code 2 and one line that names the field or file; nobody reads a traceback."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[2]


def refused(done, *named: str) -> str:
    """The one line on stderr, which must hold each of `named`."""
    assert done.code == 2, done.out + done.err
    lines = done.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and "Traceback" not in done.out, done.err
    for name in named:
        assert name in lines[0]
    return lines[0]


@pytest.fixture
def train(run_job, tiny_config, tmp_path):
    """`train("key=value", ...)`: jobs/train.py on the tiny experiment, with an output folder of its own."""
    return lambda *overrides: run_job("train", "--config", tiny_config, f"output={tmp_path}/outputs", *overrides)


@pytest.mark.parametrize(
    "override, named",
    [
        ("method.intervall=1", ("method.intervall", "unknown key", "interval")),
        ("sede=1", ("sede", "unknown key", "seed")),
        ("method.slots.number", ("method.slots.number", "not of the form key.sub=value")),
        ("method.slots.number=[1", ("method.slots.number=[1", "not valid YAML")),
        ("method.slots.number.deep=1", ("method.slots.number",)),
        ("method.slots.number=0", ("method.slots.number", "at least 1")),
        ("method.slots.number=3.5", ("method.slots.number",)),
        ("method.interval=4", ("method.interval", "not below sampling.frames = 4")),
        ("method.interval=0", ("method.interval", "at least 1")),
        ("sampling.frames=1", ("sampling.frames", "method.temporal=none")),
        (
            "method.losses.distillation.slot_temperature=-0.1",
            ("method.losses.distillation.slot_temperature", "greater than 0"),
        ),
        (
            "method.losses.distillation.contrast_temperature=0",
            ("method.losses.distillation.contrast_temperature", "greater than 0"),
        ),
        ("training.batch_size=1", ("training.batch_size",)),
        ("training.batch_size=eight", ("training.batch_size", "eight")),
        ("stream.num_workers=3", ("training.batch_size", "8", "stream.num_workers = 3")),
        ("training.clips_per_class=3", ("training.batch_size", "training.clips_per_class = 3")),
        ("method.heads=7", ("method.heads", "7", "64")),
        ("transform.size=40", ("transform.size", "40", "patch size 16")),
        ("backbone.name=deit_tinny_patch16_224", ("backbone.name", "deit_tinny_patch16_224", "deit_tiny_patch16_224")),
        ("backbone.name=resnet18", ("backbone.name", "resnet18", "plain ViT")),
        ("backbone.library=clip", ("backbone.library", "clip")),
        ("backbone.weights=null", ("backbone", "weights")),
        ("backbone.weights=nowhere.safetensors", ("backbone.weights", "nowhere.safetensors")),
        ("data.root=nowhere", ("data.root", "nowhere")),
        ("output=s3://bucket/out", ("output", "s3://bucket/out", "give a folder")),
        ("stream.cache=s3://bucket/features", ("stream.cache", "s3://bucket/features", "give a folder")),
        ("stream.download_cache=s3://bucket/x", ("stream.download_cache", "s3://bucket/x", "give a folder")),
        ("data.root=''", ("data.root", "not set")),
        ("data.train=other.json", ("data.train", "other.json")),
        ("data.labels=other.json", ("data.labels", "other.json")),
        ("data.format=kinetics", ("data.train",)),
        ("data.fraction=0", ("data.fraction",)),
        ("name=../escape", ("name", "../escape")),
        ("tracking.uri=ftp://nowhere/x", ("tracking.uri", "ftp://nowhere/x")),
    ],
)
def test_wrong_values(train, override, named):
    refused(train(override), *named)


def test_the_first_wrong_value_does_not_hide_the_others(train):
    refused(train("seed=-1", "training.lr=0"), "seed", "training.lr")


@pytest.mark.parametrize(
    "content, named",
    [
        (None, "give an existing YAML file"),
        ("a: [1", "not valid YAML"),
        ("- 1\n- 2\n", "must be a mapping"),
        ("\udcff", "not valid YAML"),
    ],
)
def test_wrong_config_files(run_job, tmp_path, content, named):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content, errors="surrogateescape")
    refused(run_job("train", "--config", path), str(path), named)


def table(folder: Path, *rows: str) -> list[str]:
    """Overrides for a csv data set of these rows (header first) over two real clips a.mp4 and b.mp4."""
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return ["data.format=csv", f"data.root={folder}"]


@pytest.fixture
def clips(toy_root, tmp_path) -> Path:
    for name, video in zip(("a.mp4", "b.mp4"), sorted((toy_root / "videos").iterdir()), strict=False):
        shutil.copy(video, tmp_path / name)
    return tmp_path


GOOD = ("path,label,split", "a.mp4,wave,train", "b.mp4,wave,val")


@pytest.mark.parametrize(
    "rows, override, named",
    [
        (GOOD, "data.label_column=action", ("labels.csv", "action", "path, label, split")),
        (GOOD, "data.path_column=file", ("labels.csv", "file")),
        (GOOD, "data.split_column=fold", ("labels.csv", "fold")),
        (GOOD, "data.label_column=''", ("method.losses.classification",)),
        (("path,label,split", "a.mp4,,train", "b.mp4,,val"), "seed=0", ("method.losses.classification",)),
        (
            ("path,label,split", "a.mp4,wave,train", "b.mp4,nod,val"),
            "seed=0",
            ("labels.csv", "nod", "training classes"),
        ),
        (("path,label,split", "a.mp4,wave,test", "b.mp4,wave,val"), "seed=0", ("labels.csv",)),
        (("path,label,split", "a.mp4,wave,dev"), "seed=0", ("labels.csv", "dev", "train, val or test")),
        (("path,label,split",), "seed=0", ("data.root", "0 listed videos")),
        (("path,label,split", "c.mp4,wave,train"), "seed=0", ("data.root", "c.mp4")),
        (("path,label,split", "../c.mp4,wave,train"), "seed=0", ("labels.csv", "../c.mp4", "out of the data folder")),
        (("path,label,split", "a.mp4,wave,train", "a.mp4,wave,val"), "seed=0", ("a.mp4", "more than once")),
        (("path,label,split,start_s,end_s", "a.mp4,wave,train,2,1"), "seed=0", ("a.mp4", "ends at 1")),
    ],
)
def test_wrong_tables(train, clips, rows, override, named):
    refused(train(*table(clips, *rows), override), *named)


def test_no_training_clips(train, clips):
    line = refused(train("data.format=class_folders", f"data.root={clips}"), "data.root", "train")
    assert str(clips) in line


def test_damaged_annotations(train, toy_root, tmp_path):
    shutil.copytree(toy_root / "labels", tmp_path / "labels")
    (tmp_path / "labels/train.json").write_text('[{"id": "1", "template"')
    refused(train(f"data.root={tmp_path}", f"data.videos={toy_root}/videos"), "train.json", "not valid JSON")
    (tmp_path / "labels/train.json").write_text(json.dumps([{"id": "1", "template": "Juggling [something]"}]))
    refused(train(f"data.root={tmp_path}", f"data.videos={toy_root}/videos"), "train.json", "Juggling")


@pytest.mark.parametrize("name", ["text.safetensors", "cut.safetensors", "text.pt", "cut.pt", "weights.h5"])
def test_unreadable_weights(train, tiny_weights, tmp_path, name):
    content = b"these are not weights\n" if name.startswith("text") else tiny_weights.read_bytes()[:50_000]
    (tmp_path / name).write_bytes(content)
    refused(train(f"backbone.weights={tmp_path / name}"), "backbone.weights", name)


def test_weights_of_another_model(train, tiny_weights):
    refused(train("backbone.name=deit_tiny_patch16_224"), "backbone.weights", tiny_weights.name, "does not fit")


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda folder: shutil.rmtree(folder), "no state.json"),
        (lambda folder: (folder / "state.json").write_text("{"), "state.json is damaged"),
        (lambda folder: (folder / "state.json").write_text('{"epochs": 3}'), "state.json is damaged"),
        (lambda folder: (folder / "adapter.safetensors").unlink(), "unreadable weights"),
        (lambda folder: (folder / "adapter.safetensors").write_bytes(b"cut"), "unreadable weights"),
    ],
)
def test_wrong_checkpoints(run_job, trained, tmp_path, damage, named):
    folder = tmp_path / "last"
    shutil.copytree(json.loads(trained.json.read_text())["checkpoint"], folder)
    damage(folder)
    refused(run_job("evaluate", folder), str(folder), named)


def test_predictions_in_a_form_that_is_not_known(run_job, tmp_path):
    refused(
        run_job("evaluate", "nowhere", "--predictions", tmp_path / "p.txt"), "--predictions", "p.txt", ".csv nor .json"
    )


def test_a_split_without_clips(run_job, trained):
    refused(
        run_job("evaluate", json.loads(trained.json.read_text())["checkpoint"], "--split", "test"),
        "no test clips",
        "train, val",
    )


@pytest.mark.parametrize(
    "override, named",
    [
        ("stream.encoders=0", ("stream.encoders", "at least 1 nor auto")),
        ("stream.encoder_gpus=1.5", ("stream.encoder_gpus", "no share of one GPU")),
        ("stream.trainer_gpus=some", ("stream.trainer_gpus", "'some'", "nor auto")),
        ("stream.trainer_gpus=-1", ("stream.trainer_gpus", "at least 0 nor auto")),
        ("backbone.precision=half", ("backbone.precision", "half")),
    ],
)
def test_wrong_placements(train, override, named):
    refused(train(override), *named)


def test_a_gpu_that_this_process_cannot_use(train, local_ray):
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    refused(
        train("stream.trainer_gpus=1", "stream.encoder_gpus=0"),
        "stream.trainer_gpus",
        "this process",
        "stream.num_workers",
    )


def test_too_few_cpus(train, local_ray):
    refused(train("stream.encoder_cpus=100000"), "stream", "100000", "CPUs", "the cluster has")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_diverging_training_says_what_to_lower(train, local_ray, tmp_path, workers):
    placed = [
        "stream.trainer_cpus=0.25",
        "stream.encoder_cpus=0.25",
        f"stream.num_workers={workers}",
        "stream.hold=true",
    ]
    refused(
        train("training.lr=1e30", "training.clip_norm=null", "training.warmup_epochs=0", *placed), "lower training.lr"
    )


def test_a_foreign_folder_is_not_filled_with_toy_clips(run_job, toy_root, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    refused(run_job("make_toy", tmp_path, "--train", 16), str(tmp_path), "not empty")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    refused(run_job("make_toy", toy_root, "--train", 16), str(toy_root), "other options")


def test_a_damaged_stamp_of_toy_data(run_job, tmp_path):
    (tmp_path / "toy.json").write_text('{"train": 12')
    refused(run_job("make_toy", tmp_path), str(tmp_path / "toy.json"), "delete the folder")


@pytest.mark.parametrize(
    "options",
    [
        ("--steps", 0),
        ("--variants", 0),
        ("--batch-size", 0),
        ("--lr", 0),
        ("--seed", -1),
        ("--start", "nowhere"),
        ("--start", "."),
    ],
)
def test_impossible_pretraining(run_job, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    refused(run_job("pretrain_backbone", "--steps", 1, *options), options[0])
    (tmp_path / "weights.safetensors").write_bytes(b"cut")
    refused(run_job("pretrain_backbone", "--steps", 1, *options), options[0])
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "options",
    [("--train", 3), ("--resolution", 33), ("--length", 1), ("--davis", 9999), ("--seed", -1), ("--workers", 0)],
)
def test_impossible_toy_data(run_job, tmp_path, options):
    refused(run_job("make_toy", tmp_path / "new", *options))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("field", ["data.root", "output", "backbone.weights", "tracking.uri"])
def test_relative_paths_under_a_submitted_job(train, monkeypatch, field):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    value = "sqlite:///mlflow.db" if field == "tracking.uri" else "some/place"
    refused(train(f"{field}={value}"), f"{field}: ", "is relative", "absolute path")


def test_as_a_command(tmp_path):
    """What the others see in this process is what a shell sees."""
    command = [sys.executable, REPOSITORY / "jobs/train.py", "data.root=nowhere", "method.slots.number=0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
