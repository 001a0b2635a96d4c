"""The paper's tables, with your numbers beside the paper's: declared rows x seeds, from one shared feature cache.

    python jobs/reproduce.py --table losses --dataset toy --seeds 5
    python jobs/reproduce.py --all --dataset jobs/configs/kinetics400.yaml --dry-run data.root=/data/k400

Rows that are done already are not trained again, and a table that was cut off is completed by the same command. Exit
code 1: some row failed, and the table says which.
"""

import datetime
import math
import shlex
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import job
from ..config_file import load_config
from ..data import toy
from ..declared import CONFIGS, find
from ..errors import InputError
from ..inputs import check_inputs
from ..run_folder import store_uri
from ..tables.selection import check_dataset, check_rows, tables_of, unknown_datasets
from ..tables.table import Table, load_table, table_names
from . import _cost_table as cost_table
from . import _given_objects as given_objects

if TYPE_CHECKING:
    from ..config import Experiment
    from ..tables.rows import Place

HERE = ["stream.hold=false", "stream.num_workers=0"]  # each row in one process


def main():
    options = job.parser(__doc__)
    which = options.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--table",
        metavar="NAME",
        help=f"one of {', '.join([*table_names(), *cost_table.CAPTIONS])}, or a YAML file of that form",
    )
    which.add_argument("--all", action="store_true", help="every table that the data set allows")
    options.add_argument(
        "--dataset", default="toy", metavar="NAME|CONFIG", help="one of jobs/configs, or a YAML config"
    )
    options.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 0 .. N - 1 of every row")
    options.add_argument(
        "--rows", metavar="A,B", help="train only these rows; others are shown as far as they are done"
    )
    options.add_argument(
        "--davis",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="annotated sequences for J&F columns (default: the toy data's); more, with names: further columns",
    )
    options.add_argument(
        "--masks", action="append", default=[], metavar="NAME=DIR", help="masks that others made, as a row"
    )
    options.add_argument(
        "--dry-run", action="store_true", help="show the rows, what is done, and an estimate of time and disk"
    )
    options.add_argument(
        "--shared-stream",
        action="store_true",
        help="keep no features: rows of one seed train together, in this process, from one stream",
    )
    options.add_argument("--concurrent", type=int, metavar="N", help="rows at a time (default: as many as fit)")
    options.add_argument("--cpus-per-row", type=float, default=1.0, help="CPUs, and threads, of a training")
    options.add_argument(
        "--gpus-per-row",
        type=job.number_or_auto,
        default="auto",
        metavar="N",
        help="GPUs of a training, 0.25: four on each; auto: stream.trainer_gpus where it is set, else an even share",
    )
    options.add_argument(
        "--output", default="outputs", help="folder for features, runs, tables and the default MLflow store"
    )
    job.add_json_option(options, "the tables' outcomes (or the dry run)")
    job.add_overrides(options, "config values, on top of the data set's config")
    arguments = options.parse_intermixed_args()
    _check(arguments)
    if arguments.table in cost_table.CAPTIONS:
        return cost_table.make(arguments)

    path = find("--dataset", arguments.dataset, CONFIGS)
    # are paths usable?
    job.config_from(Namespace(config=path, overrides=[*arguments.overrides, f"output={arguments.output}"]))
    output = Path(arguments.output).absolute()  # a worker's current folder may be another
    cache = "null" if arguments.shared_stream else f"{output}/features"
    placed = [f"output={output}", f"stream.cache={cache}", *HERE]
    overrides = [*placed, *arguments.overrides]
    base = load_config(path, overrides)
    _check_stream(base, arguments.shared_stream)
    plain = load_config(path, placed)
    tables = tables_of(plain.name) if arguments.all else [load_table(arguments.table)]
    for table in tables:
        check_dataset(table, plain.name)
    sys.stderr.writelines(f"warning: {line}\n" for line in unknown_datasets(tables, plain.name))
    seeds = list(range(arguments.seeds))
    selected = arguments.rows.split(",") if arguments.rows else None
    check_rows(tables, selected)
    masks = given_objects.named_masks(arguments.masks, tables)
    davis = given_objects.named_sequences(arguments.davis, tables)
    toy_data = path == CONFIGS / "toy.yaml"
    with job.stage("looking for the clips"):
        check_inputs(base, clips=not toy_data)
    if toy_data:  # a dry run, too, which plans on the data
        _make_toy(Path(base.data.root))

    with job.stage("loading torch"):
        from ..pipeline.gpu_check import check_gpus
        from ..pipeline.side_by_side import gpus_each
        from ..runs.feature_caches import ensure_features
        from ..runs.object_test import encode_for
        from ..tables import formats, rows
        from ..tables.shared_rows import shared_text
        from ..tables.table_run import Packing, TableRun, run_tables
        from ..tracking import page_of, prepare_store
        from ..training.progress import Display

    display = Display()
    test = given_objects.sequences_to_score(tables, davis, Path(base.data.root))
    given_objects.check_masks(masks, test)
    job.join_cluster()
    places = rows.plan_rows(tables, plain, overrides, plain.name, seeds, selected, arguments.all, test, display)
    for line in rows.said_of_left_out(places):
        print(line)
    number = min((one for one in (arguments.concurrent, len(rows.to_run(places))) if one), default=None)
    cpus, decode = arguments.cpus_per_row, rows.decode_cpus(rows.to_run(places))
    gpus, why = gpus_each("--gpus-per-row", arguments.gpus_per_row, base.stream, cpus + decode, number)
    at_once = 1 if arguments.shared_stream else rows.concurrency(arguments.concurrent, cpus, gpus, decode)
    asked = number if arguments.concurrent else None
    placement = shared_text(places) if arguments.shared_stream else _placement(places, at_once, gpus, why, asked)
    if arguments.dry_run:
        return _dry_run(tables, places, arguments, at_once, placement)

    code = job.commit()
    said = {
        "command": shlex.join([*job.called("reproduce"), *sys.argv[1:]]),
        "commit": code,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    # what it refuses is told before hours are spent
    prepare_store(store_uri(base.tracking.uri, output), base.tracking.experiment)
    display.close()
    job.start_ray()
    if rows.to_run(places):
        print(placement, flush=True)
        check_gpus(gpus)
    plans = [place.plan for place in places if place.plan]
    if rows.to_run(places) and not arguments.shared_stream:
        # rows that are left out may come later: a cache that is made now serves them, but none is made for them
        left_out = [place.plan for place in places if place.plan and place.reason]
        ensure_features([place.plan for place in rows.to_run(places)], display, later=left_out)
    if test:
        encode_for(test, plans, display)
    runs = [TableRun(table, plain.name, base, places, seeds, said, masks) for table in tables]
    outcomes = []
    packing = None if arguments.shared_stream else Packing(at_once, arguments.cpus_per_row, gpus)
    for outcome in run_tables(runs, code, packing, display):
        display.close()
        print(formats.terminal(outcome), flush=True)
        outcomes.append(outcome)
    display.close()
    print(f"files   {runs[0].folder}\nMLflow  {page_of(runs[0].uri, base.tracking.experiment)}")
    print(f"next\n  {job.shown_app(shlex.quote(job.shown_path(output)))}")
    job.write_json(arguments.json, outcomes if arguments.all else outcomes[0])
    if any("failed" in row["status"] or row["failures"] for outcome in outcomes for row in outcome["rows"]):
        sys.exit(1)


def _check_stream(base: "Experiment", shared: bool) -> None:
    """Rows are trained each in one process, from the feature cache, or with `shared` from one stream."""
    if base.stream.hold or base.stream.num_workers:
        remedy = "leave stream.hold and stream.num_workers alone"
        raise InputError(f"stream: tables train each row in one process, from a cache or one stream; {remedy}")
    if shared and base.stream.cache:
        raise InputError("stream.cache: --shared-stream keeps no features; leave out one of both")


def _check(arguments: Namespace) -> None:
    if arguments.seeds < 1:
        raise InputError(f"--seeds: {arguments.seeds}; give at least 1")
    if arguments.concurrent is not None and arguments.concurrent < 1:
        raise InputError(f"--concurrent: {arguments.concurrent}; give at least 1, or leave it out for as many as fit")
    if arguments.shared_stream and arguments.concurrent:
        raise InputError("--concurrent: with --shared-stream rows train one after the other; leave out one of both")
    if taken := [one for one in arguments.overrides if one.startswith(("output=", "seed=", "name="))]:
        raise InputError(f"{taken[0]}: the tables set it; use --output for the folder and --seeds for the seeds")
    if not 0 < arguments.cpus_per_row < math.inf:
        raise InputError("--cpus-per-row must be above 0; fractions are fine")


def _make_toy(root: Path) -> None:
    """Object Actions, where it has not been made whole yet; one made with other options is left as it is."""
    if (root / "labels" / "labels.json").exists():  # written at the end
        return

    from ..training.progress import Display

    print(f"{root}: making the toy data there, once; it takes about a minute", flush=True)
    display = Display()
    for done, total in toy.make(root, toy.Options(), workers=2):
        display("toy clips", done, total)
    display.close()


def _placement(places: list["Place"], at_once: int, gpus: float, why: str, asked: int | None) -> str:
    """Encoders first, then the rows, at most as many as there are to be run."""
    from ..pipeline.placement_text import encoding_text
    from ..pipeline.side_by_side import side_by_side_text
    from ..tables import rows

    jobs = rows.to_run(places)
    lines = [side_by_side_text("row", min(at_once, max(1, len(jobs))), gpus, why, asked=asked)]
    if plans := [place.plan for place in jobs if not place.plan.takes_frames]:
        lines.insert(0, encoding_text(plans[0].config.stream, plans[0].placed, plans[0].config.backbone.precision))
    return "\n".join(lines)


def _dry_run(tables: list[Table], places: list["Place"], arguments: Namespace, at_once: int, placement: str) -> None:
    from ..runs.earlier import earlier
    from ..tables.estimate import estimate, text
    from ..tables.untrained_rows import left_to_score

    told, untrained = [], {}
    for table in tables:
        print(f"\n{table.caption} ({table.name}; {table.source})")
        for row in table.rows:
            mine = [place for place in places if place.table is table and place.row is row]
            done, reason = sum(place.done for place in mine), mine[0].reason
            older = [it.why for place in mine if place.plan and not place.done and (it := earlier(place.plan))]
            why = "; ".join(dict.fromkeys(older))
            state = f"{done} of {len(mine)} seeds done" + (f", {len(older)} stale ({why})" if older else "")
            print(
                f"  {row.name:<20} {state:<24} {f'not run: {reason}' if reason else ' '.join(row.overrides)}".rstrip()
            )
            told.append({"table": table.name, "row": row.name, "done": done, "stale": len(older), "reason": reason})
        mine = [place for place in places if place.table is table]
        untrained |= dict.fromkeys(kind for _, kind in left_to_score(mine, table.untrained))
    print(f"\n{placement}")
    found = estimate(places, max(1, int(arguments.cpus_per_row)), tuple(untrained))
    print(f"\n{text(found, at_once)}")
    job.write_json(
        arguments.json, {"rows": told, "estimate": vars(found) | {"wall_seconds": found.wall_seconds(at_once)}}
    )
