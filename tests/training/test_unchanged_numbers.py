"""Short trainings end as they did when they were recorded: weights, losses and validation, bit for bit.

Rearranging code must not change what is computed. Where a change is meant to, record anew and say so in the commit:
`OBJADAPT_RECORD=1 .venv/bin/python -m pytest tests/training/test_unchanged_numbers.py`.
Sums are ordered otherwise on other processors, so there the numbers are compared to within rounding.
"""

import hashlib
import json
import os
import platform
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from objadapt.config_file import load_config
from objadapt.data.manifest import build_manifest
from objadapt.plan import plan
from objadapt.training.trainer import train

RECORDED = Path(__file__).with_name("recorded_numbers.json")
CLOCK = {"train/data_wait_share", "train/clips_per_second"}
HELD = ["stream.hold=true", "stream.views=2"]
ABLATIONS = {
    "full": [],
    "no-object-interaction": ["method.object_interaction=false"],
    "no-temporal": ["method.temporal=none"],
    "temporal-attention": ["method.temporal=attention"],
    "one-slot": ["method.slots.number=1"],
    "no-slots": ["method.slots.number=none"],
    "slot-mlp-explicit": ["method.slots.mlp=true", "method.slots.implicit=false"],
    "all-intervals-max": ["method.interval=all", "method.readout=max"],
    "no-classification": ["method.losses.classification=0"],
    "no-distillation": ["method.losses.distillation.weight=0"],
    "no-temporal-loss": ["method.losses.temporal.weight=0"],
    "early-code": [
        "method.losses.distillation.symmetric=true", "method.losses.temporal.margin_form=hinge_negatives",
        "method.losses.mask_overlap=0.05",
    ],
    "other-seed-and-width": ["seed=3", "method.width=32", "training.clips_per_class=2"],
}  # fmt: skip


def machine() -> str:
    """What orders sums: the processor by its number, for whom MKL chooses its kernels, and the threads."""
    told = Path("/proc/cpuinfo").read_text() if platform.machine() == "x86_64" else ""
    number = "-".join(re.findall(r"^(?:cpu family|model)\s*: (\d+)$", told, re.MULTILINE)[:2])
    kind = f"{platform.machine()} {number} {torch.backends.cpu.get_cpu_capability()}"
    return f"{kind}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def numbers(result: dict, folder: Path) -> dict:
    """What is compared of a finished training."""
    weights = load_file(folder / "last" / "adapter.safetensors")
    digest = hashlib.sha256(b"".join(name.encode() + weights[name].numpy().tobytes() for name in sorted(weights)))
    clips = pd.read_parquet(folder / "clips.parquet").to_json(orient="split", double_precision=15)
    return {
        "weights": digest.hexdigest()[:16],
        "clips": hashlib.sha256(clips.encode()).hexdigest()[:16],
        "metrics": {name: value for name, value in result["state"]["metrics"].items() if name not in CLOCK},
    }


def compare(name: str, found: dict) -> None:
    everything = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    if os.environ.get("OBJADAPT_RECORD"):
        everything = everything if everything.get("machine") == machine() else {"machine": machine()}
        RECORDED.write_text(json.dumps(everything | {name: found}, indent=1) + "\n")
        return
    recorded = everything[name]
    if everything["machine"] == machine():
        assert found == recorded
    assert found["metrics"] == pytest.approx(recorded["metrics"], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_from_held_features(name, tiny_plan, held, tmp_path):
    made = tiny_plan(f"output={tmp_path}", *HELD, *ABLATIONS[name])
    compare(name, numbers(train(made, held=held), made.folder))


def test_a_resumed_training(tiny_plan, held, tmp_path):
    """Cut off within its second epoch."""
    made = tiny_plan(f"output={tmp_path}", *HELD)

    def cut(what, done, total, note=""):
        if what.startswith("epoch 2/") and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(made, show=cut, held=held)
    compare("full", numbers(train(made, held=held), made.folder))


@pytest.mark.slow
def test_from_the_stream_and_from_the_cache(tiny_config, tiny_plan, run_job, local_ray, tmp_path):
    common = [f"output={tmp_path}", "stream.views=2", f"stream.cache={tmp_path}/features"]
    assert run_job("extract_features", "--config", tiny_config, *common).code == 0
    made = tiny_plan(*common)
    compare("cached", numbers(train(made), made.folder))
    made = tiny_plan(f"output={tmp_path}")
    compare("streamed", numbers(train(made), made.folder))


@pytest.mark.slow
def test_two_workers(tiny_plan, local_ray, tmp_path):
    made = tiny_plan(f"output={tmp_path}", "stream.num_workers=2", "stream.trainer_cpus=0.5", "stream.trainer_gpus=0")
    compare("two-workers", numbers(train(made), made.folder))


@pytest.mark.slow
def test_class_folders_of_real_clips(shared, tiny_config, local_ray, tmp_path):
    clips = shared / "clips"
    for row in pd.read_csv(clips / "ut_interaction" / "labels.csv").itertuples():
        link = tmp_path / "clips" / row.split / row.label / Path(row.path).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(clips / row.path)
    config = load_config(
        tiny_config, [f"output={tmp_path}", "data.format=class_folders", f"data.root={tmp_path}/clips"]
    )
    made = plan(config, build_manifest(config.data, config.seed))
    compare("class-folders", numbers(train(made), made.folder))
