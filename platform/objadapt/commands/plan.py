"""How long a data set takes on a cluster, how much disk, and what it waits for: by streaming, and from a feature cache.

    python jobs/plan.py --config jobs/configs/kinetics400.yaml --nodes 4 --cpus 32 --gpus 4 --rates rates.json
    python jobs/plan.py --config jobs/configs/kinetics400.yaml --cpus 32 --gpus 4 --measure --videos FOLDER \\
        --write-rates F

The rates (clips a second a core, a GPU ...) come from a file, from --rate NAME=VALUE, or are measured here on some real
clips: those of `data.root`, or any videos like them. To measure a GPU, run it on a node that has one, or by
`ray job submit`.
"""

import logging
import os
from typing import TYPE_CHECKING

from .. import job
from ..capacity.phases import Cluster, Workload
from ..capacity.rates import given_rate, of_another, read_rates, write_rates
from ..config import Experiment
from ..data.video_files import list_videos
from ..errors import InputError

if TYPE_CHECKING:
    from ..data.manifest import Manifest

log = logging.getLogger(__name__)

# training and validation clips of common copies, and the heads' classes, where the data are not at hand
KNOWN = {
    "kinetics400": (240_436, 19_796, {"label": 400}),
    "something_something_v2": (168_913, 24_777, {"label": 174}),
    "epic_kitchens_100": (67_217, 9_668, {"verb_label": 97, "noun_label": 300}),
}


def main():
    options = job.parser(__doc__)
    job.add_config_options(options)
    options.add_argument("--nodes", type=int, default=1, help="of the cluster")
    options.add_argument("--cpus", type=int, required=True, help="a node")
    options.add_argument("--gpus", type=int, default=0, help="a node")
    options.add_argument("--disk-gb", type=float, help="free, on the storage that all nodes share")
    options.add_argument("--network-gbit", type=float, help="a second, a node; needs video_bytes and frame_bytes, too")
    options.add_argument(
        "--clips", metavar="TRAIN,VAL", help="clips of the data set; default: those of data.root, else known ones"
    )
    options.add_argument("--rates", metavar="FILE", help="rates that --write-rates has written")
    options.add_argument("--rate", metavar="NAME=VALUE", action="append", default=[], help="such as decode=12.5")
    options.add_argument("--measure", action="store_true", help="measure the rates here, now")
    options.add_argument(
        "--videos", metavar="FOLDER", help="measure on whole files of it, in place of data.root's clips"
    )
    options.add_argument("--sample", type=int, default=64, help="clips to measure on")
    options.add_argument("--seconds", type=float, default=5.0, help="that each rate is measured for, at the least")
    options.add_argument("--write-rates", metavar="FILE", action=job.FileToWrite, help="keep the rates")
    arguments = options.parse_intermixed_args()
    config = job.config_from(arguments)
    _check(arguments)

    sizes = _sizes(config, arguments.clips)
    cluster = Cluster(
        arguments.nodes,
        arguments.cpus,
        arguments.gpus,
        arguments.disk_gb and arguments.disk_gb * 1e9,
        arguments.network_gbit and arguments.network_gbit * 1e9 / 8,
    )
    rates, settings = read_rates(arguments.rates) if arguments.rates else ({}, {})
    if others := of_another(config, settings):
        log.warning(
            "--rates: %s: measured with other settings (%s), so hours and bytes are of those; measure anew",
            arguments.rates,
            others,
        )
    device = Workload(config.name, 0, 0, config).device
    given = dict(given_rate(text, lambda stage: device(stage, cluster)) for text in arguments.rate)
    videos = _videos(arguments, config)

    with job.stage("loading torch"):
        from ..capacity.measure import measure
        from ..capacity.report import report
        from ..data.manifest import build_manifest
        from ..methods.build import takes_frames
        from ..pipeline.fitting import fit_training

    if takes_frames(config.method):
        raise InputError(
            f"method.name: {config.method.name} takes frames, of which no speeds are known; use one on features"
        )
    manifest = build_manifest(config.data, config.seed) if _is_there(config) else None
    if sizes is None:
        used, whole, counted = _counts(manifest), _counts(manifest.whole or manifest), "in data.root"
    else:
        whole, counted = sizes[:2], sizes[2]
        used = _used(config, *whole)
    config, fitted = fit_training(config, used[0])
    work = Workload(config.name, *used, config, whole)
    if arguments.measure:
        if videos:
            manifest = _unlabelled(videos, work.name)
            config = config.model_copy(update={"data": config.data.model_copy(update={"root": arguments.videos})})
        job.start_ray()
        with job.stage("measuring speeds"):
            rates |= measure(config, manifest, arguments.sample, arguments.seconds)
    rates |= given
    if arguments.write_rates:
        write_rates(arguments.write_rates, rates, config)
    text, values = report(work, cluster, rates, counted)
    print("\n".join([*fitted, text]))
    job.write_json(arguments.json, values)


def _check(arguments) -> None:
    for name in ("videos", "rates"):
        job.refuse_relative(f"--{name}", getattr(arguments, name) or "")
    for name in ("nodes", "cpus", "gpus", "disk_gb", "network_gbit", "sample", "seconds"):
        value = getattr(arguments, name)
        if value is not None and not (value > 0 or value == 0 and name == "gpus"):
            raise InputError(f"--{name.replace('_', '-')}: {value} must be above 0")


def _counts(manifest: "Manifest") -> tuple[int, int]:
    """Training and validation clips."""
    splits = manifest.table["split"]
    return int((splits == "train").sum()), int((splits == "val").sum())


def _used(config: Experiment, train: int, val: int) -> tuple[int, int]:
    """Training and validation clips that `data.holdout` and then `data.fraction` leave, but for rounding by class."""
    held = round(config.data.holdout * train)
    return max(1, round(config.data.fraction * (train - held))), held or val


def _is_there(config: Experiment) -> bool:
    return bool(config.data.root) and os.path.isdir(config.data.root)


def _sizes(config: Experiment, clips: str | None) -> tuple[int, int, str] | None:
    """Numbers of training and validation clips and where they are from; None: they are to be counted in data.root."""
    if clips:
        try:
            train, val = (int(one) for one in clips.split(","))
        except ValueError:
            raise InputError(f"--clips: {clips!r} is not of the form TRAIN,VAL, such as 240436,19796") from None
        if train < 1 or val < 0:
            raise InputError(f"--clips: {clips!r} must be a number above 0 and one of 0 or more")
        return train, val, "--clips"
    if _is_there(config):
        return None
    if known := _known(config.name):
        return *known[:2], "of common copies"
    unknown = f"{config.data.root!r} is not there, and the size of {config.name!r} is not known"
    raise InputError(f"data.root: {unknown}; give --clips TRAIN,VAL")


def _known(name: str) -> tuple[int, int, dict[str, int]] | None:
    """What is known of the data set that a config is named after, such as that of kinetics400_l14_32f."""
    return next(
        (known for data_set, known in KNOWN.items() if name == data_set or name.startswith(f"{data_set}_")), None
    )


def _videos(arguments, config: Experiment) -> list[str]:
    """Files of --videos; none where the clips of data.root are measured on, which then must be there."""
    if arguments.measure and arguments.videos:
        if files := list_videos(os.path.abspath(arguments.videos)):
            return files
        raise InputError(f"--videos: no video files in {arguments.videos}")
    if arguments.measure and not _is_there(config):
        remedy = "give it, or any folder of videos like its own by --videos FOLDER"
        raise InputError(f"--measure: data.root {config.data.root!r} is not there; {remedy}")
    return []


def _unlabelled(files: list[str], name: str) -> "Manifest":
    """Videos as training clips, under labels that mean nothing, of as many classes as the data set has."""
    import numpy as np
    import pandas as pd

    from ..data.manifest import Manifest

    known = _known(name)
    heads = known[2] if known else {"label": 100}
    table = pd.DataFrame({"clip_id": files, "path": files, "start_s": np.nan, "end_s": np.nan, "split": "train"})
    table = table.assign(**{head: np.arange(len(files)) % classes for head, classes in heads.items()})
    return Manifest(table, {head: [str(one) for one in range(classes)] for head, classes in heads.items()}, {}, False)
