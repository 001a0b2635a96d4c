"""jobs/configs: every experiment loads, says what it reproduces,
and describes the model whose parameters the paper counts.
"""

import csv
import re
import shlex
from pathlib import Path

import pytest
import yaml
from formulas import formula_parameters

from objadapt.config_file import load_config
from objadapt.data.manifest import build_manifest
from objadapt.evaluation.cost import tunable_parameters
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter
from objadapt.pipeline.automatic import place
from objadapt.pipeline.placement import Nodes, lacking, placement
from objadapt.pipeline.side_by_side import gpus_each

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "jobs" / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
VIT_B_16 = 512  # J
OF_A_FRAME = {  # backbone -> (tokens, cls among them; their width)
    "ViT-B-16-quickgelu": (1 + 14**2, VIT_B_16),
    "ViT-L-14-quickgelu": (1 + 16**2, 768),
    "vit_small_patch14_dinov2.lvd142m": (1 + 16**2, 384),
}
HEADS = {
    "kinetics400": {"label": 400},
    "something_something_v2": {"label": 174},
    "epic_kitchens_100": {"verb_label": 97, "noun_label": 300},
}
SIZES = [(letter, frames) for letter in ("b16", "l14") for frames in (8, 16, 32)]
OF_THE_PAPER = [f"{name}_{letter}_{frames}f" for name in HEADS for letter, frames in SIZES]
PLANNED = [*OF_THE_PAPER, "ucf101", "hmdb51", "jhmdb"]  # whose headers give views, and a cost by jobs/plan.py
VIT = {"b16": "ViT-B/16", "l14": "ViT-L/14"}
ACTIONS, CLASSES = ("verb", "noun", "action"), ("top1", "top5")
PAPER_ROW = {  # config -> (table, row, columns whose values the header must give)
    "kinetics400": ("kinetics400", "Ours ViT-B/16 (8 frames)", CLASSES),
    "something_something_v2": ("something_something_v2", "Ours ViT-B/16 (8 frames)", CLASSES),
    "epic_kitchens_100": ("epic_kitchens_100", "Ours ViT-B/16", ACTIONS),
    **{f"epic_kitchens_100_{it}_{n}f": ("epic_kitchens_100", f"Ours {VIT[it]}", ACTIONS) for it, n in SIZES},
    **{
        f"{name}_{it}_{n}f": (name, f"Ours {VIT[it]} ({n} frames)", CLASSES)
        for name in ("kinetics400", "something_something_v2")
        for it, n in SIZES
        if it == "b16" or n == 32  # the paper's ViT-L/14 has 32 frames alone
    },
}


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


def header(path: Path) -> str:
    lines = path.read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").strip() for line in lines[:end])


def keys(tree: dict, prefix: str = "") -> list[str]:
    """Dotted names of all values of a tree."""
    return [
        name
        for key, value in tree.items()
        for name in (keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key])
    ]


def test_it_loads_and_is_named_as_its_file(path):
    assert load_config(path).name == path.stem


def test_its_header_says_what_to_expect_what_it_costs_and_how_to_run_it(path):
    text = header(path)
    for part in ("Expected: ", "Cost: ", "Command", f"python jobs/train.py --config jobs/configs/{path.name}"):
        assert part in text, part


def test_it_says_only_what_departs_from_the_defaults_or_is_the_experiment_itself(path):
    """`data`, `sampling`, `backbone`, `training.epochs`, `training.batch_size` and `stream` may repeat a default.

    What stands over a base repeats nothing of it.
    """
    tree = yaml.safe_load(path.read_text())
    below = path.parent / tree.pop("base") if "base" in tree else None
    default = load_config(below).model_dump()
    spelled_out = ("data.", "sampling.", "backbone.", "stream.", "training.epochs", "training.batch_size")
    for key in keys(tree):
        if key.startswith(spelled_out) and not below:
            continue
        written, usual = tree, default
        for part in key.split("."):
            written, usual = written[part], usual[part]
        assert written != usual, key


@pytest.mark.parametrize("gpus", [0, 1, 4])
def test_it_runs_on_machines_with_gpus_and_on_those_without(path, gpus):
    config, there = load_config(path), [Nodes("node", 1, 8, gpus)]
    stream = place(config, there)
    together = (
        [(0, stream.encoders), (stream.num_workers, 0, 0)]
        if config.stream.hold
        else [(stream.num_workers, stream.encoders)]
    )
    assert not any(lacking(placement(stream, *parts), there) for parts in together)
    assert (stream.encoder_gpus > 0) == (stream.trainer_gpus > 0) == (gpus > 0) or stream.num_workers == 0
    each, _ = gpus_each("--gpus-per-row", "auto", config.stream, 1.0, None, there)
    assert (each > 0) == (gpus > 0)


def test_it_names_no_place_outside_the_repository(path):
    config = load_config(path)
    data = config.data
    for named in (data.root, data.train, data.val, data.videos, config.backbone.weights, config.output):
        assert named is None or not (named.startswith(("/", "~")) or ".." in named or "://" in named), named


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_the_papers_sizes_are_what_their_names_say(name):
    """One base a data set, of which a file changes the backbone and the frames alone."""
    data_set, letter, frames = re.fullmatch(r"(.*)_(b16|l14)_(\d+)f", name).groups()
    path = FOLDER / f"{name}.yaml"
    config, base = load_config(path), load_config(FOLDER / f"{data_set}.yaml")
    assert config.sampling.frames == int(frames)
    assert config.backbone.name == {"b16": "ViT-B-16-quickgelu", "l14": "ViT-L-14-quickgelu"}[letter]
    assert (config.data, config.method, config.training) == (base.data, base.method, base.training)
    span = config.sampling.frames * config.sampling.stride
    assert config.sampling.mode == "uniform" or span == base.sampling.frames * base.sampling.stride


@pytest.mark.parametrize("name", PLANNED)
def test_the_views_in_a_header_are_the_configs(name):
    config = load_config(FOLDER / f"{name}.yaml")
    views = f"{config.sampling.frames} x {config.evaluation.temporal_clips} x {config.evaluation.spatial_crops}"
    assert f"Views: {views}, frames x temporal clips x spatial crops" in header(FOLDER / f"{name}.yaml")


def test_jhmdbs_official_layout_is_read_by_the_config_that_reads_the_table(tmp_path):
    """As its header says: data.format=jhmdb, with the split files and folders of frames."""
    overrides = re.search(
        r"As distributed .*: add (data.format=\S+) .*; (data.split=2)", header(FOLDER / "jhmdb.yaml"), re.S
    )
    for number in (1, 2):
        (tmp_path / "splits").mkdir(exist_ok=True)
        (tmp_path / f"splits/wave_test_split{number}.txt").write_text(f"a.avi {number}\nb.avi {3 - number}\n")
    for clip in "ab":
        (tmp_path / "Rename_Images/wave" / clip).mkdir(parents=True)
        (tmp_path / "Rename_Images/wave" / clip / "00001.png").touch()
    config = load_config(FOLDER / "jhmdb.yaml", [f"data.root={tmp_path}", *overrides.groups()])
    rows = build_manifest(config.data, 0).table
    assert dict(zip(rows["clip_id"], rows["split"], strict=True)) == {"wave/a": "val", "wave/b": "train"}


@pytest.mark.parametrize("name", PLANNED)
def test_the_cost_in_a_header_is_what_plan_prints(run_job, name):
    text = header(FOLDER / f"{name}.yaml")
    hours, disk, command = re.search(
        r"^Cost: (.* h) and (.* GB); by\n *python jobs/plan.py (.*?)\n *Decoding", text, re.M | re.S
    ).groups()
    arguments = shlex.split(command.replace("\\\n", " "))
    assert arguments[:2] == ["--config", f"jobs/configs/{name}.yaml"]
    done = run_job("plan", "--config", FOLDER / f"{name}.yaml", *arguments[2:])
    assert done.code == 0, done.err
    assert f"{hours}, of" in done.out and f"= {disk}" in done.out
    config = load_config(FOLDER / f"{name}.yaml")
    tokens, width = OF_A_FRAME[config.backbone.name]
    assert f"cache_bytes={2 * config.sampling.frames * tokens * width}" in arguments, "float16"


@pytest.mark.parametrize("name", HEADS)
def test_tunable_parameters_equal_the_formulas(name):
    config, heads = load_config(REPOSITORY / "jobs" / "configs" / f"{name}.yaml"), HEADS[name]
    adapter = ObjectCentricAdapter(config.method, heads, VIT_B_16, config.sampling.frames)
    assert tunable_parameters(adapter) == sum(formula_parameters(config.method, heads, VIT_B_16).values())


@pytest.mark.parametrize("name", PAPER_ROW)
def test_the_header_gives_the_papers_numbers(name):
    tables = REPOSITORY.parent / "shared" / "paper" / "tables"
    if not tables.is_dir():
        pytest.skip("no ../shared/paper beside the checkout: the paper's tables are not in the repository")
    table, row, columns = PAPER_ROW[name]
    with open(tables / f"{table}.csv", newline="") as file:
        numbers = next(line for line in csv.DictReader(file) if line["method"] == row)
    text = header(REPOSITORY / "jobs" / "configs" / f"{name}.yaml")
    assert row in text and f'"{table}"' in text
    for column in columns:
        assert f"{column.replace('top', 'top-')} {numbers[column]}" in text, column
