"""Train the object-centric adapter on a data set: stream, frozen backbone, Ray Train, MLflow.

    python jobs/train.py --config jobs/configs/toy.yaml training.epochs=10
    ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \\
        python jobs/train.py --config jobs/configs/toy.yaml data.root=/shared/toy output=/shared/outputs

The same command again goes on from the last checkpoint, or shows the finished run; with other evaluation.* settings a
finished run is evaluated anew, not trained. Touching `save_now` in the run's folder asks for a checkpoint within the
epoch; SIGTERM, which `ray job stop` sends, brings one before the end.
"""

from .. import job
from ..inputs import check_inputs


def main():
    options = job.parser(__doc__)
    job.add_config_options(options)
    options.add_argument(
        "--dry-run",
        action="store_true",
        help="show the run, its parameters and its placement on the cluster; train nothing",
    )
    arguments = options.parse_intermixed_args()
    config = job.config_from(arguments)
    check_inputs(config)

    from ..data.manifest import build_manifest
    from ..pipeline.placement import check_training, connected, placement_lines
    from ..pipeline.placement_text import training_text
    from ..plan import plan
    from ..runs.run import coverage_text, run_experiment, stored_summary
    from ..training.progress import Display, RemoteProgress

    job.join_cluster()
    experiment = plan(config, build_manifest(config.data, config.seed))
    print(
        f"run      {experiment.folder}\ndata     {coverage_text(experiment)}; {len(experiment.schedule.train_rows)}"
        " training clips used"
    )
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
    if finished or experiment.placed.num_workers == 0:
        summary = run_experiment(experiment, job.commit(), Display())
    else:
        with RemoteProgress() as show:
            summary = run_experiment(experiment, job.commit(), show)
    print(job.summary_lines(summary))
    job.write_json(arguments.json, summary)
