"""First-frame masks carried through the sequences of a DAVIS folder by a method's features, and by plain frozen tokens.

    python jobs/propagate.py --checkpoint RUN --davis path/of/DAVIS --out outputs/carried

Masks are written as OUT/NAME/<sequence>/NNNNN.png for NAME = the method and `plain`, the baseline: the frozen tokens
that the method reads. Both are scored by the official semi-supervised protocol. A method without features of its own
has the baseline alone; `smtc` has some.
"""

import argparse
from pathlib import Path

from .. import job
from ..config_file import override, validate
from ..data.davis import ANNOTATIONS, davis_sequences, notes_on_objects, unpaired
from ..errors import InputError, printable
from ..inputs import check_model, check_output
from ..runs.names import checkpoint_given
from ..training.state import check_weights, read_state

TOKENS = "tokens"


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = job.parser(__doc__)
    job.add_checkpoint(parser)
    parser.add_argument("--davis", required=True, metavar="FOLDER", help="a folder in DAVIS layout")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="a new folder, for masks and tokens")
    parser.add_argument("--sequences", metavar="FILE", help="names of sequences, one a line; default: its val.txt")
    parser.add_argument(
        "--resolution", type=int, metavar="PIXELS", help="short side for the backbone; default: as trained"
    )
    job.add_json_option(parser, "the scores")
    job.add_overrides(parser, "config values, e.g. backbone.weights=FILE")
    return parser


def main():
    arguments = options().parse_intermixed_args()
    job.take_checkpoint(arguments, arguments.overrides)
    job.check_overrides(arguments.overrides)
    for name in ("davis", "out", "sequences"):
        job.refuse_relative(f"--{name}", getattr(arguments, name) or "")
    checkpoint = str(checkpoint_given(arguments.checkpoint, arguments.overrides))
    state = read_state(checkpoint)
    config = validate(override(state.config, arguments.overrides), source=f"checkpoint {checkpoint}")
    check_model(config)
    check_output(arguments.out, "--out")
    out = Path(arguments.out).absolute()
    if out.exists() and any(out.iterdir()):
        raise InputError(f"--out: {out} is not empty; give a new folder")
    # the semi-supervised task has annotations of its own, where a copy has both
    sequences = davis_sequences(Path(arguments.davis).resolve(), arguments.sequences, ANNOTATIONS[::-1])
    for one in sequences:
        few = f"has {len(one.frames)} frames" if len(one.frames) < 3 else None
        if wrong := unpaired(one.frames, one.annotations) or few:
            raise InputError(f"--davis: {one.name} {wrong}; give both for each of at least 3 frames")
    notes = notes_on_objects(sequences)
    check_weights(checkpoint)

    with job.stage("loading torch"):
        from ..masks.sequence_features import encode_sequences
        from ..methods.video_grouping import VideoGrouping
        from ..pipeline.automatic import place_encoders
        from ..pipeline.precision import precise
        from ..runs.carried_masks import PLAIN, PROTOCOL, carry_masks
        from ..training.progress import RemoteProgress
        from .segment import trained

    with job.stage("loading the model"):
        resolution, grouping = trained(checkpoint, state, config, learned=True)
    own = isinstance(grouping, VideoGrouping) and type(grouping).features is not VideoGrouping.features
    job.join_cluster()
    placed = place_encoders(config.stream)
    job.start_ray()
    backbone, found = precise(config.backbone, placed), {}
    with RemoteProgress() as show:
        tokens = out / TOKENS
        encode_sequences(sequences, backbone, arguments.resolution or resolution, tokens, placed, show)
        for name, features in {PLAIN: None, **({config.method.name: grouping} if own else {})}.items():
            found[name] = carry_masks(sequences, tokens, features, out / name, show)
    print(f"protocol {PROTOCOL}, {len(sequences)} sequences")
    for name, one in found.items():
        print(f"{name:<16} J&F {one['scores']['J&F-Mean']:.4f}  J {one['scores']['J-Mean']:.4f}", end="  ")
        print(f"F {one['scores']['F-Mean']:.4f}")
    if not own:
        notes.append(f"{config.method.name} has no features of its own: the frozen tokens alone were compared")
    for note in notes:
        print(f"note             {printable(note)}")
    print(f"masks            {out}")
    job.write_json(arguments.json, {"protocol": PROTOCOL, "checkpoint": checkpoint, **found})
