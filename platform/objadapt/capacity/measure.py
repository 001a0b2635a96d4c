"""Measures the rates of a plan on the spot: a config's own decoder, backbone, training steps and cache,
on some real clips.

All cores of a node work while a core's speed is measured, since cores that share caches and memory are slower together
than alone. Nothing measured on a core is called a GPU's.
"""

import datetime
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ray
import torch

from ..backbone import build_backbone
from ..backbone.features import encode_frames
from ..config import Experiment
from ..data.manifest import Manifest
from ..errors import InputError
from ..pipeline.cache import Cache, open_cache
from ..pipeline.decoding import DecodeBlock
from ..pipeline.gpu_check import check_gpus
from ..pipeline.quarantine import decode_reason
from ..plan import Plan, plan
from ..runs.feature_caches import ensure_features
from ..training.loop import Progress, build_optimiser, distribute, train_epoch
from .hardware import hardware
from .phases import CORE, GPU, UNITS, Rate

STEPS = 3  # at the least, however long they take


def measure(config: Experiment, manifest: Manifest, clips: int, seconds: float) -> dict[str, Rate]:
    """Decode, encode, train on, store and read `clips` training clips, spread evenly over the manifest.

    Args:
        seconds: that each step goes on for, at the least; clips are taken again where there are too few.

    The cache is written below `config.output`, on the disk that runs write to, read with its pages dropped, and
    deleted.

    Raises:
        InputError: no training clips, none that can be decoded, or what `plan` and `ensure_features` refuse.
    """
    training = np.flatnonzero(manifest.table["split"] == "train")
    if not len(training):
        raise InputError("--measure: no training clips to measure on; check data.root")
    picked = training[np.unique(np.linspace(0, len(training) - 1, clips).astype(int))]
    few = Manifest(manifest.table.loc[picked], manifest.classes, manifest.coverage, manifest.flip)
    device = GPU if ray.cluster_resources().get("GPU", 0) >= 1 and config.stream.encoder_gpus != 0 else CORE
    output = Path(config.output).absolute()
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rates-", dir=output) as folder:
        stream = {"cache": folder, "hold": False, "views": 1, "encoders": 1, "num_workers": 1}
        if device == GPU:
            check_gpus(1)
        else:
            stream |= {"encoder_gpus": 0.0, "encoder_cpus": 0.5, "trainer_gpus": 0.0}
        experiment = plan(config.model_copy(update={"stream": config.stream.model_copy(update=stream)}), few)
        found = _speeds(experiment, seconds, device)
        ensure_features([experiment])
        found["read"], stored = _read(
            open_cache(folder, experiment.cache_key, experiment.contents), config.training.batch_size
        )
    cpu, source = (
        f"a core of {found['cpu']}",
        f"measured {datetime.date.today()}, {len(picked)} clips of {config.data.root}",
    )
    sizes = {"cache_bytes": round(stored), "frame_bytes": config.sampling.frames * experiment.crop**2 * 3}
    files = [os.path.getsize(path) for path in few.table["path"] if "://" not in path]
    folders = few.table["path"].map(os.path.isdir).any()  # of frames
    if files and few.table["end_s"].isna().all() and not folders:  # else clips are parts of files
        sizes["video_bytes"] = round(sum(files) / len(files))
    return {
        "decode": Rate(found["decode"], UNITS["decode"][0], cpu, source),
        "encode": Rate(found["encode"], f"clips/s a {device}", found["gpu"] or cpu, source),
        "train": Rate(found["train"], f"clips/s a {device}", found["gpu"] or cpu, source),
        "read": Rate(found["read"], UNITS["read"][0], f"the disk of {config.output}", f"{source}, one reader"),
    } | {name: Rate(value, UNITS[name][0], "any", source) for name, value in sizes.items()}


@ray.remote(num_cpus=1)
class Probe:
    """One core, or a GPU with a core, that does each step for some time; -> clips a second."""

    def __init__(self, experiment: Plan, seconds: float, share: int, shares: int):
        torch.set_num_threads(1)
        schedule = experiment.schedule.for_holding(1)
        self.experiment, self.seconds = experiment, seconds
        self.device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        self.decoder = DecodeBlock(
            ray.put(schedule), ray.put(experiment.manifest.table), experiment.config, experiment.crop, experiment.flip
        )
        places = np.arange(len(experiment.schedule.train_rows))
        self.places = np.roll(places, -share * len(places) // shares)  # each begins elsewhere

    def hardware(self) -> str:
        """The GPU's or the processor's name."""
        return hardware(self.device)

    def decode(self) -> float:
        """Without the first clip, which pays for imports."""
        block = self.experiment.schedule.block
        self.decoder({"id": self.places[:1]})
        done, kept, started = 0, [], time.perf_counter()
        while time.perf_counter() - started < self.seconds or not kept:
            for start in range(0, len(self.places), block):
                read = self.decoder({"id": self.places[start : start + block]})
                done += int(read["valid"].sum())
                if len(kept) < block:
                    kept += list(read["frames"][read["valid"]])
                if time.perf_counter() - started >= self.seconds and kept:
                    break
            if not kept:
                stage, reason = decode_reason(read["reason"][0])
                raise InputError(f"--measure: none of {len(self.places)} clips can be used (one: {stage}: {reason})")
        self.frames = torch.from_numpy(np.stack(kept[:block]))
        return done / (time.perf_counter() - started)

    def give(self, frames: torch.Tensor) -> None:
        """Frames uint8 [b, T, S, S, 3] for a probe that has not decoded any."""
        self.frames = frames

    def taken(self) -> torch.Tensor:
        """The decoded frames."""
        return self.frames

    def encode(self) -> float:
        """Blocks as the stream has them."""
        encoder, times = build_backbone(self.experiment.config.backbone).to(self.device), []
        while not _enough(times, self.seconds):
            self.patches, self.cls = encode_frames(encoder, self.frames)
            times.append(time.perf_counter())
        return _speed(times, len(self.frames))

    def train(self) -> float:
        """Steps on a whole batch of the encoded clips, with the labels of the first ones."""
        config, size = self.experiment.config, self.experiment.config.training.batch_size
        again = torch.arange(size) % len(self.cls)
        labels = self.experiment.labels[np.arange(size) % len(self.experiment.labels)]
        batch = {
            "patches": self.patches[again],
            "cls": self.cls[again],
            "labels": torch.from_numpy(labels),
            "valid": torch.ones(size, dtype=torch.bool),
            "row": torch.arange(size),
        }
        adapter, times = self.experiment.method().to(self.device), []

        def batches() -> Iterator[dict]:
            while not _enough(times, self.seconds):
                yield batch

        module, optimiser = distribute(adapter, self.device), build_optimiser(adapter, config.training)
        train_epoch(
            module,
            batches(),
            optimiser,
            config.training,
            Progress(),
            self.experiment.schedule.train_steps(),
            self.device,
            lambda *_: times.append(time.perf_counter()),
        )
        return _speed(times, size)


def _speeds(experiment: Plan, seconds: float, device: str) -> dict:
    """decode, encode, train in clips/s of one core or GPU; names of the processor and the GPU."""
    cores = max(1, int(max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])))
    probes = [Probe.remote(experiment, seconds, number, cores) for number in range(cores)]
    gpu = []
    try:
        found = {"cpu": ray.get(probes[0].hardware.remote()), "gpu": None}
        ray.get([probe.hardware.remote() for probe in probes])  # all are there before one begins
        found["decode"] = _mean(probes, "decode")
        if device == GPU:
            frames = ray.get(probes[0].taken.remote())
            ray.kill(probes.pop())  # its core is the GPU's now
            gpu = [Probe.options(num_gpus=1).remote(experiment, seconds, 0, 1)]
            ray.get(gpu[0].give.remote(frames))
            found["gpu"] = ray.get(gpu[0].hardware.remote())
        for step in ("encode", "train"):
            found[step] = _mean(gpu or probes, step)
        return found
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise
    finally:
        for probe in [*probes, *gpu]:
            ray.kill(probe)


def _mean(probes: list, step: str) -> float:
    return float(np.mean(ray.get([getattr(probe, step).remote() for probe in probes])))


def _read(cache: Cache, batch: int) -> tuple[float, float]:
    """-> stored bytes a second in shuffled batches, with the files out of the kernel's memory; stored bytes a clip."""
    size = 0
    for path in sorted((cache.folder / "shards").glob("*.npy")):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        size += path.stat().st_size
    places = np.random.default_rng(0).permutation(np.flatnonzero(cache.index["valid"]))
    started = time.perf_counter()
    for start in range(0, len(places), batch):
        cache.read(places[start : start + batch], cache.contents.frames[0])
    return size / (time.perf_counter() - started), size / len(places)


def _enough(times: list[float], seconds: float) -> bool:
    return len(times) > STEPS and times[-1] - times[0] >= seconds


def _speed(times: list[float], clips: int) -> float:
    """The first time is where counting begins: what came before it was warming up."""
    return clips * (len(times) - 1) / (times[-1] - times[0])
