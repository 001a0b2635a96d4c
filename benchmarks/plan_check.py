"""A plan beside what it plans: rates and start-up from a small piece, the hours planned, then the training itself,
in one run.

    python benchmarks/plan_check.py                 # toy data that it renders itself; minutes
    python benchmarks/plan_check.py --root outputs/toy --epochs 2

Each phase (streaming; extraction, then training from the cache) runs once on one batch, which tells its start-up, and
once whole, with the settings that the plan gives. Rates are measured before and again after: on a machine that others
use, too, they differ by as much as its load does.
"""

import dataclasses
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

from objadapt import job
from objadapt.capacity.measure import measure
from objadapt.capacity.phases import Cluster, Phase, Rate, Workload, from_cache, streaming
from objadapt.config import Experiment
from objadapt.config_file import load_config, override, validate
from objadapt.data import toy
from objadapt.data.manifest import Manifest, build_manifest
from objadapt.plan import plan
from objadapt.runs.feature_caches import ensure_features
from objadapt.training.trainer import train

CONFIG = Path(__file__).resolve().parents[1] / "jobs" / "configs" / "toy.yaml"


def placed(config: Experiment, phase: Phase, output: Path, *more: str) -> Experiment:
    """The config with a phase's settings, in an output folder of its own."""
    settings = [f"{key}={value:g}" for key, value in phase.settings.items()]
    return validate(override(config.model_dump(mode="json"), [*settings, f"output={output}", *more]), source="plan")


@dataclass(frozen=True)
class Case:
    """The same data and model, for so many epochs by streaming and so many from the cache."""

    stream: Experiment
    cached: Experiment
    manifest: Manifest

    def planned(self, rates: dict[str, Rate], start: tuple[float, ...] = (0.0, 0.0, 0.0)) -> list[Phase]:
        """The three phases on this machine, with their start-up in seconds."""
        clips = [int((self.manifest.table["split"] == split).sum()) for split in ("train", "val")]
        cluster = Cluster(1, os.cpu_count(), 0)
        stream, cached = (Workload(config.name, *clips, config) for config in (self.stream, self.cached))
        phases = [streaming(stream, cluster, rates), *from_cache(cached, cluster, rates)]
        return [dataclasses.replace(phase, start=seconds) for phase, seconds in zip(phases, start, strict=False)]

    def run(self, phases: list[Phase], folder: Path) -> list[float]:
        """Wall seconds of streaming, extraction and training from the cache, placed as planned."""
        cache, seconds = f"stream.cache={folder / 'features'}", []
        stream = plan(placed(self.stream, phases[0], folder / "stream"), self.manifest)
        extract = plan(placed(self.cached, phases[1], folder / "extract", cache), self.manifest)
        cached = plan(placed(self.cached, phases[2], folder / "cached", cache), self.manifest)
        for what, given in ((train, stream), (ensure_features, [extract]), (train, cached)):
            started = time.perf_counter()
            what(given)
            seconds.append(time.perf_counter() - started)
        return seconds


def main():
    options = job.parser(__doc__)
    options.add_argument("--root", help="a toy data set; default: one of 480 + 64 clips is rendered")
    options.add_argument("--epochs", type=int, default=3, help="of streaming")
    options.add_argument("--cached-epochs", type=int, default=12, help="of training from the cache")
    options.add_argument("--sample", type=int, default=64, help="clips that rates are measured on")
    options.add_argument("--seconds", type=float, default=5.0, help="that each rate is measured for")
    job.add_json_option(options, "the figures")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, root = Path(place), Path(arguments.root or f"{place}/toy")
        if not arguments.root:
            list(toy.make(root, toy.Options(train=480, validation=64, davis=0), workers=os.cpu_count()))
        own = [f"data.root={root.absolute()}", f"output={folder}/rates", "stream.hold=false"]
        own += ["training.clips_per_class=null", "training.warmup_epochs=1"]
        configs = [
            load_config(CONFIG, [*own, f"training.epochs={epochs}", f"training.validate_every={epochs}"])
            for epochs in (1, arguments.epochs, arguments.cached_epochs)
        ]
        manifest = build_manifest(configs[0].data, 0)
        one_batch = manifest.table[manifest.table["split"] == "train"].iloc[: configs[0].training.batch_size]
        piece = Case(configs[0], configs[0], Manifest(one_batch, manifest.classes, manifest.coverage, manifest.flip))
        whole = Case(*configs[1:], manifest)
        job.start_ray()
        before = measure(configs[0], manifest, arguments.sample, arguments.seconds)
        small = piece.planned(before)
        start = tuple(
            max(0.0, took - 3600 * phase.hours)
            for took, phase in zip(piece.run(small, folder / "small"), small, strict=False)
        )
        phases = whole.planned(before, start)
        took = whole.run(phases, folder / "whole")
        after = measure(configs[0], manifest, arguments.sample, arguments.seconds)
    again = whole.planned(after, start)
    for name in ("decode", "encode", "train"):
        rate = before[name]
        print(f"{name:<8} {rate.value:8.1f} before, {after[name].value:8.1f} after, {rate.unit} ({rate.hardware})")
    print(
        f"{'':<18}{'start, s':>10}{'planned, s':>12}{'took, s':>10}{'took/planned':>14}   by rates measured afterwards"
    )
    figures = {}
    for phase, later, seconds in zip(phases, again, took, strict=False):
        expected, then = 3600 * phase.hours, 3600 * later.hours
        ratios = f"{seconds / expected:>14.2f}{seconds / then:>8.2f}"
        print(f"{phase.name:<18}{phase.start:>10.1f}{expected:>12.1f}{seconds:>10.1f}{ratios}")
        figures[phase.name] = {"start": phase.start, "planned": expected, "planned_afterwards": then, "took": seconds}
    figures["rates"] = {name: [before[name].value, after[name].value] for name in before}
    job.write_json(arguments.json, figures)


if __name__ == "__main__":
    job.run(main)
