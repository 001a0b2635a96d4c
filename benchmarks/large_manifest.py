"""What a large data set costs before, beside and after the training itself: a synthetic manifest, no video.

    python benchmarks/large_manifest.py --clips 240000

Times are of one process: hashing the manifest, planning the rows of some tables, opening a feature cache, a dry list of
decode tasks. Bytes are of a checkpoint's state.
"""

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import numpy as np
import pandas as pd
import torch

from objadapt import job
from objadapt.config_file import load_config
from objadapt.data.manifest import Manifest, build_manifest
from objadapt.pipeline.cache import CHECKED, SHARDS, open_cache
from objadapt.pipeline.cache_folder import INDEX, write_record
from objadapt.pipeline.quarantine import REASON_BYTES, Notices
from objadapt.pipeline.schedule import WINDOW_BLOCKS
from objadapt.pipeline.source import Cached
from objadapt.plan import Plan, plan
from objadapt.tables.estimate import estimate
from objadapt.tables.rows import plan_rows
from objadapt.tables.table import load_table

CONFIG = Path(__file__).resolve().parents[1] / "jobs" / "configs" / "toy.yaml"
VIEWS, SHARD = 2, 32  # of the cache: views a clip, clips a shard


def synthetic(clips: int) -> Manifest:
    """As many training clips, a twelfth as many to validate on, 400 classes; the files do not exist."""
    number = np.arange(clips + clips // 12)
    names = [f"{one:011d}_000010_000020" for one in number]
    table = pd.DataFrame(
        {
            "clip_id": names,
            "path": [
                f"/data/k400/train/class {one % 400}/{name}.mp4" for one, name in zip(number, names, strict=False)
            ],
            "start_s": np.nan,
            "end_s": np.nan,
            "label": number % 400,
            "split": np.where(number < clips, "train", "val"),
        }
    )
    coverage = {"train": {"found": clips, "listed": clips}, "val": {"found": clips // 12, "listed": clips // 12}}
    return Manifest(table, {"label": [f"class {one}" for one in range(400)]}, coverage, flip=True)


def write_cache(experiment: Plan) -> Path:
    """The index of a finished cache, its shards as files of one byte: what opening looks at."""
    contents, clips = experiment.contents, experiment.manifest.table
    folder = Path(experiment.config.stream.cache) / experiment.cache_key
    (folder / "shards").mkdir(parents=True)
    write_record(folder, experiment.cache_key, contents, 1 + experiment.patch_tokens, experiment.joint_width, SHARD, {})
    train, val = (clips.loc[clips["split"] == split, "clip_id"] for split in ("train", "val"))
    views = [pd.DataFrame({"clip_id": train, "kind": "train", "view": view}) for view in range(VIEWS)]
    index = pd.concat([*views, pd.DataFrame({"clip_id": val, "kind": "test", "view": 0})], ignore_index=True)
    place = np.arange(len(index))
    index = index.assign(shard=place // SHARD, offset=place % SHARD, valid=True, decoder=1, stage="", reason="")
    index.assign(**{f"short_{frames}": False for frames in contents.frames}).to_parquet(folder / INDEX)
    names = [f"{shard:06d}.npy" for shard in range(-(-len(index) // SHARD))]
    checked = {}
    for name in names:
        (folder / "shards" / name).write_bytes(b"x")
        checked[name] = [1, (folder / "shards" / name).stat().st_mtime_ns]
    pd.DataFrame({"file": names, "bytes": 1, "crc32": 0}).to_parquet(folder / SHARDS)
    (folder / CHECKED).write_text(json.dumps(checked))
    return folder


def state_bytes(clips: int) -> int:
    """Of what a checkpoint notes of the clips, once all have been seen."""
    notices, rows = Notices(), torch.arange(clips)
    some = {"row": rows, "valid": rows >= 0, "short": rows % 7 == 0, "decoder": (rows % 2 + 1).to(torch.uint8)}
    notices.update(some | {"reason": torch.zeros(1, REASON_BYTES, dtype=torch.uint8).expand(clips, -1)}, some["valid"])
    return len(json.dumps(notices.to_json()))


def main():
    options = job.parser(__doc__)
    options.add_argument("--clips", type=int, default=240_000)
    options.add_argument("--seeds", type=int, default=5, help="of each of the 4 rows of the losses table")
    job.add_json_option(options, "the figures")
    arguments = options.parse_args()
    figures: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        started, used = time.perf_counter(), time.process_time()
        yield
        figures[f"{name}, s"], figures[f"{name}, CPU s"] = time.perf_counter() - started, time.process_time() - used

    with tempfile.TemporaryDirectory() as place:
        with timed("write manifest"):
            synthetic(arguments.clips).write(f"{place}/manifest")
        own = [
            "data.format=manifest",
            f"data.root={place}/manifest",
            f"output={place}/out",
            f"stream.cache={place}/cache",
        ]
        own += ["stream.hold=false", "stream.num_workers=0", "training.clips_per_class=null"]
        config = load_config(CONFIG, own)
        with timed("read manifest"):
            manifest = build_manifest(config.data, 0)
        with timed("hash manifest 20 times"):
            for _ in range(20):
                manifest.content_hash()
        table, seeds = load_table("losses"), list(range(arguments.seeds))
        with timed(f"plan {len(table.rows) * len(seeds)} rows"):
            places = plan_rows([table], config, own, "toy", seeds)
            folders = {one.folder for one in places if one.plan}
        assert len(folders) == len(table.rows) * len(seeds)
        with timed("estimate them"):
            estimate(places, 2)
        experiment = plan(config, manifest)
        write_cache(experiment)
        with timed("open cache"):
            cache = open_cache(config.stream.cache, experiment.cache_key, experiment.contents)
            ids = manifest.table["clip_id"].tolist()
            Cached(cache, ids, experiment.labels, experiment.schedule, 0, VIEWS, config.sampling)
        many = load_config(CONFIG, [*own, "stream.cache=null", "stream.num_workers=32", "training.batch_size=64"])
        schedule = plan(many, manifest).schedule
        epoch = dataclasses.replace(schedule, val_rows=schedule.val_rows[:0]).for_training(1, 1)
        with timed("list an epoch's tasks"):
            figures["tasks an epoch, batch 64 on 32 workers"] = len(epoch.blocks())
            figures["most tasks a window"] = max(len(one.blocks()) for one in schedule.for_training(3, 1).windows())
    assert figures["most tasks a window"] <= WINDOW_BLOCKS
    figures["state of a checkpoint, bytes"] = state_bytes(arguments.clips)
    for name, value in figures.items():
        print(f"{name:<42} {value:10.3f}" if isinstance(value, float) else f"{name:<42} {value:>10,}")
    job.write_json(arguments.json, figures)


if __name__ == "__main__":
    job.run(main)
