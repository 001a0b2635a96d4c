"""What each method costs here: parameters, FLOPs, time of a training step and its parts, memory, clips a second.

    python jobs/benchmark.py                                          # ViT-B/16 with random weights, 8 frames
    python jobs/benchmark.py --methods object_centric,evl --config jobs/configs/kinetics400.yaml backbone.weights=FILE
    python jobs/benchmark.py --video clip.mp4 sampling.frames=16 --json cost.json --figure cost.png

All methods take the same frames and the same backbone, turn by turn in one process; no Ray is started. Ratios are to
the first method, beside those that the paper gives. `method.X=...` is for the config's own method; the others have
their defaults. A GPU is used where torch has one. Numbers and figure also go to MLflow, below `output`.
"""

import datetime
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import job
from ..config import Experiment
from ..config_file import load_config
from ..config_methods import SECTIONS
from ..declared import CONFIGS, find
from ..errors import InputError, did_you_mean
from ..inputs import check_model, check_output
from ..run_folder import BENCHMARK, RECORDS, store_uri

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

PEERS = (
    "object_centric,linear_probe,attentive_probe,temporal_transformer,st_adapter,st_adapter-both,aim,evl,timesformer"
)

FIGURES = (".png", ".pdf", ".svg")


def main():
    options = job.parser(__doc__)
    job.add_config_options(options)
    options.add_argument(
        "--methods", default=PEERS, help="names, the reference first; st_adapter-both: both placements"
    )
    options.add_argument("--clips", type=int, default=2, help="of a batch; two at the least")
    options.add_argument("--turns", type=int, default=7, help="that count; one more warms up")
    options.add_argument("--video", metavar="FILE", help="take the frames of it, and measure the decoder, too")
    options.add_argument("--figure", metavar="FILE", action=job.FileToWrite, help="draw the costs, as PNG, PDF or SVG")
    arguments = options.parse_intermixed_args()
    for name, least in (("clips", 2), ("turns", 1)):
        if (value := getattr(arguments, name)) < least:
            raise InputError(f"--{name}: {value} is too few; give at least {least}")
    names = arguments.methods.split(",")
    for name in names:
        if name != "st_adapter-both" and name not in SECTIONS or name == "module":
            known = [*SECTIONS, "st_adapter-both"]
            raise InputError(f"--methods: {name}: no such method; {did_you_mean(name, known)}there are {PEERS}")
    if arguments.figure and Path(arguments.figure).suffix not in FIGURES:
        raise InputError(f"--figure: {arguments.figure}: unknown suffix; use {', '.join(FIGURES)}")
    if arguments.video and not Path(arguments.video).is_file():
        raise InputError(f"--video: no file {arguments.video}")
    base = job.config_from(arguments)
    if base.backbone.weights or base.backbone.pretrained:  # else it has random ones
        check_model(base)
    check_output(base.output)

    from ..capacity.steps_report import as_text, cost_figure

    path = arguments.config and find("--config", arguments.config, CONFIGS)
    said, rows = measure(path, base, arguments.overrides, names, arguments)
    decoder = said.pop("decode_ms")
    print("\n".join(f"{name:<12}{value}" for name, value in said.items()))
    if decoder:
        print(f"{'decoder':<12}{decoder:.1f} ms a clip with its crop, for every method the same, not counted below")
    print(f"\n{as_text(rows)}\n")
    print("times are of one clip, medians; spread: quartiles; ratio: to the first method")
    print("paper: its own ratios to the first method, of whole trainings and of throughput, on 8 GPUs")
    job.write_json(arguments.json, said | {"decode_ms": decoder, "commit": job.commit(), "rows": rows})
    figure = cost_figure(rows)
    if arguments.figure:
        figure.savefig(arguments.figure, dpi=120)
        print(f"figure      {arguments.figure}")
    track(base, said, rows, figure)


def measure(
    path: Path | None, base: Experiment, overrides: list[str], names: list[str], options: Namespace
) -> tuple[dict, list[dict]]:
    """Measure methods beside each other; -> on what it was measured, and a row a method.

    Args:
        path: of the config file, of which `base` is read.
        options: `clips` of a batch, `turns` that count, `video` or None.
    """
    from ..backbone import build_backbone
    from ..backbone.random_weights import write_random_weights
    from ..capacity.hardware import hardware
    from ..capacity.steps import DEVICE, measure_sides
    from ..capacity.steps_report import as_values
    from ..tracking import prepare_store
    from ..training.progress import Display

    prepare_store(store_uri(base.tracking.uri, Path(base.output).absolute()), base.tracking.experiment)
    with tempfile.TemporaryDirectory(prefix="objadapt-random-") as folder:
        overrides, weights = list(overrides), "its own"
        if base.backbone.library != "small_clip" and not (base.backbone.weights or base.backbone.pretrained):
            overrides.append(f"backbone.weights={write_random_weights(base.backbone, Path(folder))}")
            weights = "random"
        configs = {name: load_config(path, _of_method(name, base, overrides)) for name in names}
        encoder = build_backbone(configs[names[0]].backbone)
        frames, decoder = _frames(options, base, base.transform.size or encoder.image_size)
        display = Display()
        rows = as_values(measure_sides(configs, frames, options.turns, display))
        display.close()
    side = frames.shape[2]
    said = {
        "backbone": f"{encoder.name} ({base.backbone.library}), {weights} weights",
        "frames": f"{base.sampling.frames} of {side} x {side} pixels, {len(frames)} clips a batch",
        "hardware": hardware(DEVICE),
        "date": str(datetime.date.today()),
        "turns": options.turns,
        "decode_ms": decoder and 1e3 * decoder,
    }
    return said, rows


def _of_method(name: str, base: Experiment, overrides: list[str]) -> list[str]:
    """Overrides that make the config that of a method; those of the config's own method are not of another."""
    if name == base.method.name:
        return overrides
    own = {"st_adapter-both": ["method.placement=both"], "timesformer": ["training.optimiser=sgd"]}  # as published
    others = [one for one in overrides if not one.startswith("method.")]
    return [*others, f"method.name={name.removesuffix('-both')}", *own.get(name, [])]


def track(base: Experiment, said: dict, rows: list[dict], figure: "Figure") -> None:
    """A run of MLflow of its own: a metric a method and number, the figure, and what it was measured on."""
    from ..tracking import Tracker, page_of

    output = Path(base.output).absolute()
    uri = store_uri(base.tracking.uri, output)
    tracker = Tracker(uri, base.tracking.experiment, output / BENCHMARK / RECORDS)
    tracker.start(f"benchmark {said['backbone']}", {"kind": "benchmark"}, said)
    numbers = ("step_ms", "cached_step_ms", "clips_per_second", "gflops", "tunable_parameters", "saved_bytes")
    values = {f"{row['method']}/{name}": row[name] for row in rows for name in numbers if row[name] is not None}
    tracker.metrics(values, step=0)
    tracker.figure(figure, "cost.png")
    tracker.finish()
    print(f"MLflow      {page_of(uri, base.tracking.experiment)}")


def _frames(arguments: Namespace, base: Experiment, size: int) -> "tuple[torch.Tensor, float | None]":
    """-> frames uint8 [B, T, S, S, 3] and, of a video, seconds of decoding and cropping a clip, the median."""
    import numpy as np
    import torch

    shape = (arguments.clips, base.sampling.frames, size, size, 3)
    if not arguments.video:
        return torch.from_numpy(np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)), None
    from ..data.clip import read_clip
    from ..data.probe import DecodeError
    from ..data.transforms import train_transform

    rng, clips, clock = np.random.default_rng(0), [], []
    try:
        for _ in range(1 + arguments.clips):  # the first is not timed: it loads the decoder's libraries
            clock.append(time.perf_counter())
            decoded = read_clip(arguments.video, None, None, base.sampling, rng)
            clips.append(train_transform(decoded.frames, size, base.transform, False, rng))
    except DecodeError as error:
        raise InputError(f"--video: {arguments.video}: {error}") from None
    seconds = np.median(np.diff([*clock[1:], time.perf_counter()]))
    return torch.from_numpy(np.stack(clips[1:])), float(seconds)
