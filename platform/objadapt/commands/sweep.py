"""Search a space of configurations with Ray Tune and Optuna, judged on training clips that are held out.

    python jobs/sweep.py temperature_margin --config toy --trials 20 --concurrent 2

The same command again keeps finished trials and goes on; a larger --trials adds some. --final retrains the best
configuration on all training clips and evaluates it, once, on the validation set.
"""

import math
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import declared, job
from ..errors import InputError
from ..inputs import check_inputs
from ..sweeps.space import SearchSpace
from ..sweeps.space_file import PRUNERS, SAMPLERS, load_space

if TYPE_CHECKING:
    from ..sweeps.sweep import Sweep


def main():
    options = job.parser(__doc__)
    options.add_argument(
        "space",
        metavar="SPACE",
        help="a search space declared in search_spaces by its name, such as architecture, or a YAML file",
    )
    options.add_argument(
        "--trials", type=int, help="in all, with those of earlier commands; default: the space's, or the whole grid"
    )
    options.add_argument("--concurrent", type=int, default=1, help="trials at once")
    options.add_argument("--cpus-per-trial", type=float, default=1.0, help="CPUs, and torch threads, of a trial")
    options.add_argument(
        "--gpus-per-trial",
        type=job.number_or_auto,
        default="auto",
        metavar="N",
        help="0.25: four trials on one GPU; auto: stream.trainer_gpus where it is set, else an even share",
    )
    options.add_argument("--seed", type=int, default=0, help="of the sampler; trainings have the config's own")
    options.add_argument(
        "--sampler", choices=SAMPLERS, help="default: the space's; nsga2: accuracy against adapter GFLOPs"
    )
    options.add_argument("--pruner", choices=PRUNERS, help="default: the space's")
    options.add_argument("--final", action="store_true", help="train the best on all training clips, then evaluate it")
    options.add_argument("--dry-run", action="store_true", help="say what would be run, and end")
    job.add_config_options(options)
    arguments = options.parse_intermixed_args()
    if not 0 < arguments.cpus_per_trial < math.inf or arguments.concurrent < 1:
        raise InputError("--concurrent: at least 1; --cpus-per-trial: above 0, fractions are fine")
    if arguments.dry_run and arguments.json:
        raise InputError("--json: a dry run has no summary; leave out one of both")
    config, space = job.config_from(arguments), _space(arguments)
    space.check(config)
    with job.stage("looking for the clips"):
        check_inputs(config)

    with job.stage("loading torch"):
        from ..pipeline.gpu_check import check_gpus
        from ..pipeline.side_by_side import gpus_each, side_by_side_text
        from ..sweeps import study as studies
        from ..sweeps.sweep import declare, decode_cpus, run_sweep
        from ..sweeps.trials import Placement
        from ..training.progress import Display

    job.join_cluster()
    gpus, why = gpus_each(
        "--gpus-per-trial", arguments.gpus_per_trial, config.stream, arguments.cpus_per_trial, arguments.concurrent
    )
    with job.stage("looking at the clips"):
        sweep = declare(config, space, arguments.seed)
    splits = sweep.manifest.table["split"].value_counts()
    goals = ", ".join(f"{mode} {name}" for name, mode in studies.objectives(sweep.space).items())
    print(f"sweep    {sweep.folder}")
    print(f"data     {splits['train']} training clips a trial, judged on {splits['val']} held-out ones by {goals}")
    print(f"trials   {sweep.space.trials} in all, sampler {sweep.space.sampler}, pruner {sweep.space.pruner}")
    placement = Placement(arguments.concurrent, arguments.cpus_per_trial, gpus, decode_cpus(config))
    placement.check()
    print(side_by_side_text("trial", placement.at_once, gpus, why, asked=arguments.concurrent))
    if arguments.dry_run:
        _announce(sweep)
        return
    job.start_ray()
    check_gpus(gpus)
    with Display() as show:
        outcome = run_sweep(sweep, placement, job.commit(), show, arguments.final)
    job.write_json(arguments.json, outcome)
    _show(outcome, config.tracking.experiment)
    failed = sum(trial["state"] == "failed" for trial in outcome["trials"])
    if failed:
        print(
            f"{failed} trials failed (see reason); the same command tries those again that did not diverge",
            file=sys.stderr,
        )
    if not outcome["best"]:
        sys.exit(1)


def _space(arguments) -> SearchSpace:
    """The file's space with what the command line says otherwise."""
    space = load_space(declared.find("SPACE", arguments.space, declared.SPACES))
    space = replace(space, sampler=arguments.sampler or space.sampler, pruner=arguments.pruner or space.pruner)
    trials = arguments.trials
    if trials is None:
        trials = sum(1 for _ in space.grid()) if space.sampler == "grid" else space.trials
    if trials < 1:
        raise InputError(f"--trials: {trials}; give at least 1")
    return replace(space, trials=trials)


def _announce(sweep: "Sweep") -> None:
    from ..runs.feature_caches import estimate_features
    from ..sweeps import study as studies

    features = estimate_features(sweep.plans())
    print(f"features {features['views']:,} clip views, {features['bytes'] / 1e9:.2f} GB")
    print(
        f"         of which to be extracted: {features['missing_views']:,} views, {features['missing_bytes'] / 1e9:.2f}"
        " GB"
    )
    if not (sweep.folder / "study.db").exists():
        print(f"to do    {sweep.space.trials} trials")
        return
    study = studies.open_study(sweep.folder, sweep.name, sweep.space)
    done = studies.finished(study)
    left = max(0, sweep.space.trials - done)
    print(f"to do    {left} trials; {done} are finished")
    seconds = [row["seconds"] for row in studies.rows(study, sweep.space) if row["state"] == "complete"]
    if seconds and left:
        print(
            f"time     about {left * sum(seconds) / len(seconds):.0f} s, judged by those finished,"
            " divided by those at once"
        )


def _show(outcome: dict, experiment: str) -> None:
    from ..sweeps.sweep import trial_table
    from ..tracking import page_of

    table = trial_table(outcome["trials"]).drop(columns=["run", "mlflow_run_id"]).replace({"reason": {"": None}})
    print(f"\n{table.dropna(axis=1, how='all').to_string(index=False, float_format='{:.4g}'.format, na_rep='')}\n")
    for trial in outcome["pareto"] or filter(None, [outcome["best"]]):
        values = ", ".join(f"{name} {value:.4g}" for name, value in trial["values"].items())
        print(
            f"{'Pareto' if outcome['pareto'] else 'best  '}   trial {trial['number']}: {values} on"
            " held-out training clips"
        )
        print("         " + " ".join(f"{key}={value}" for key, value in trial["params"].items()))
    if final := outcome.get("final"):
        scores = ", ".join(f"{name} {value:.4f}" for name, value in final.items() if name.endswith(("top1", "top5")))
        print(
            f"final    {scores} on the validation set, of a training on all {final['num_train_clips']} training clips"
        )
        print(f"         {final['checkpoint']}")
    folder = Path(outcome["folder"])
    print(f"table    {job.shown_path(folder / 'trials.csv')}")
    print(f"Optuna   optuna-dashboard --host 127.0.0.1 {shlex.quote(outcome['study'])}  (pip install optuna-dashboard)")
    print(f"MLflow   {page_of(outcome['mlflow_uri'], experiment)}")
