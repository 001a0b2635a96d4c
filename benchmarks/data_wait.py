"""Share of a training that waits for batches from a feature cache: read ahead by a thread,
and read inside the step loop.

    python benchmarks/data_wait.py --clips 512 --width 768        # random features of ViT-B/16's shape
    python benchmarks/data_wait.py --cold                         # files dropped from the page cache before each epoch

Both sides train the same steps in turn, in this process.
"""

import os
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import numpy as np
import torch
from cache_read import write

from objadapt import job
from objadapt.config import Experiment, Sampling
from objadapt.config_methods import ObjectCentric, Slots
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter
from objadapt.pipeline.cache import Cache
from objadapt.pipeline.cache_folder import Contents
from objadapt.pipeline.read_ahead import read_ahead
from objadapt.pipeline.schedule import Schedule
from objadapt.pipeline.shards import mapped
from objadapt.pipeline.source import Cached
from objadapt.training.loop import Progress, build_optimiser, distribute, train_epoch


def main():
    options = job.parser(__doc__)
    options.add_argument("--clips", type=int, default=512)
    options.add_argument("--frames", type=int, default=8, help="T")
    options.add_argument("--tokens", type=int, default=197, help="1 + N tokens a frame")
    options.add_argument("--width", type=int, default=768, help="J")
    options.add_argument("--slots-width", type=int, default=64, help="d: a light step waits more")
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--threads", type=int, default=1, help="of torch, for the steps")
    options.add_argument("--cold", action="store_true", help="drop the files from the page cache before each epoch")
    options.add_argument("--repeat", type=int, default=3, help="epochs of each side")
    job.add_json_option(options, "the figures")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    config, cpu = Experiment(), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = ObjectCentric(width=arguments.slots_width, slots=Slots(iterations=1), interval=2)
    adapter = ObjectCentricAdapter(settings, {"label": 10}, arguments.width, arguments.frames).to(cpu)
    module, optimiser = distribute(adapter, cpu), build_optimiser(adapter, config.training)
    rows = np.arange(arguments.clips)
    schedule = Schedule(rows, rows % 10, rows[:0], 1, arguments.batch, 1, 1, 0)
    contents = Contents((arguments.frames,), 1, 1, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = write(folder, arguments.clips, 16, contents, arguments.tokens, arguments.width)
        cache = Cache(folder, contents, arguments.tokens, arguments.width, index)
        labels, ids = (rows % 10)[:, None], [str(row) for row in rows]
        sampling = Sampling(frames=arguments.frames)
        source = Cached(cache, ids, labels, schedule, 0, 1, sampling, pin=cpu.type == "cuda")

        def epoch(ahead: bool) -> tuple[float, float]:
            if arguments.cold:
                mapped.cache_clear()  # what is mapped the kernel keeps
                for path in folder.rglob("*.npy"):
                    with open(path, "rb") as file:
                        os.fsync(file.fileno())
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            part = schedule.for_training(1, 1)
            started = time.perf_counter()
            with read_ahead(source, part) if ahead else nullcontext(source) as batches:
                (segment,) = part.segments
                means = train_epoch(
                    module,
                    batches.batches(segment),
                    optimiser,
                    config.training,
                    Progress(),
                    segment.steps,
                    cpu,
                    lambda *_: None,
                )
            return means["data_wait_share"], time.perf_counter() - started

        epoch(False)
        measured = {"read ahead": [], "in the loop": []}
        for _ in range(arguments.repeat):
            for side in measured:
                measured[side].append(epoch(side == "read ahead"))
    figures = {}
    for side, values in measured.items():
        waits, seconds = zip(*values, strict=False)
        figures[side] = {"wait_share": statistics.median(waits), "seconds": statistics.median(seconds)}
        print(
            f"{side:<12} waits {100 * statistics.median(waits):5.1f} % ({100 * min(waits):.1f}-{100 * max(waits):.1f}),"
            f" an epoch takes {statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"
        )
    job.write_json(arguments.json, figures)


if __name__ == "__main__":
    job.run(main)
