"""Object masks of whole videos from a checkpoint's slots: indexed PNGs that jobs/score_davis.py scores,
and any other video's.

    python jobs/segment.py --checkpoint RUN --davis path/of/DAVIS --out outputs/masks
    python jobs/segment.py --checkpoint RUN --video clips/ --out outputs/masks --stride 5
    python jobs/segment.py --checkpoint RUN --davis DAVIS --out outputs/kmeans --baseline kmeans

The same command goes on where it was stopped. A checkpoint made elsewhere gets its backbone by backbone.weights=FILE.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .. import job
from ..config import Experiment
from ..config_file import override, validate
from ..data.davis import davis_sequences
from ..data.frame_names import looks_like_frames
from ..data.video_files import list_videos
from ..errors import InputError, printable
from ..inputs import check_model, check_output
from ..masks.video import Video
from ..runs.names import checkpoint_given
from ..training.state import State, check_weights, read_state

if TYPE_CHECKING:
    from ..masks.make_masks import Baseline
    from ..methods.method import Grouping

OFFICIAL_IDS = 20  # the official protocol takes no more


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = job.parser(__doc__)
    job.add_checkpoint(parser)
    videos = parser.add_mutually_exclusive_group(required=True)
    videos.add_argument("--davis", metavar="FOLDER", help="a folder in DAVIS layout")
    videos.add_argument("--video", metavar="PATH", help="a video, or a folder of videos")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the masks go, a folder for each video")
    parser.add_argument("--sequences", metavar="FILE", help="names of sequences, one a line; default: its val.txt")
    parser.add_argument(
        "--resolution", type=int, metavar="PIXELS", help="short side for the backbone; default: as trained"
    )
    parser.add_argument("--stride", type=int, default=1, help="segment every n-th frame; only 1 can be scored")
    parser.add_argument("--flip", action="store_true", help="average with the mirrored frame")
    parser.add_argument("--crf", action="store_true", help="refine masks by a dense CRF on each frame's colours; slow")
    parser.add_argument(
        "--drop-background", type=int, default=0, metavar="N", help="N slots that cover most border become 0"
    )
    parser.add_argument("--soft", action="store_true", help="soft masks, too: NNNNN.npz with `masks` float16 [K, H, W]")
    parser.add_argument("--pictures", action="store_true", help="a strip, attention and a video, in OUT/pictures")
    parser.add_argument(
        "--baseline", choices=("kmeans", "grid"), help="k-means on patches or a grid, in place of slots"
    )
    parser.add_argument("--slots", type=int, metavar="K", help="masks of the baseline; default: as the checkpoint has")
    job.add_json_option(parser, "the summary")
    job.add_overrides(parser, "config values, e.g. seed=1 for k-means")
    return parser


def check(arguments: argparse.Namespace) -> None:
    """Options that make no sense, alone or together."""
    job.take_checkpoint(arguments, arguments.overrides)
    job.check_overrides(arguments.overrides)
    if arguments.stride < 1:
        raise InputError(f"--stride: {arguments.stride} is below 1; use 1 for every frame")
    if arguments.slots is not None and not arguments.baseline:
        raise InputError("--slots: a checkpoint has the slots that it was trained with; use it with --baseline")
    if arguments.baseline and arguments.flip:
        raise InputError("--flip: averages the masks of learned slots; leave it out with --baseline")
    if arguments.sequences and not arguments.davis:
        raise InputError("--sequences: names sequences of a DAVIS folder; use it with --davis")
    for name in ("davis", "video", "out", "sequences"):
        job.refuse_relative(f"--{name}", getattr(arguments, name) or "")


def listed(arguments: argparse.Namespace) -> tuple[list[Video], str]:
    """The videos asked for, and the absolute path of where they are from:
    Ray's workers may have another working directory.
    """
    if arguments.davis:
        root, videos = Path(os.path.abspath(arguments.davis)), []
        for sequence in davis_sequences(root, arguments.sequences):
            if not sequence.frames:
                raise InputError(
                    f"--davis: {sequence.name} has masks but no frames in {root}; list others with --sequences"
                )
            videos.append(Video(sequence.name, pictures=tuple(map(str, sequence.frames))))
        return videos, str(root)
    root = Path(os.path.abspath(arguments.video))  # a link keeps its own name
    if root.is_file():
        return [Video(root.stem, file=str(root))], str(root)
    if root.is_dir() and looks_like_frames(os.listdir(root)):
        return [Video(root.name, file=str(root))], str(root)
    files = [Path(path) for path in list_videos(str(root))] if root.is_dir() else []
    if not files:
        wrong = "holds no video" if root.is_dir() else "does not exist"
        raise InputError(f"--video: {root} {wrong}; give a video or a folder of videos")
    videos = {}
    for file in files:
        place = file.relative_to(root)
        name = str(place if file.is_dir() else place.with_suffix(""))
        if name in videos:
            raise InputError(f"--video: {file} and {videos[name].file} would share a folder of masks; rename one")
        videos[name] = Video(name, file=str(file))
    return list(videos.values()), str(root)


def trained(folder: str, state: State, config: Experiment, learned: bool) -> tuple[int, "Grouping | None"]:
    """The resolution that was trained at, and what groups patches in the method, with its weights where `learned`."""
    from ..backbone import build_backbone
    from ..methods.build import build_method
    from ..training import checkpoint

    encoder = build_backbone(config.backbone)
    if encoder.weights_hash != state.backbone_hash:
        raise InputError(
            f"checkpoint {folder}: was trained on other backbone weights or normalisation; give its file as"
            " backbone.weights=FILE"
        )
    resolution = config.transform.size or encoder.image_size
    method = build_method(config, {name: len(names) for name, names in state.classes.items()}, state.joint_width)
    if learned:
        checkpoint.load(folder, method)
        if method.grouping is None:
            remedy = "use one with at least 2, or --baseline with --slots"
            raise InputError(f"checkpoint {folder}: has no slots (method.name={config.method.name}); {remedy}")
    return resolution, method.grouping


def baseline(arguments: argparse.Namespace, config: Experiment, grouping: "Grouping | None") -> "Baseline":
    """What --baseline and --slots ask for."""
    from ..masks.make_masks import Baseline

    if grouping is None and arguments.slots is None:
        raise InputError("--slots: the checkpoint has no slots to match; say how many masks the baseline is to make")
    slots = grouping.num_slots if arguments.slots is None else arguments.slots
    if slots < 1:
        raise InputError(f"--slots: {slots} is below 1")
    return Baseline(arguments.baseline, slots, config.seed)


def main():
    arguments = options().parse_intermixed_args()
    check(arguments)
    checkpoint = str(checkpoint_given(arguments.checkpoint, arguments.overrides))
    state = read_state(checkpoint)
    config = validate(override(state.config, arguments.overrides), source=f"checkpoint {checkpoint}")
    check_model(config)
    check_output(arguments.out, "--out")
    videos, source = listed(arguments)
    check_weights(checkpoint)

    with job.stage("loading torch"):
        from ..masks.make_masks import Extras, Masks, segment_sequences
        from ..pipeline.automatic import place_encoders
        from ..pipeline.placement import check_placement, connected
        from ..pipeline.placement_text import encoding_text
        from ..pipeline.precision import precise
        from ..training.progress import RemoteProgress

    learned = not arguments.baseline
    with job.stage("loading the model"):
        resolution, grouping = trained(checkpoint, state, config, learned)
    grouping = grouping if learned else baseline(arguments, config, grouping)
    resolution = resolution if arguments.resolution is None else arguments.resolution
    masks = Masks(resolution, arguments.stride, arguments.flip, arguments.drop_background, arguments.crf)
    extras = Extras(arguments.soft, arguments.pictures)
    job.join_cluster()
    placed = place_encoders(config.stream)
    if not connected():  # a local Ray has what this machine has
        check_placement(placed, workers=0, encoders=placed.number_of_encoders)
    job.start_ray()
    backbone = precise(config.backbone, placed)
    print(encoding_text(config.stream, placed, backbone.precision))
    with RemoteProgress() as show:
        found = segment_sequences(
            videos, source, grouping, backbone, state.backbone_hash, masks, arguments.out, placed, extras, show
        )
    for one in found["quarantined"]:
        print(printable(f"{one['name']}: {one['stage']}: {one['reason']}"))
    frames = sum(one["frames"] for one in found["videos"].values())
    done, there, broken = (len(found[name]) for name in ("videos", "skipped", "quarantined"))
    print(f"{frames} frames of {done} videos ({there} were there), {broken} quarantined")
    print(f"masks    {Path(arguments.out).absolute()}: ids 1 .. {grouping.num_slots}")
    if arguments.davis and arguments.stride > 1:
        print(f"note     every {arguments.stride}th frame only: DAVIS scores need --stride 1")
    if grouping.num_slots > OFFICIAL_IDS:
        print(f"note     the official protocol refuses more than {OFFICIAL_IDS} ids")
    job.write_json(arguments.json, {"checkpoint": checkpoint, "out": arguments.out, **found})
