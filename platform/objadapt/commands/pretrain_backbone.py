"""Pretrain the small CLIP that ships with the package, on still pictures of shapes with captions.

It stands in for CLIP ViT-B/16: an image-only pretraining that never sees a video or a motion. Pictures come
from the renderer of the toy data, under seeds of their own. The loss is CLIP's contrastive loss on the cls
embedding, with two additions that give so small a ViT the local patch tokens that large CLIPs get by scale: at
half weight, the same loss on the mean of the projected patch tokens; and the squared error of a linear head that
reads each patch's place in the picture off its projected token (without it, tokens forget where they are).
A run that was cut off goes on from its last saved step when the same command is given again.

    python jobs/pretrain_backbone.py --steps 20 --output outputs/look   # a look at how it runs

The shipped weights took 50 minutes on 2 cores; their provenance.json has the figures:

    python jobs/pretrain_backbone.py --steps 800 --output outputs/small_clip
"""

import argparse
import json
import math
from pathlib import Path

from .. import job
from ..data.shapes import HELD_OUT_SEED
from ..errors import InputError
from ..inputs import check_output


def check(arguments: argparse.Namespace) -> None:
    """Options that make no sense."""
    for name in ("steps", "batch_size", "variants"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name.replace('_', '-')}: {getattr(arguments, name)}; give at least 1")
    if not 0 < arguments.lr < math.inf:
        raise InputError(f"--lr: {arguments.lr}; give a number above 0")
    if not 0 <= arguments.seed < HELD_OUT_SEED:
        raise InputError(f"--seed: {arguments.seed}; give one from 0 to {HELD_OUT_SEED - 1}")
    for name in ("start", "output"):
        job.refuse_relative(f"--{name}", getattr(arguments, name) or "")
    if arguments.start and not (Path(arguments.start) / "weights.safetensors").is_file():
        none = f"{arguments.start} holds no earlier pretraining (no weights.safetensors)"
        raise InputError(f"--start: {none}; give the --output of one")
    check_output(arguments.output, "--output")


def main():
    options = job.parser(__doc__)
    options.add_argument("--steps", type=int, default=800, help="optimiser steps")
    options.add_argument("--batch-size", type=int, default=192, help="pictures a step")
    options.add_argument("--lr", type=float, default=1.5e-3, help="peak learning rate")
    options.add_argument("--seed", type=int, default=0, help="of weights and pictures")
    options.add_argument(
        "--variants", type=int, default=2, help="pictures a group of the same things placed anew; 1: all unlike"
    )
    options.add_argument("--start", metavar="FOLDER", help="go on from the weights of an earlier pretraining")
    options.add_argument(
        "--output", default="outputs/small_clip", help="for weights, model.json, vocabulary and provenance"
    )
    arguments = options.parse_args()
    check(arguments)

    from ..backbone.pretraining import pretrain

    provenance = pretrain(arguments, job.commit())
    print(json.dumps(provenance, indent=2))
