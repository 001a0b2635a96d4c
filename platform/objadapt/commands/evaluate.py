"""Evaluate a checkpoint on a split of a data set, with multi-view testing, where and as it was trained: workers, GPUs,
cache.

    python jobs/evaluate.py mine evaluation.temporal_clips=4 evaluation.spatial_crops=3
    python jobs/evaluate.py outputs/runs/RUN/last --split test --predictions test.csv --predictions test.json
    python jobs/evaluate.py outputs/runs/RUN/last evaluation.reverse=true     # a control: frames backwards

Clips without labels have predictions, and no accuracy. What was found stays in the run's folder, and in its MLflow run:
predictions of every clip, confusion, accuracy by class, and the worst clips.

What EPIC-KITCHENS-100's challenge asks for, of the test clips that it lists without labels:

    python jobs/evaluate.py ek100 --split test --challenge test.json data.test=EPIC_100_test_timestamps.csv
"""

from pathlib import Path
from shlex import quote

from .. import job
from ..config_file import override, validate
from ..data.places import SPLITS, data_files
from ..errors import InputError
from ..inputs import check_model
from ..runs.names import checkpoint_given
from ..training.state import check_weights, read_state

CHALLENGE = {"verb_label": 97, "noun_label": 300}  # head -> classes that the challenge asks for
LEVELS = ("sls_pt", "sls_tl", "sls_td")  # its scale of supervision: pretraining, training labels, training data


def main():
    options = job.parser(__doc__)
    job.add_checkpoint(options)
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
    options.add_argument(
        "--challenge",
        metavar="FILE",
        action=job.NewFileToWrite,
        help="write the JSON of EPIC-KITCHENS-100's action recognition challenge",
    )
    options.add_argument(
        "--supervision",
        metavar="PT,TL,TD",
        default="5,3,3",
        help="for --challenge, its levels from 0 to 5: pretraining (5: private data, such as CLIP's), training labels"
        " (3: with times), training data (3: the training split)",
    )
    arguments = options.parse_intermixed_args()
    job.take_checkpoint(arguments, arguments.overrides)
    job.check_overrides(arguments.overrides)
    checkpoint = checkpoint_given(arguments.checkpoint, arguments.overrides)
    state, levels = read_state(checkpoint), _levels(arguments.supervision)
    config = validate(override(state.config, arguments.overrides), source="evaluate")
    if not config.method.classifies:
        make, score = job.shown("segment"), job.shown("score_davis")
        remedy = f"score its masks: {make} --checkpoint {checkpoint} --davis DIR --out masks, then {score}"
        raise InputError(f"checkpoint {checkpoint}: {config.method.name} gives no classes to evaluate; {remedy}")
    if arguments.challenge:
        _check_heads({head: len(names) for head, names in state.classes.items()})
    data_files(config.data)
    check_model(config)
    check_weights(checkpoint)

    with job.stage("loading torch"):
        from ..evaluation.recognition import Scores
        from ..pipeline.placement_text import training_text
        from ..runs.challenge import write_challenge
        from ..runs.clip_predictions import write_predictions
        from ..runs.evaluate import ABOUT, declare, evaluate_checkpoint, keep_evaluation
        from ..runs.result_text import evaluation_text
        from ..training.progress import RemoteProgress

    job.join_cluster()
    with job.stage("looking at the clips"):
        look = declare(str(checkpoint), arguments.overrides, arguments.split)
    print(training_text(look.plan.config, look.plan.placed), flush=True)
    job.start_ray()

    def write(scores: Scores) -> None:
        number = write_challenge(Path(arguments.challenge), scores, look.plan.manifest, look.split, levels)
        print(f"{'challenge':<20} {arguments.challenge}: {number} clips, {levels}")

    with RemoteProgress() as show:
        summary, clips = evaluate_checkpoint(look, show, write if arguments.challenge else None)
    kept = keep_evaluation(look, summary, clips)
    print(evaluation_text(look.plan, look.split, summary, clips, kept))
    about = {name: summary[name] for name in ABOUT}
    for path in arguments.predictions:
        write_predictions(path, clips, look.plan.manifest.classes, about)
    print(f"next\n  {job.shown_app(quote(job.shown_path(config.output)))}")
    job.write_json(arguments.json, summary)


def _levels(text: str) -> dict[str, int]:
    """`"5,3,3"` -> the challenge's levels of supervision by their names."""
    numbers = [one.strip() for one in text.split(",")]
    if len(numbers) != len(LEVELS) or not set(numbers) <= set("012345"):
        raise InputError(f"--supervision: {text!r} is not PT,TL,TD, three numbers from 0 to 5; give such as 5,3,3")
    return dict(zip(LEVELS, map(int, numbers), strict=True))


def _check_heads(heads: dict[str, int]) -> None:
    """InputError where a checkpoint's heads are not the challenge's verbs and nouns."""
    if heads != CHALLENGE:
        said = " and ".join(f"{classes} of {head}" for head, classes in heads.items())
        raise InputError(
            f"--challenge: it asks for 97 classes of verb_label and 300 of noun_label, and the checkpoint has {said};"
            " give one that was trained on EPIC-KITCHENS-100"
        )
