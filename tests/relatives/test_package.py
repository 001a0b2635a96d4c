"""objadapt_relatives as a whole: built on the core by its public way, with configs, tables and pages of its own."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from objadapt.config_file import load_config
from objadapt.methods.build import build_method
from objadapt.tables.table import load_table, row_config

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "platform" / "objadapt_relatives"
SYSTEMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
CONFIGS = sorted(path for name in ("toy", "jhmdb") for path in PACKAGE.glob(f"*/{name}.yaml"))
TABLES = sorted(set(PACKAGE.glob("*/*.yaml")) - set(CONFIGS))
COMMANDS = {
    "representation.py",
    "ask.py",
    "compose.py",
    "pictures.py",
}  # these lead to Ray; the methods need torch alone
PAPERS = {
    "interleaved_placement": "2309.15112",
    "concepts": "2207.12795",
    "dclr": "2207.05340",
    "streaming_memory": "2405.16009",
    "song_tuples": "2402.17645",
}


def names(path: Path) -> set[str]:
    """Top-level names that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name.split(".")[0] for name in found}


def test_the_core_knows_nothing_of_it():
    assert sorted(PAPERS) == SYSTEMS
    assert not [
        path
        for path in (REPOSITORY / "platform" / "objadapt").rglob("*.py")
        if "objadapt_relatives" in path.read_text()
    ]


def test_its_methods_name_no_platform_library():
    forbidden = {"ray", "mlflow", "decord", "optuna"}
    assert not [path for path in PACKAGE.rglob("*.py") if path.name not in COMMANDS and names(path) & forbidden]


def test_no_file_of_it_is_too_long_to_read_in_one_sitting():
    assert not [path for path in PACKAGE.rglob("*.py") if len(path.read_text().splitlines()) > 250]


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_says_where_it_comes_from_and_what_differs(name):
    readme = (PACKAGE / name / "README.md").read_text()
    assert PAPERS[name] in readme and "## What differs from the paper" in readme
    assert f"platform/objadapt_relatives/{name}" in (REPOSITORY / "docs" / "methods" / f"{name}.md").read_text()
    for file in re.findall(r"^\| `(\w+\.py)`", readme, re.M):
        assert (PACKAGE / name / file).exists(), file


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_config_builds_its_method_and_says_what_to_expect(path):
    text = path.read_text()
    place = f"objadapt_relatives.{path.parent.name}.{path.stem}"
    for part in (
        "# Expected: ",
        "# Cost: ",
        "# Command",
        f"python jobs/train.py --config {place}",
        PAPERS[path.parent.name],
    ):
        assert part in text, part
    config = load_config(path)
    method = build_method(config, {"label": 16}, 128)
    assert type(method).__module__ == f"objadapt_relatives.{path.parent.name}.method"
    default = type(method.settings)()
    for key, value in yaml.safe_load(text)["method"]["settings"].items():
        assert getattr(default, key) != value, f"{key} repeats a default"


@pytest.mark.parametrize("path", TABLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_table_s_rows_build_and_differ(path):
    dotted = f"objadapt_relatives.{path.parent.name}.{path.stem}"
    assert f"python jobs/reproduce.py --table {dotted} " in path.read_text()
    table, base = load_table(dotted), load_config(path.parent / "toy.yaml")
    configs = [row_config(table, row, base, [], "toy", 0) for row in table.rows]
    assert len({config.content_hash() for config in configs}) == len(configs)
    for config in configs:
        build_method(config, {"label": 16}, 128)
    assert len(table.parsed_claims()) == len(table.claims)
