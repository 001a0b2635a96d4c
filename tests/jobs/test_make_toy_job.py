"""jobs/make_toy.py: the same command gives the same files, and completes what was cut off."""

import hashlib
import json
from pathlib import Path

from objadapt.config import Data
from objadapt.data.manifest import build_manifest
from objadapt.data.toy import ACTIONS

OPTIONS = ("--train", 16, "--validation", 16, "--resolution", 48, "--length", 8, "--davis", 2, "--workers", 1)


def contents(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_what_was_cut_off_is_completed_to_the_same_bytes(run_job, tmp_path):
    root = tmp_path / "toy"
    done = run_job("make_toy", root, *OPTIONS, "--json", tmp_path / "made.json")
    assert done.code == 0, done.err
    assert done.out == f"{root}: 16 training and 16 validation clips of 16 actions (toy data)\n"
    told = json.loads((tmp_path / "made.json").read_text())
    assert told["classes"] == list(ACTIONS) and told["train"] == 16 and told["resolution"] == 48
    whole = contents(root)
    manifest = build_manifest(Data(root=str(root)), seed=0)
    assert manifest.coverage == {split: {"found": 16, "listed": 16} for split in ("train", "val")}
    assert len(manifest.classes["label"]) == 16 and manifest.flip is False

    for path in sorted((root / "videos").iterdir())[::3] + sorted((root / "davis").rglob("*.png"))[-1:]:
        path.unlink()
    (root / "labels/train.json").unlink()
    assert run_job("make_toy", root, *OPTIONS).code == 0
    assert contents(root) == whole


def test_without_arguments_it_says_what_it_needs(run_job):
    done = run_job("make_toy")
    assert done.code == 2 and "root" in done.err
