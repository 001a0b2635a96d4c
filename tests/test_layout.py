"""The layout holds: imports go down only, the science needs torch alone, nothing names this machine."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from objadapt import run_folder

REPOSITORY = Path(__file__).resolve().parents[1]
PLATFORM = REPOSITORY / "platform"
PACKAGE = PLATFORM / "objadapt"

# A part may import the parts below it and itself, never its neighbours on the same line.
LAYERS = [
    {"commands"},  # what a user calls; the scripts in jobs/ lead here
    {"job"},  # what commands share
    {"command_line", "inputs"},  # light: what is wrong is said before torch or Ray are loaded
    {"tables", "sweeps"},
    {"capacity", "export"},
    {"prediction"},
    {"runs", "video_model", "ray_start"},
    {"tracking"},  # handed in, not imported, below
    {"training"},
    {"plan", "masks"},
    {"pipeline"},  # spreads over Ray what evaluation does for one clip
    {"evaluation"},
    {"methods"},
    {"backbone"},
    {"data"},
    {"config_file"},
    {"run_folder", "config_keys", "weights_file"},  # run_folder: the only owner of names of files in it
    {"config"},
    {"config_methods", "config_training", "files", "store_uri", "declared"},
    {"config_discovery"},
    {"config_peers"},
    {"config_where", "identity", "stored_format", "ray_private"},
    {"errors", "passwords", "torchvision_compat", "nameless_user", "metric"},
]
LEVEL = {part: level for level, parts in enumerate(reversed(LAYERS)) for part in parts}
TORCH_ONLY = ("methods", "backbone", "evaluation", "training/loop.py")
FORBIDDEN = {"ray", "mlflow", "decord", "optuna"}

# /home/ray is the home in Ray's own images
MACHINE_PATH = re.compile(r"(?<![\w./])/(?:tmp|work|root|Users|home(?!/ray\b))/\w")
CODE = {".py", ".js", ".css", ".html", ".sh", ".yaml", ".yml"}


def sources(*places: str) -> list[Path]:
    """Python files of the package, or of the named parts of it."""
    roots = [PACKAGE / place for place in places] if places else [PACKAGE]
    return sorted(path for root in roots for path in ([root] if root.is_file() else root.rglob("*.py")))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PLATFORM).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Full dotted names that a file imports, at the top or inside functions, relative imports resolved."""
    package = path.relative_to(PLATFORM).parent.parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{origin}.{alias.name}" for alias in node.names}
    return names


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: no list of tracked files")
    return [path for name in listed.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]


def test_platform_is_no_package():
    """A package named platform on sys.path would shadow the standard library's; ray, torch and pytest break then."""
    assert not (PLATFORM / "__init__.py").exists()


def test_every_part_has_its_layer():
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in sources()} - {"__init__"}
    assert parts <= LEVEL.keys(), f"say in LAYERS where these belong: {sorted(parts - LEVEL.keys())}"


def test_contributing_lists_the_layers():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    listed = re.findall(
        r"^    (\w+(?: / \w+)*)(?:  .*)?$", text.partition("## Layout")[2].partition("## Style")[0], re.M
    )
    assert [set(line.split(" / ")) for line in listed] == LAYERS


def test_imports_go_down():
    wrong = []
    for path in sources():
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imports(path):
            other = name.split(".")[1] if name.startswith("objadapt.") else part
            if part == other or part not in LEVEL or other not in LEVEL:
                continue
            if LEVEL[other] >= LEVEL[part] or (
                other == "tracking" and part not in ("runs", "tables", "sweeps", "job", "commands")
            ):
                wrong.append(f"{path.relative_to(REPOSITORY)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_names_of_files_in_a_run_s_folder_are_written_once():
    """In run_folder.py: elsewhere no such name stands as a literal, nor a plain word behind the slash of a path."""
    names = {value for name, value in vars(run_folder).items() if name.isupper()}
    names -= {run_folder.TABLES}  # also a folder of declared tables
    assert {"summary.json", "records.jsonl", "last", "mlflow.db", "save_now"} <= names
    wrong = []
    for path in [*sources(), *(REPOSITORY / "dashboards").rglob("*.py"), *(REPOSITORY / "jobs").rglob("*.py")]:
        if path.name == "run_folder.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            part = node.right if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) else node
            special = isinstance(part, ast.Constant) and part.value in names
            if special and (part is not node or re.search(r"[._]", part.value)):
                wrong.append(f"{path.relative_to(REPOSITORY)}:{node.lineno}: {part.value}")
    assert not wrong, "\n".join(wrong)


def test_torch_only_parts_name_no_platform_library():
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path in sources(*TORCH_ONLY)
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN
    ]
    assert not wrong, "\n".join(wrong)


def test_torch_only_parts_import_where_no_platform_library_is():
    """In a fresh process in which those libraries cannot be imported,
    so nothing that is imported on the way needs them.
    """
    modules = [module_name(path) for path in sources(*TORCH_ONLY)]
    code = f"""
import importlib, importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {FORBIDDEN}:
            raise ModuleNotFoundError(f"{{name}} is not on a bare torch machine", name=name)
sys.meta_path.insert(0, Absent())
sys.path.insert(0, {str(PLATFORM)!r})
for name in {modules}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_file_names_this_machine():
    wrong = []
    for path in tracked_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:  # pictures, weights
            continue
        wrong += [
            f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(text.splitlines(), 1)
            if MACHINE_PATH.search(line) or str(REPOSITORY) in line
        ]
    assert not wrong, "\n".join(wrong)


def test_a_name_is_given_once():
    """No two files of the package, and no two public classes, have one name:
    what is searched for is found in one place.
    """
    commands = PACKAGE / "commands"  # its files are called as a user calls them
    files = Counter(path.name for path in sources() if path.name != "__init__.py" and path.parent != commands)
    classes = Counter(
        node.name
        for path in sources()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    twice = [name for name, count in (files + classes).items() if count > 1]
    assert not twice, f"given twice: {', '.join(twice)}"


def test_no_file_is_too_long_to_read_in_one_sitting():
    lengths = {path: len(path.read_text().splitlines()) for path in tracked_files() if path.suffix in CODE}
    most = {path: 350 if "tests" in path.parts else 300 for path in lengths}
    wrong = [
        f"{path.relative_to(REPOSITORY)}: {length} lines" for path, length in lengths.items() if length > most[path]
    ]
    assert not wrong, "\n".join(wrong)


def test_private_names_of_tune_s_optuna_search_are_in_one_file():
    """`OptunaSearch` keeps its trials and its study under private names; Optuna's own are used nowhere."""
    private = re.compile(r"\b_ot_\w+|\boptuna\.[\w.]*\b_\w+|from optuna[\w.]* import _")
    files = [*sources(), *(REPOSITORY / "dashboards").rglob("*.py")]
    assert [path.name for path in files if private.search(path.read_text())] == ["study.py"]


def test_private_names_of_ray_are_in_one_file():
    private = re.compile(r"\bray\._(private|raylet|common)|\bray\.\w+\._internal")
    files = [*sources(), *(REPOSITORY / "jobs").glob("*.py"), *(REPOSITORY / "dashboards").rglob("*.py")]
    wrong = [path.name for path in files if path.name != "ray_private.py" and private.search(path.read_text())]
    assert not wrong
