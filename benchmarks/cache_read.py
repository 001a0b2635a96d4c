"""Gigabytes a second of batches read from a feature cache beside a plain memory-mapped read of the same bytes,
in one run.

    python benchmarks/cache_read.py --clips 800 --width 768                   # random numbers of ViT-B/16's shape
    python benchmarks/cache_read.py --storage int8

Both sides read the same clips in the same shuffled order, a batch at once, into fresh memory; they take turns. "cold":
the files were dropped from the page cache before (posix_fadvise).
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import numpy as np
import pandas as pd
import torch

from objadapt import job
from objadapt.config import Sampling
from objadapt.pipeline.cache import Cache
from objadapt.pipeline.cache_folder import Contents
from objadapt.pipeline.schedule import Schedule, Segment
from objadapt.pipeline.shards import mapped, shard_file, to_int8
from objadapt.pipeline.source import Cached


def write(folder: Path, clips: int, block: int, contents: Contents, tokens: int, width: int) -> pd.DataFrame:
    """Shards of random features, as an extraction lays them out; -> their index."""
    rng = np.random.default_rng(0)
    (folder / "shards").mkdir()
    rows = []
    for shard, start in enumerate(range(0, clips, block)):
        size = min(block, clips - start)
        features = rng.standard_normal((size, contents.frames_stored, tokens, width), np.float32).astype(np.float16)
        if contents.storage == "int8":
            features, scale = to_int8(features)
            np.save(shard_file(folder, shard, scale=True), scale)
        np.save(shard_file(folder, shard), features)
        rows += [{"clip_id": str(start + offset), "shard": shard, "offset": offset} for offset in range(size)]
    known = {"kind": "train", "view": 0, "valid": True, "decoder": 1, "stage": "", "reason": ""}
    return pd.DataFrame(rows).assign(**known, **{f"short_{frames}": False for frames in contents.frames})


def drop_from_page_cache(folder: Path, maps: list[np.ndarray]) -> None:
    """Ask the kernel to forget the files; what is mapped it keeps, so all maps are given up first."""
    maps.clear()
    mapped.cache_clear()
    for path in folder.rglob("*.npy"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main():
    options = job.parser(__doc__)
    options.add_argument("--clips", type=int, default=800)
    options.add_argument("--frames", type=int, default=8, help="T")
    options.add_argument("--tokens", type=int, default=197, help="1 + N tokens a frame")
    options.add_argument("--width", type=int, default=768, help="J")
    options.add_argument("--batch", type=int, default=32, help="clips a batch")
    options.add_argument("--block", type=int, default=16, help="clips a shard")
    options.add_argument("--storage", choices=["float16", "int8"], default="float16")
    options.add_argument("--repeat", type=int, default=5, help="pairs of measurements, cold and warm each")
    job.add_json_option(options, "the figures")
    arguments = options.parse_args()
    contents = Contents((arguments.frames,), 1, 1, 1, storage=arguments.storage)
    steps = -(-arguments.clips // arguments.batch)
    rows = np.arange(arguments.clips)
    schedule = Schedule(rows, rows * 0, rows[:0], 1, arguments.batch, 1, 1, 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = write(folder, arguments.clips, arguments.block, contents, arguments.tokens, arguments.width)
        cache = Cache(folder, contents, arguments.tokens, arguments.width, index)
        source = Cached(
            cache,
            [str(row) for row in rows],
            np.zeros((len(rows), 1), np.int64),
            schedule,
            0,
            1,
            Sampling(frames=arguments.frames),
        )
        files, maps = sorted((folder / "shards").glob("*[0-9].npy")), []

        def by_cache(epoch: int) -> int:
            return sum(
                batch["patches"].nbytes + batch["cls"].nbytes
                for batch in source.batches(Segment("train", epoch, steps))
            )

        def by_memory_map(epoch: int) -> int:
            read = 0
            maps[:] = maps or [np.load(path, mmap_mode="r") for path in files]
            for order, _ in schedule.worker_clips(Segment("train", epoch, steps), 0):
                order = order[order >= 0]
                batch = np.empty((len(order), *maps[0].shape[1:]), maps[0].dtype)
                for place, row in enumerate(order):
                    batch[place] = maps[row // arguments.block][row % arguments.block]
                read += torch.from_numpy(batch).untyped_storage().nbytes()
            return read

        figures = {"storage": arguments.storage, "stored_bytes": sum(path.stat().st_size for path in files)}
        by_cache(0), by_memory_map(0)
        for state in ("cold", "warm"):
            speeds = {"cache": [], "memory_map": []}
            for epoch in range(arguments.repeat):
                turns = [("cache", by_cache), ("memory_map", by_memory_map)]
                for side, read in turns if epoch % 2 else turns[::-1]:
                    if state == "cold":
                        drop_from_page_cache(folder, maps)
                    start = time.perf_counter()
                    read(epoch)
                    # the same stored bytes on both sides, whatever they become in memory
                    speeds[side].append(figures["stored_bytes"] / (time.perf_counter() - start) / 1e9)
            ratios = [one / other for one, other in zip(*speeds.values(), strict=False)]
            figures |= {f"{state}_{side}_gb_per_second": statistics.median(values) for side, values in speeds.items()}
            figures |= {
                f"{state}_ratio_median": statistics.median(ratios),
                f"{state}_ratio_min": min(ratios),
                f"{state}_ratio_max": max(ratios),
            }
    for name, value in figures.items():
        print(f"{name:<32} {value:.3f}" if isinstance(value, float) else f"{name:<32} {value}")
    job.write_json(arguments.json, figures)


if __name__ == "__main__":
    job.run(main)
