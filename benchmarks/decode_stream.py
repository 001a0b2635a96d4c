"""Clips a second of the stream's decode-only part beside the same decoder in plain processes, measured in one run.

    python benchmarks/decode_stream.py outputs/toy            # any folder of videos
    python benchmarks/decode_stream.py FOLDER --frames 8 --size 224 --repeat 5

Both sides run the same function (`pipeline.decoding.DecodeBlock`) on the same clips with one process a core; they take
turns, warm, and the ratio is that of neighbours in time, since shared machines drift.
"""

import statistics
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import os

import numpy as np
import pandas as pd

from objadapt import job
from objadapt.config_file import load_config
from objadapt.data.video_files import list_videos
from objadapt.errors import InputError
from objadapt.pipeline.schedule import Schedule


@dataclass
class Work:
    """One side's job, as a plain process gets it."""

    schedule: Schedule
    clips: pd.DataFrame
    config: object
    size: int


def start_process(work: Work) -> None:
    """Once a process: import, and keep the decoder."""
    global decode
    import torch

    from objadapt.pipeline import decoding

    torch.set_num_threads(1)
    decoding.fetch = lambda value: value  # no Ray in this process: the decoder gets the objects themselves
    decode = decoding.DecodeBlock(work.schedule, work.clips, work.config, work.size, False)


def decode_here(positions: np.ndarray) -> int:
    """Decode a block in a plain process; -> clips that came out."""
    return int(decode({"id": positions})["valid"].sum())


def rates(counts: Iterable[int], clips: int) -> tuple[float, float]:
    """Clips a second of a run that yields clips block by block: once it runs (after the first quarter),
    and start included.
    """
    start, total, first, running = time.perf_counter(), 0, 0, 0.0
    for count in counts:
        total += count
        if not running and total >= clips / 4:
            first, running = total, time.perf_counter()
    end = time.perf_counter()
    return (total - first) / (end - running), total / (end - start)


def main():
    options = job.parser(__doc__)
    options.add_argument("videos", help="folder of videos")
    options.add_argument("--frames", type=int, default=8, help="T")
    options.add_argument("--size", type=int, default=64, help="crop side, pixels")
    options.add_argument(
        "--clips", type=int, default=2048, help="clips a measurement; files are repeated to make them up"
    )
    options.add_argument("--block", type=int, default=32, help="clips a decode task (stream.clips_per_task)")
    options.add_argument(
        "--decode-cpus", type=float, default=0.5, help="CPUs a decode task asks for (stream.decode_cpus)"
    )
    options.add_argument("--repeat", type=int, default=5, help="pairs of measurements")
    job.add_json_option(options, "the figures")
    arguments = options.parse_args()
    files = list_videos(os.path.abspath(arguments.videos))
    if not files:
        raise InputError(f"{arguments.videos}: no video files there")
    files = [files[i % len(files)] for i in range(arguments.clips)]
    clips = pd.DataFrame(
        {"clip_id": range(len(files)), "path": files, "start_s": np.nan, "end_s": np.nan, "split": "train"}
    )
    cores = os.cpu_count()
    config = load_config(None, [f"sampling.frames={arguments.frames}", f"stream.decode_cpus={arguments.decode_cpus}"])
    block = arguments.block
    rows = np.arange(len(files))
    schedule = Schedule(rows, rows * 0, rows[:0], 1, block, 1, block, 0).for_training(1, 1)

    job.start_ray(num_cpus=cores)
    from objadapt.pipeline.stream import decoded_stream

    def by_stream() -> tuple[float, float]:
        stream = decoded_stream(schedule, clips, config, arguments.size, False)
        batches = stream.iter_batches(batch_size=block, prefetch_batches=2)
        return rates((int(batch["valid"].sum()) for batch in batches), len(files))

    blocks = np.arange(len(schedule)).reshape(-1, block)
    with ProcessPoolExecutor(
        cores, get_context("spawn"), start_process, (Work(schedule, clips, config, arguments.size),)
    ) as pool:

        def by_processes() -> tuple[float, float]:
            return rates(pool.map(decode_here, blocks), len(files))

        by_stream(), by_processes()  # warm: workers started, libraries imported, files in the page cache
        pairs = [(by_stream(), by_processes()) for _ in range(arguments.repeat)]
    figures = {"clips": len(files), "cores": cores, "clips_a_task": block}
    for kind, which in (("running", 0), ("with_start", 1)):
        ratios = [stream[which] / plain[which] for stream, plain in pairs]
        figures |= {
            f"{kind}_stream_clips_per_second": statistics.median(stream[which] for stream, _ in pairs),
            f"{kind}_plain_clips_per_second": statistics.median(plain[which] for _, plain in pairs),
            f"{kind}_ratio_median": statistics.median(ratios),
            f"{kind}_ratio_min": min(ratios),
            f"{kind}_ratio_max": max(ratios),
        }
    for name, value in figures.items():
        print(f"{name:<32} {value:.3f}" if isinstance(value, float) else f"{name:<32} {value}")
    job.write_json(arguments.json, figures)


if __name__ == "__main__":
    job.run(main)
