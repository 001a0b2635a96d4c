"""Nobody else's code runs, and names given to jobs lead nowhere else.

The rest of docs/security.md: tests/data/test_paths_and_passwords.py, tests/runs/test_secrets.py,
tests/cluster/test_listening.py, tests/cluster/test_token.py.
"""

import ast
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from objadapt.config_peers import LinearProbe
from objadapt.errors import InputError
from objadapt.evaluation.predictions import read_masks
from objadapt.methods.linear_probe import LinearProbeMethod
from objadapt.pipeline.cache_folder import prune
from objadapt.training import checkpoint

REPOSITORY = Path(__file__).resolve().parents[1]
PLACES = ("platform", "jobs", "dashboards", "benchmarks")

# --- nobody else's code: what the source may not call -----------------------------------------------------------------

FORBIDDEN = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "cloudpickle.load",
    "cloudpickle.loads",
    "joblib.load",
    "marshal.loads",
    "shelve.open",
    "dill.load",
    "dill.loads",
    "pandas.read_pickle",
    "torch.jit.load",
    "torch.hub.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.load_all",
    "yaml.unsafe_load_all",
    "yaml.full_load_all",
    "mlflow.pyfunc.load_model",
    "mlflow.pytorch.load_model",
    "shutil.unpack_archive",
    "tarfile.open",
    "zipfile.ZipFile",  # no archive is unpacked, so none can lead out of its folder
}
TEXT = (ast.Constant, ast.JoinedStr)  # a command must be a list


def calls(source: str) -> list[str]:
    """What a file calls that it must not, as `line: name`."""
    tree = ast.parse(source)
    names = {}  # as written in this file -> full
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            base = f"{node.module}." if isinstance(node, ast.ImportFrom) and not node.level else ""
            for alias in node.names:
                whole = alias.asname or isinstance(node, ast.ImportFrom)
                names[alias.asname or alias.name.split(".")[0]] = base + (
                    alias.name if whole else alias.name.split(".")[0]
                )
    safe, found = {"yaml.SafeLoader", "yaml.CSafeLoader"}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and {full(base, names) for base in node.bases} == {"yaml.SafeLoader"}:
            safe = safe | {node.name}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name, given = full(node.func, names), {keyword.arg: keyword.value for keyword in node.keywords}
        first = node.args[0] if node.args else given.get("args")
        wrong = (
            name in FORBIDDEN
            or (name == "torch.load" and not is_true(given.get("weights_only")))
            or is_true(given.get("allow_pickle"))
            or (name == "yaml.load" and full(given.get("Loader"), names) not in safe)
            or (name.startswith("subprocess.") and ("shell" in given or isinstance(first, TEXT)))
        )
        if wrong:
            found.append(f"{node.lineno}: {name}")
    return found


def full(node: ast.expr | None, names: dict[str, str]) -> str:
    """`np.load` -> `numpy.load`; '' for what is no dotted name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([names.get(node.id, node.id), *reversed(parts)]) if isinstance(node, ast.Name) else ""


def is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('a.pt')",
        "import torch\ntorch.load('a.pt', weights_only=False)",
        "from torch import load as read\nread('a.pt')",
        "from pickle import loads\nloads(b'')",
        "import numpy as np\nnp.load('a.npy', allow_pickle=True)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import yaml\nclass Mine(yaml.Loader): pass\nyaml.load(text, Loader=Mine)",
        "import subprocess\nsubprocess.run(f'rm {name}')",
        "import subprocess as s\ns.check_call(['ls'], shell=quick)",
        "import os\nos.system('ls')",
        "eval('1')",
    ],
)
def test_the_scan_finds_what_it_looks_for(source):
    assert len(calls(source)) == 1


def test_no_source_file_runs_code_that_it_was_handed():
    files = [file for place in PLACES for file in sorted((REPOSITORY / place).rglob("*.py"))]
    assert len(files) > 50
    wrong = [f"{file.relative_to(REPOSITORY)}:{call}" for file in files for call in calls(file.read_text())]
    assert not wrong, "\n".join(wrong)


# --- nobody else's code: files that would run some --------------------------------------------------------------------


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def test_the_payload_works(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "trace"))).close()
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("file", ["optimiser.pt", "adapter.safetensors"])
@pytest.mark.parametrize(
    "write", [torch.save, lambda code, path: path.write_bytes(pickle.dumps(code, 2))], ids=["zip", "plain"]
)
def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path, file, write):
    adapter, folder = LinearProbeMethod(LinearProbe(), {"label": 2}, 2), tmp_path / "last"
    optimiser = torch.optim.AdamW(adapter.parameters())
    checkpoint.save(folder, adapter, optimiser, checkpoint.State({}, {}, 8, "abc"))
    checkpoint.load(folder, adapter, optimiser)
    write({"state": Payload(tmp_path / "trace")}, folder / file)
    with pytest.raises(InputError, match=f"checkpoint {folder}: unreadable weights"):
        checkpoint.load(folder, adapter, optimiser)
    assert not (tmp_path / "trace").exists()


def test_soft_masks_with_code_in_them_are_refused_and_not_run(tmp_path):
    payload = np.empty(1, object)
    payload[0] = Payload(tmp_path / "trace")
    np.savez(tmp_path / "00000.npz", masks=payload)
    with pytest.raises(InputError, match="no readable soft masks"):
        read_masks(tmp_path / "00000.npz", (4, 4))
    np.save(tmp_path / "plain.npy", payload)
    with pytest.raises(InputError, match="no readable soft masks"):
        read_masks(tmp_path / "plain.npy", (4, 4))
    assert not (tmp_path / "trace").exists()


@pytest.mark.slow
def test_a_config_with_code_in_it_is_refused_and_not_run(run_job, tmp_path):
    (tmp_path / "config.yaml").write_text(f"name: !!python/object/apply:os.mkdir ['{tmp_path}/trace']\n")
    (tmp_path / "table.yaml").write_text(f"title: !!python/object/apply:os.mkdir ['{tmp_path}/trace']\n")
    for arguments in (
        ("train", "--config", tmp_path / "config.yaml"),
        ("train", f"name=!!python/object/apply:os.mkdir ['{tmp_path}/trace']"),
        ("reproduce", "--table", tmp_path / "table.yaml", "--dry-run"),
        ("sweep", tmp_path / "table.yaml"),
    ):
        done = run_job(*arguments)
        assert done.code == 2 and "not valid YAML" in done.err, done.err
    assert not (tmp_path / "trace").exists()


# --- names given to jobs ----------------------------------------------------------------------------------------------


def test_only_caches_of_the_folder_itself_are_pruned(tmp_path):
    for folder in ("caches/abc", "other/abc", "caches/abc/shards", "caches"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "cache.json").write_text("{}")
    outside = str(tmp_path / "other/abc")
    around = "abc/../../other/abc"
    for keys in (
        ["../other/abc"],
        ["../other/abc", "abc"],
        [around, "abc"],
        [outside, "abc"],
        ["../caches"],
        ["."],
        [""],
    ):
        with pytest.raises(InputError, match="is not a feature cache"):
            prune(tmp_path / "caches", keys)
    with pytest.raises(InputError, match="is not a feature cache"):
        prune(tmp_path / "caches/abc/shards", [".."])
    assert (tmp_path / "other/abc/cache.json").exists() and (tmp_path / "caches/abc/cache.json").exists()


def test_tables_are_looked_up_by_name(run_job):
    for name in ("../../etc", "/etc/passwd", "../tables/../../jobs/configs/toy"):
        done = run_job("reproduce", "--table", name, "--dataset", "toy", "--dry-run")
        assert done.code == 2 and done.err.startswith("error: ") and done.err.count("\n") == 1, done.err
