"""jobs/configs: every experiment loads, says what it reproduces,
and describes the model whose parameters the paper counts.
"""

import csv
from pathlib import Path

import pytest
import yaml
from formulas import formula_parameters

from objadapt.config_file import load_config
from objadapt.evaluation.cost import tunable_parameters
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter
from objadapt.pipeline.automatic import place
from objadapt.pipeline.placement import Nodes, lacking, placement
from objadapt.pipeline.side_by_side import gpus_each

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = sorted((REPOSITORY / "jobs" / "configs").glob("*.yaml"))
VIT_B_16 = 512  # J
HEADS = {
    "kinetics400": {"label": 400},
    "something_something_v2": {"label": 174},
    "epic_kitchens_100": {"verb_label": 97, "noun_label": 300},
}
PAPER_ROW = {  # config -> (table, row, columns whose values the header must give)
    "kinetics400": ("kinetics400", "Ours ViT-B/16 (8 frames)", ("top1", "top5")),
    "something_something_v2": ("something_something_v2", "Ours ViT-B/16 (8 frames)", ("top1", "top5")),
    "epic_kitchens_100": ("epic_kitchens_100", "Ours ViT-B/16", ("verb", "noun", "action")),
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
    """`data`, `sampling`, `backbone`, `training.epochs`, `training.batch_size` and `stream` may repeat a default."""
    tree, default = yaml.safe_load(path.read_text()), load_config().model_dump()
    spelled_out = ("data.", "sampling.", "backbone.", "stream.", "training.epochs", "training.batch_size")
    for key in keys(tree):
        if key.startswith(spelled_out):
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
