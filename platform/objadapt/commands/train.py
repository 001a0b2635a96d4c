"""Train the object-centric adapter on a data set: stream, frozen backbone, Ray Train, MLflow.

    python jobs/train.py data.root=clips name=mine
    python jobs/train.py --config toy training.epochs=10
    ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \\
        python jobs/train.py --config toy data.root=/shared/toy output=/shared/outputs

Without --config it is jobs/configs/own_videos.yaml: class folders, and settings that follow from the number of clips.

The same command again goes on from the last checkpoint, or shows the finished run; with other evaluation.* settings a
finished run is evaluated anew, not trained. Touching `save_now` in the run's folder asks for a checkpoint within the
epoch; SIGTERM, which `ray job stop` sends, brings one before the end.
"""

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from .. import job
from ..data.places import data_files
from ..errors import InputError
from ..inputs import check_inputs
from ..run_folder import LAST

if TYPE_CHECKING:
    from ..plan import Plan


def main():
    options = job.parser(__doc__)
    job.add_config_options(options)
    options.add_argument(
        "--dry-run",
        action="store_true",
        help="show the run, its parameters and its placement on the cluster; train nothing",
    )
    arguments = options.parse_intermixed_args()
    if arguments.dry_run and arguments.json:
        raise InputError("--json: a dry run has no summary; leave out one of both")
    if arguments.config is None:
        arguments.config = job.OWN_VIDEOS
    config = job.config_from(arguments)
    with job.stage("looking for the clips"):
        check_inputs(config)

    with job.stage("loading torch"):
        from ..data.manifest import build_manifest
        from ..pipeline.placement import check_training, connected, placement_lines
        from ..pipeline.placement_text import training_text
        from ..plan import plan
        from ..runs.cautions import about_clips
        from ..runs.feature_caches import ensure_features
        from ..runs.names import lead_to, link_of
        from ..runs.result_text import result_text
        from ..runs.run import results_folder, run_experiment, stored_summary
        from ..runs.standing import standing_text
        from ..runs.summary import coverage_text
        from ..training.progress import Display, RemoteProgress

    job.join_cluster()
    with job.stage("looking at the clips"):
        experiment = plan(config, build_manifest(config.data, config.seed))
    print(f"run      {experiment.folder}\n         {standing_text(experiment)}")
    print(f"data     {coverage_text(experiment)}; {len(experiment.schedule.train_rows)} training clips used")
    for line in experiment.fitted:
        print(line)
    for line in about_clips(experiment):
        print(f"warning  {line}")
    print(job.parameter_lines(experiment))
    print(training_text(experiment.config, experiment.placed))
    if arguments.dry_run:
        print(placement_lines(experiment.placed))
        check_training(experiment.placed)
        return
    finished = stored_summary(experiment) is not None
    if not finished and not connected():  # a local Ray has what this machine has
        check_training(experiment.placed)
    if not finished:
        job.start_ray()
    if not finished and config.stream.hold == "auto" and experiment.config.stream.cache:
        with Display() as show:
            ensure_features([experiment], show)
    try:
        with Display() if finished or experiment.placed.num_workers == 0 else RemoteProgress() as show:
            summary = run_experiment(experiment, job.commit(), show)
    except KeyboardInterrupt:
        print(f"run      {experiment.folder.name} {standing_text(experiment)}", file=sys.stderr)
        raise
    if not finished:
        lead_to(experiment.folder)
    link = link_of(experiment.folder)
    print(result_text(experiment, summary, results_folder(experiment), link))
    print("\n".join(["next", *(f"  {command}" for command in next_commands(experiment, link or experiment.folder))]))
    job.write_json(arguments.json, summary)


def next_commands(experiment: "Plan", folder: Path) -> list[str]:
    """What to do with a finished run, ready to paste."""
    config, where = experiment.config, job.shown_path(folder)
    output, videos = job.shown_path(config.output), config.data.root
    if config.data.format == "class_folders":
        videos = data_files(config.data).get("val", videos)  # held-out clips lie among the others
    videos = videos if "://" in videos else job.shown_path(videos)
    objects = f"{job.shown('segment')} --checkpoint {quote(f'{where}/{LAST}')} --video {quote(videos)}"
    tested = f"{job.shown('evaluate')} {quote(where)} evaluation.temporal_clips=4 evaluation.spatial_crops=3"
    return [
        *([tested] if config.method.classifies else []),
        *(
            [f"{objects} --out {quote(f'{output}/masks')} --pictures"]
            if experiment.method().grouping and "://" not in videos
            else []
        ),
        job.shown_app(quote(output)),
    ]
