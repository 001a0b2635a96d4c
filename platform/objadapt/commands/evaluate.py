"""Evaluate a checkpoint on a split of a data set, with multi-view testing, where and as it was trained: workers, GPUs,
cache.

    python jobs/evaluate.py mine evaluation.temporal_clips=4 evaluation.spatial_crops=3
    python jobs/evaluate.py outputs/runs/RUN/last --split test --predictions test.csv --predictions test.json
    python jobs/evaluate.py outputs/runs/RUN/last evaluation.reverse=true     # a control: frames backwards

Clips without labels have predictions, and no accuracy. What was found stays in the run's folder, and in its MLflow run:
predictions of every clip, confusion, accuracy by class, and the worst clips.
"""

from pathlib import Path

from .. import job
from ..config import Experiment
from ..config_file import override, validate
from ..data.places import SPLITS, data_files
from ..inputs import check_model
from ..runs.names import find_checkpoint
from ..training.state import read_state


def main():
    options = job.parser(__doc__)
    options.add_argument("checkpoint", help="a run's name, its folder or the hash it ends in, or a checkpoint's folder")
    job.add_overrides(options, "changes to the config it was trained with")
    options.add_argument("--split", choices=SPLITS, default="val", help="clips to evaluate on")
    job.add_json_option(options, "the summary")
    options.add_argument(
        "--predictions",
        metavar="FILE",
        action=job.TablesToWrite,
        default=[],
        help="probabilities, best classes and rank of the true one for every clip, as .csv or .json; may be given"
        " twice",
    )
    arguments = options.parse_intermixed_args()
    job.refuse_relative("checkpoint", arguments.checkpoint)
    job.check_overrides(arguments.overrides)
    output = [text.removeprefix("output=") for text in arguments.overrides if text.startswith("output=")]
    checkpoint = find_checkpoint(arguments.checkpoint, Path(output[-1] if output else Experiment().output))
    config = validate(override(read_state(checkpoint).config, arguments.overrides), source="evaluate")
    data_files(config.data)
    check_model(config)

    from ..pipeline.placement_text import training_text
    from ..runs.clip_predictions import write_predictions
    from ..runs.evaluate import declare, evaluate_checkpoint, keep_evaluation
    from ..training.progress import Display, RemoteProgress

    job.join_cluster()
    look = declare(str(checkpoint), arguments.overrides, arguments.split)
    print(training_text(look.plan.config, look.plan.placed), flush=True)
    with Display() as show:
        show.stage("starting Ray")
        job.start_ray()
    with RemoteProgress() as show:
        summary, clips = evaluate_checkpoint(look, show)
    print(job.summary_lines(summary))
    if not summary["num_labelled_clips"]:
        print("no clip has a label, so there is no accuracy; --predictions FILE keeps what was predicted")
    about = {name: summary[name] for name in ("checkpoint", "split", "views")}
    for path in arguments.predictions:
        write_predictions(path, clips, look.plan.manifest.classes, about)
    if kept := keep_evaluation(look, summary, clips):
        print(f"{'kept':<20} {kept}")
    job.write_json(arguments.json, summary)
