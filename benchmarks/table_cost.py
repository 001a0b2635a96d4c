"""Wall time of a table from the shared feature cache and from one shared stream, beside the same rows one after the
other, re-encoded from video, in one run.

    python benchmarks/table_cost.py FOLDER_OF_VIDEOS        # minutes: encoding again is what is slow

8 rows of 4 epochs on 16 clips, features of ViT-B/16's shape from random weights: for timing alone, the accuracies mean
nothing. Cache and stream: `jobs/reproduce.py`, without and with `--shared-stream`, as a user calls it, for 1, 2, 4 and
8 rows, extraction and start counted, each in a folder of its own. Video: the same rows one after the other in one
process, each streaming and encoding every clip in every epoch; the time after 1, 2, 4 and 8 of them.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import torch
import yaml
from safetensors.torch import save_file

from objadapt import job
from objadapt.backbone.open_clip_vit import image_tower, open_clip
from objadapt.config_file import load_config
from objadapt.data.manifest import build_manifest
from objadapt.data.video_files import list_videos
from objadapt.errors import InputError
from objadapt.plan import plan
from objadapt.runs.run import run_experiment
from objadapt.tables.table import load_table, row_config

MODEL = "ViT-B-16"
COUNTS = (1, 2, 4, 8)  # rows
TEMPERATURES, MARGINS = (0.05, 0.1), (0.1, 0.2, 0.3, 0.5)
VALIDATION = 4  # clips


def write_inputs(folder: Path, files: list[str], arguments) -> tuple[Path, Path]:
    """Random weights, a CSV data set of links to videos, a config and a table below `folder`; -> config, table."""
    torch.manual_seed(0)
    tower = image_tower(open_clip.get_model_config(MODEL))
    save_file({name: value.contiguous() for name, value in tower.state_dict().items()}, folder / "random.safetensors")
    (folder / "videos").mkdir()
    lines = ["path,label,split"]
    for number in range(arguments.clips + VALIDATION):
        source = Path(files[number % len(files)])
        link = folder / "videos" / f"{number}{source.suffix}"
        link.symlink_to(source)
        lines.append(f"videos/{link.name},{number % 2},{'train' if number < arguments.clips else 'val'}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    training = {"epochs": arguments.epochs, "validate_every": arguments.epochs, "warmup_epochs": 1}
    training |= {"batch_size": 8, "clips_per_class": 4}
    settings = {
        "name": "timing",
        "data": {"format": "csv", "root": str(folder)},
        "sampling": {"mode": "uniform", "frames": 8},
        "backbone": {"name": MODEL, "weights": str(folder / "random.safetensors")},
        "training": training,
        "stream": {"num_workers": 0, "encoders": 2, "encoder_cpus": 0.75, "views": 1},
    }
    keys = ("method.losses.distillation.slot_temperature", "method.losses.temporal.margin")
    pairs = itertools.product(TEMPERATURES, MARGINS)
    rows = [{"name": f"tau{pair[0]}-m{pair[1]}", "overrides": dict(zip(keys, pair, strict=False))} for pair in pairs]
    table = {"caption": "timing alone", "source": "own", "metrics": {"top1": {}}, "rows": rows}
    for name, content in (("config.yaml", settings), ("timing.yaml", table)):
        (folder / name).write_text(yaml.safe_dump(content))
    return folder / "config.yaml", folder / "timing.yaml"


def by_command(folder: Path, config: Path, table: Path, count: int, *options: str) -> float:
    """Seconds of the whole command for the first `count` rows, in a folder where nothing is cached."""
    names = ",".join(row.name for row in load_table(str(table)).rows[:count])
    command = [
        sys.executable,
        str(job.REPOSITORY / "jobs" / "reproduce.py"),
        "--table",
        str(table),
        "--dataset",
        str(config),
    ]
    started = time.perf_counter()
    where = ["--rows", names, "--output", str(folder / "".join([str(count), *options]))]
    subprocess.run([*command, *where, *options], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def from_video(folder: Path, config: Path, table: Path) -> list[float]:
    """Seconds after each row, Ray's start included, when every row encodes the videos anew in every epoch."""
    started, seconds = time.perf_counter(), []
    job.start_ray()
    base, declared = load_config(config, [f"output={folder / 'video'}"]), load_table(str(table))
    for row in declared.rows:
        settings = row_config(declared, row, base, [], base.name, 0)
        run_experiment(plan(settings, build_manifest(settings.data, settings.seed)), "benchmark")
        seconds.append(time.perf_counter() - started)
        print(f"from video: {len(seconds)} rows {seconds[-1]:.0f} s", flush=True)
    return seconds


def main():
    options = job.parser(__doc__)
    options.add_argument("videos", help="folder of videos")
    options.add_argument(
        "--clips", type=int, default=16, help="training clips, half in each of two classes that mean nothing"
    )
    options.add_argument("--epochs", type=int, default=4)
    job.add_json_option(options, "the figures")
    arguments = options.parse_args()
    files = list_videos(os.path.abspath(arguments.videos))
    if not files:
        raise InputError(f"{arguments.videos}: no video files there")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        config, table = write_inputs(folder, files, arguments)
        cached, shared = {}, {}
        for count in COUNTS:
            cached[count] = by_command(folder, config, table, count)
            shared[count] = by_command(folder, config, table, count, "--shared-stream")
            print(f"{count} rows: cache {cached[count]:.0f} s, one stream {shared[count]:.0f} s", flush=True)
        video = from_video(folder, config, table)
    print(
        f"\n{'rows':>4} {'cache, s':>9} {'stream, s':>9} {'video, s':>9} {'video / cache':>14} {'video / stream':>15}"
    )
    for count in COUNTS:
        alone = video[count - 1]
        ratios = f"{alone / cached[count]:>14.1f} {alone / shared[count]:>15.1f}"
        print(f"{count:>4} {cached[count]:>9.0f} {shared[count]:>9.0f} {alone:>9.0f} {ratios}")
    figures = {
        str(count): {"cache_seconds": cached[count], "stream_seconds": shared[count], "video_seconds": video[count - 1]}
        for count in COUNTS
    }
    job.write_json(arguments.json, figures)


if __name__ == "__main__":
    job.run(main)
