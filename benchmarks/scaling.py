"""Clips a second through decode and encode on 1 and 2 raylets of one CPU each, beside plain processes on as many cores.

    python benchmarks/scaling.py                    # toy data that it renders itself
    python benchmarks/scaling.py --clips 160 --repeat 1

A raylet's processes keep to their own core (sched_setaffinity) as if it were a machine; the driver is on the first.
Both sides run the same decoder and backbone, one thread each, and take turns.
"""

import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import numpy as np
import ray
from ray.cluster_utils import Cluster

from objadapt import job
from objadapt.config_file import load_config
from objadapt.data import toy
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError
from objadapt.pipeline.automatic import place_encoders
from objadapt.plan import Plan, plan

CONFIG = Path(__file__).resolve().parents[1] / "jobs" / "configs" / "toy.yaml"
CORES = (1, 2)


def start_process(experiment: Plan, schedule, cores: list[int]) -> None:
    """Once a plain process: keep to the cores, import, build the backbone."""
    global work
    os.sched_setaffinity(0, cores)
    import torch

    from objadapt.backbone import build_backbone
    from objadapt.backbone.features import encode_frames
    from objadapt.pipeline import decoding

    torch.set_num_threads(1)
    decoding.fetch = lambda value: value  # no Ray in this process: the decoder gets the objects themselves
    decode = decoding.DecodeBlock(
        schedule, experiment.manifest.table, experiment.config, experiment.crop, experiment.flip
    )
    encoder = build_backbone(experiment.config.backbone)

    def work(positions: np.ndarray) -> int:
        block = decode({"id": positions})
        encode_frames(encoder, torch.from_numpy(block["frames"]))
        return int(block["valid"].sum())


def decode_and_encode(positions: np.ndarray) -> int:
    """A block in a plain process; -> clips."""
    return work(positions)


def running(counts, clips: int) -> float:
    """Clips a second from the moment on when a quarter is there."""
    total, first, since = 0, 0, 0.0
    for count in counts:
        total += count
        if not since and total >= clips / 4:
            first, since = total, time.perf_counter()
    return (total - first) / (time.perf_counter() - since)


def by_raylets(experiment: Plan, schedule, count: int) -> float:
    """A cluster of `count` raylets, each on its core."""
    cores = sorted(os.sched_getaffinity(0))
    cluster = Cluster()
    try:
        for core in cores[:count]:
            os.sched_setaffinity(0, [core])  # what is started from here stays there
            cluster.add_node(num_cpus=1, object_store_memory=500 * 2**20, include_dashboard=False)
        os.sched_setaffinity(0, cores[:count])
        ray.init(
            address=cluster.address,
            log_to_driver=False,
            logging_level="WARNING",
            runtime_env={"env_vars": {"PYTHONPATH": str(job.REPOSITORY / "platform"), "OMP_NUM_THREADS": "1"}},
        )
        settings = {"encoders": count, "encoder_cpus": 0.5, "decode_cpus": 0.25}
        config = experiment.config.model_copy(update={"stream": experiment.config.stream.model_copy(update=settings)})
        stream = replace(experiment, config=config, placed=place_encoders(config.stream)).stream(schedule)
        return running(
            (int(batch["valid"].sum()) for batch in stream.iter_batches(batch_size=schedule.block)), len(schedule)
        )
    finally:
        ray.shutdown()
        cluster.shutdown()
        os.sched_setaffinity(0, cores)


def by_processes(experiment: Plan, schedule, count: int) -> float:
    """`count` plain processes, all on the first `count` cores."""
    cores = sorted(os.sched_getaffinity(0))[:count]
    blocks = np.arange(len(schedule)).reshape(-1, schedule.block)
    with ProcessPoolExecutor(count, get_context("spawn"), start_process, (experiment, schedule, cores)) as pool:
        return running(pool.map(decode_and_encode, blocks), len(schedule))


def main():
    options = job.parser(__doc__)
    options.add_argument("--clips", type=int, default=480, help="rendered, of 96 x 96 pixels; 16 more are validated on")
    options.add_argument("--repeat", type=int, default=2, help="measurements of each kind")
    job.add_json_option(options, "the figures")
    arguments = options.parse_args()
    if len(os.sched_getaffinity(0)) < max(CORES):
        raise InputError(f"this machine lets the process use fewer than {max(CORES)} cores; nothing to scale over")
    with tempfile.TemporaryDirectory() as place:
        list(
            toy.make(
                Path(place) / "toy", toy.Options(train=arguments.clips, validation=16, davis=0), workers=os.cpu_count()
            )
        )
        own = [f"data.root={place}/toy", f"output={place}", "training.clips_per_class=null", "stream.clips_per_task=16"]
        config = load_config(CONFIG, own)
        experiment = plan(config, build_manifest(config.data, config.seed))
        schedule = experiment.schedule.for_holding(1)
        found = {(side, count): [] for side in ("raylets", "processes") for count in CORES}
        for _ in range(arguments.repeat):
            for side, measured in (("raylets", by_raylets), ("processes", by_processes)):
                for count in CORES:
                    found[side, count].append(measured(experiment, schedule, count))
                    print(f"{count} {side}: {found[side, count][-1]:.1f} clips/s", flush=True)
    figures = {f"{count}_{side}": statistics.median(values) for (side, count), values in found.items()}
    for side in ("raylets", "processes"):
        figures[f"{side}_ratio"] = statistics.median(
            two / one for one, two in zip(found[side, 1], found[side, 2], strict=False)
        )
    for name, value in figures.items():
        print(f"{name:<20} {value:.2f}")
    job.write_json(arguments.json, figures)


if __name__ == "__main__":
    job.run(main)
