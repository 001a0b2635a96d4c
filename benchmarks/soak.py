"""20,000 clips through decode and a tiny backbone with memory sampled all the while: flat, or how steep.

    python benchmarks/soak.py                       # toy data that it renders itself; minutes

Some 1,000 rendered files stand for the 20,000 clips: each is listed 20 times under clip ids of its own, and read,
cropped and encoded each time anew. A process's MB are resident memory less what is shared (the object store is mapped
into every process and is counted by itself). Quarters are quarters of the clips; the first 5 % are left out as warming
up.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import numpy as np
import pandas as pd
import ray
import torch
from ray._private.internal_api import node_stats

from objadapt import job, torchvision_compat  # noqa: F401
from objadapt.config_file import load_config
from objadapt.data import toy
from objadapt.data.manifest import Manifest, build_manifest
from objadapt.pipeline.source import Streamed

# isort: split
import timm  # behind torchvision_compat

from objadapt.plan import plan

MB = 2**20
MEASURED = ("driver, MB", "workers, MB", "worker processes", "largest worker, MB", "object store, MB", "spilled, MB")


def private(pid: int) -> float:
    """Resident MB that are the process's own; 0 where it has ended."""
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    except OSError:
        return 0.0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / MB


def worker_processes() -> list[int]:
    """Process ids of this driver's Ray workers: children of its raylet, which call themselves ray::something."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_bytes().startswith(b"ray::"):
                found.append(int(folder.name))
        except OSError:  # it ended meanwhile
            continue
    return [pid for pid in found if parents.get(parents[pid]) == os.getpid()]


def sample() -> list[float]:
    """A value for each of MEASURED."""
    each = [private(pid) for pid in worker_processes()]
    (node,) = ray.nodes()
    store = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False).store_stats
    stored, spilled = store.object_store_bytes_used / MB, store.spilled_bytes_total / MB
    return [private(os.getpid()), sum(each), len(each), max(each, default=0), stored, spilled]


def many(manifest: Manifest, clips: int) -> Manifest:
    """`clips` training clips, the manifest's own over and over under new ids."""
    table = manifest.table[manifest.table["split"] == "train"]
    copies = [table.assign(clip_id=table["clip_id"] + f"-{number}") for number in range(-(-clips // len(table)))]
    return Manifest(pd.concat(copies).iloc[:clips], manifest.classes, manifest.coverage, manifest.flip)


def summary(samples: np.ndarray, clips: int) -> dict[str, dict[str, float]]:
    """samples [n, 1 + measured], clips done first -> medians of the first and the last quarter, and the slope."""
    done, found = samples[:, 0], {}
    for name, values in zip(MEASURED, samples.T[1:], strict=False):
        steady = done > 0.05 * clips
        first, last = (np.median(values[part]) for part in (steady & (done <= clips / 4), done > 0.75 * clips))
        slope = np.polyfit(done[steady] / 1000, values[steady], 1)[0]
        found[name] = {"first quarter": first, "last quarter": last, "a 1,000 clips": slope, "peak": values.max()}
    return found


def main():
    options = job.parser(__doc__)
    options.add_argument("--clips", type=int, default=20_000)
    options.add_argument("--files", type=int, default=1_008, help="rendered files, of 64 x 64 pixels")
    options.add_argument("--every", type=float, default=1.0, help="seconds between samples")
    job.add_json_option(options, "the figures and all samples")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        made = toy.Options(train=arguments.files, validation=16, resolution=64, length=12, davis=0)
        list(toy.make(Path(place) / "toy", made, os.cpu_count()))
        torch.manual_seed(0)
        torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), f"{place}/test_vit.pt")
        config = load_config(
            None,
            [
                f"data.root={place}/toy",
                f"output={place}",
                "sampling.frames=8",
                "transform.size=64",
                "backbone.library=timm",
                "backbone.name=test_vit",
                f"backbone.weights={place}/test_vit.pt",
            ],
        )
        job.start_ray()
        experiment = plan(config, many(build_manifest(config.data, config.seed), arguments.clips))
        schedule = experiment.schedule.for_training(epochs=1, validate_every=1)
        streams = (experiment.stream(window).iterator() for window in schedule.windows())
        source = Streamed(streams, experiment.labels, schedule, 0, config.stream.prefetch_batches)
        ended, samples, rows = threading.Event(), [], []

        def watch() -> None:
            while not ended.wait(arguments.every):
                samples.append([len(rows), *sample()])

        watcher, started = threading.Thread(target=watch), time.perf_counter()
        watcher.start()
        try:
            for batch in source.batches(schedule.segments[0]):
                rows += batch["row"][batch["valid"]].tolist()
        finally:
            ended.set()
            watcher.join()
        seconds = time.perf_counter() - started
    if sorted(rows) != list(range(arguments.clips)):
        raise RuntimeError(f"{len(rows)} clips came out, {len(set(rows))} of them different, not {arguments.clips}")
    found = summary(np.array(samples, dtype=float), arguments.clips)
    speed = arguments.clips / seconds
    print(f"{arguments.clips:,} clips in {seconds:.0f} s, {speed:.0f} a second, each once; {len(samples)} samples")
    for name, values in found.items():
        print(f"{name:<28}" + "".join(f"{what} {value:9.2f}   " for what, value in values.items()))
    job.write_json(arguments.json, {"seconds": seconds, "memory": found, "samples": samples})


if __name__ == "__main__":
    job.run(main)
