"""Encode a data set once and keep the features on disk, for every training, sweep and table that reads them.

    python jobs/extract_features.py --config toy --frames 4,8,16 stream.cache=outputs/features
    python jobs/extract_features.py --cache outputs/features --list
    python jobs/extract_features.py --cache outputs/features --prune 3f2a90c1d4e7

An extraction that was cut off goes on with the same command. A training reads the cache with
`stream.cache=outputs/features`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from .. import job
from ..config import Experiment
from ..config_file import override, validate
from ..errors import InputError
from ..inputs import check_inputs
from ..pipeline.cache_folder import list_caches, prune
from ..run_folder import QUARANTINE

if TYPE_CHECKING:
    from ..plan import Plan


def main():
    options = job.parser(__doc__)
    job.add_config_options(options)
    options.add_argument(
        "--frames", metavar="T,T,...", help="every T that the cache is to serve; default: sampling.frames"
    )
    options.add_argument(
        "--holdout", action="store_true", help="test views of training clips, too: for sweeps, which validate on some"
    )
    options.add_argument("--limit-gb", type=float, help="refuse to let the folder of caches grow beyond this")
    options.add_argument(
        "--cache", metavar="FOLDER", help="folder of caches, for --list and --prune; else stream.cache=FOLDER"
    )
    options.add_argument("--list", action="store_true", help="show the caches there, with their sizes")
    options.add_argument("--prune", nargs="+", metavar="KEY", help="delete these caches")
    options.add_argument("--dry-run", action="store_true", help="show what would be stored, and encode nothing")
    arguments = options.parse_intermixed_args()
    if arguments.list or arguments.prune:
        print(manage(arguments))
        return
    if arguments.cache:
        arguments.overrides.append(f"stream.cache={arguments.cache}")
    config = job.config_from(arguments)
    configs = for_every_length(config, arguments.frames, arguments.holdout)
    with job.stage("looking for the clips"):
        check_inputs(config)

    with job.stage("loading torch"):
        from ..data.manifest import build_manifest
        from ..pipeline.placement import check_placement, connected
        from ..pipeline.placement_text import encoding_text
        from ..plan import plan
        from ..runs.feature_caches import ensure_features, estimate_features
        from ..training.progress import Display

    job.join_cluster()
    with job.stage("looking at the clips"):
        plans = [plan(one, build_manifest(one.data, one.seed)) for one in configs]
        expected = estimate_features(plans)
    views, size = (f"{expected[name]:,}" for name in ("views", "bytes"))
    print(
        f"cache    {Path(config.stream.cache) / plans[0].cache_key}\nholds    {views} clip views, {size} bytes; to do:"
        f" {expected['missing_views']:,}"
    )
    print(encoding_text(config.stream, plans[0].placed, plans[0].config.backbone.precision))
    if arguments.dry_run:
        job.write_json(arguments.json, expected)
        return
    if expected["missing_views"] and not connected():  # a local Ray has what this machine has
        check_placement(plans[0].placed, workers=0, encoders=plans[0].placed.number_of_encoders)
    job.start_ray()
    limit = None if arguments.limit_gb is None else round(arguments.limit_gb * 1e9)
    with Display() as show:
        folder = ensure_features(plans, show, limit)[0]
    summary = summarise(folder, plans[0])
    print("\n".join(f"{name:<20} {value}" for name, value in summary.items()))
    job.write_json(arguments.json, summary)


def manage(arguments) -> str:
    """--list and --prune."""
    if not arguments.cache:
        raise InputError("--cache: say which folder of caches is meant")
    job.refuse_relative("--cache", arguments.cache)
    if not Path(arguments.cache).is_dir():
        raise InputError(f"--cache: no folder {arguments.cache}; give the one that stream.cache named")
    if arguments.prune:
        return f"deleted {', '.join(arguments.prune)}: {prune(arguments.cache, arguments.prune) / 1e9:.2f} GB freed"
    found = list_caches(arguments.cache)
    job.write_json(arguments.json, {"caches": found})
    lines = [f"{'key':<14}{'GB':>8}  {'T':<12}{'views':<7}{'storage':<9}{'':<11}made from"]
    for one in found:
        contents = one["contents"]
        state = "" if one["finished"] else "unfinished"
        frames = ",".join(map(str, contents.frames))
        made = f"{one['settings']['name']} {one['settings']['data']}"
        lines.append(
            f"{one['key']:<14}{one['bytes'] / 1e9:>8.2f} "
            f" {frames:<12}{contents.views:<7}{contents.storage:<9}{state:<11}{made}"
        )
    return "\n".join([*lines, f"{'in all':<14}{sum(one['bytes'] for one in found) / 1e9:>8.2f}"])


def for_every_length(config: Experiment, frames: str | None, holdout: bool) -> list[Experiment]:
    """A config for each T; they share a cache."""
    if not config.stream.cache:
        raise InputError("stream.cache: no folder given; say where the features are to be kept: stream.cache=FOLDER")
    try:
        lengths = [int(one) for one in frames.split(",")] if frames else [config.sampling.frames]
    except ValueError:
        raise InputError(f"--frames: {frames!r} is not a list of numbers such as 4,8,16") from None
    # neither the adapter nor what it learns matters here
    rest = [
        "method.temporal=none",
        "method.interval=null",
        "stream.hold=false",
        *(["data.holdout=0.5"] if holdout else []),
    ]
    tree = config.model_dump(mode="json")
    return [validate(override(tree, [*rest, f"sampling.frames={one}"]), source="--frames") for one in lengths]


def summarise(folder: Path, experiment: "Plan") -> dict:
    """What is in a finished cache, with its quarantine as a CSV beside it."""
    from ..pipeline.cache import open_cache
    from ..pipeline.quarantine import DECODERS

    cache = open_cache(folder.parent, folder.name, experiment.contents)
    index = cache.index
    broken = index[~index["valid"]]
    broken[["clip_id", "kind", "view", "stage", "reason"]].to_csv(folder / QUARANTINE, index=False)
    decoders = index.loc[index["valid"], ["clip_id", "decoder"]].drop_duplicates("clip_id")["decoder"].value_counts()
    return {
        "cache": str(folder),
        "clips": int(index["clip_id"].nunique()),
        "clip_views": len(index),
        "bytes": int(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())),
        "quarantined": int(broken["clip_id"].nunique()),
        "quarantine": str(folder / QUARANTINE),
        "int8_error": round(cache.int8_error, 5),
        **({"bytes_fetched": int(index["fetched"].sum())} if "fetched" in index and index["fetched"].any() else {}),
    } | {f"decoded_by_{DECODERS[number]}": int(count) for number, count in decoders.items()}
