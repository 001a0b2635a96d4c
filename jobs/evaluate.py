"""Evaluate a checkpoint on the validation clips of a data set, with multi-view testing.

    python jobs/evaluate.py outputs/runs/RUN/last evaluation.temporal_clips=4 evaluation.spatial_crops=3
    python jobs/evaluate.py outputs/runs/RUN/last evaluation.reverse=true     # a control: frames backwards
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

from objadapt import job
from objadapt.experiment.evaluate import evaluate_checkpoint
from objadapt.training.progress import Display


def main():
    options = job.parser(__doc__)
    options.add_argument("checkpoint", help="folder of a checkpoint, such as outputs/runs/RUN/last")
    options.add_argument("overrides", nargs="*", metavar="key.sub=value", help="changes to the config it was trained with")
    job.add_json_option(options, "the summary")
    options.add_argument("--clips", metavar="FILE", action=job.FileToWrite, help="truth and prediction of every clip as CSV")
    arguments = options.parse_intermixed_args()
    job.refuse_relative("checkpoint", arguments.checkpoint)
    job.start_ray()
    summary, clips = evaluate_checkpoint(arguments.checkpoint, arguments.overrides, Display())
    print(job.summary_lines(summary))
    if arguments.clips:
        clips.to_csv(arguments.clips, index=False)
    job.write_json(arguments.json, summary)


if __name__ == "__main__":
    job.run(main)
