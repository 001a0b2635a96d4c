"""Write Object Actions, the toy data set: H.264 files, SSv2-style JSON, DAVIS-style folders with masks.

    python jobs/make_toy.py outputs/toy --train 1800 --validation 256

The same command completes a folder that is half written.
"""

import os
import sys
from dataclasses import fields
from pathlib import Path

from tqdm import tqdm

from .. import job
from ..data import toy

HELP = {
    "train": "training clips",
    "validation": "validation clips",
    "seed": "the same seed gives the same files",
    "resolution": "pixels a side",
    "length": "frames a clip",
    "fps": "frames a second",
    "davis": "validation clips also written as DAVIS sequences with instance masks",
}


def main():
    options = job.parser(__doc__)
    options.add_argument("root", help="folder to write to; one half written by the same command is completed")
    for field in fields(toy.Options):
        options.add_argument(f"--{field.name}", type=int, default=field.default, help=HELP[field.name])
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    job.add_json_option(options, "the summary")
    arguments = options.parse_args()
    job.refuse_relative("root", arguments.root)
    chosen = toy.Options(**{field.name: getattr(arguments, field.name) for field in fields(toy.Options)})
    with tqdm(unit="clip", desc="toy clips", disable=not sys.stderr.isatty()) as progress:
        for done, total in toy.make(Path(arguments.root), chosen, arguments.workers):
            progress.total = total
            progress.update(done - progress.n)
    print(
        f"{arguments.root}: {chosen.train} training and {chosen.validation} validation"
        f" clips of {len(toy.ACTIONS)} actions (toy data)"
    )
    job.write_json(arguments.json, {"root": arguments.root, "classes": list(toy.ACTIONS), **vars(chosen)})
