"""Say what a trained checkpoint sees in videos: the best classes with their probabilities, for the whole and over time.

    python jobs/predict.py --checkpoint outputs/runs/mine video.mp4
    python jobs/predict.py --checkpoint mine clips/ --predictions answers.csv --predictions answers.json
    python jobs/predict.py --checkpoint outputs/demo/runs/full video.mp4 --window 2 --step 1 --overlay outputs/seen

Needs no data set and no Ray: the class names come from the run. A long video is looked at in sliding windows, as long
as a training clip was. The answer for the whole is the mean of their probabilities. A video that cannot be read is
named with the reason, and the others are predicted. A checkpoint made elsewhere gets its backbone by
backbone.weights=FILE.
"""

import argparse
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import job
from ..config import Experiment
from ..config_file import override, validate
from ..data.containers import is_video_name
from ..data.frame_names import looks_like_frames
from ..data.video_files import list_folder
from ..errors import InputError, printable
from ..inputs import check_model, check_output
from ..runs.names import checkpoint_given
from ..training.exported import exported_seconds
from ..training.state import check_weights, read_state

log = logging.getLogger(__name__)
OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_]+)*=.*", re.DOTALL)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = job.parser(__doc__)
    parser.add_argument(
        "videos",
        nargs="+",
        metavar="VIDEO",
        help="a video, or a folder: all videos in it and below; also key.sub=value, a change to the config",
    )
    job.add_checkpoint(parser)
    parser.add_argument(
        "--window",
        type=float,
        metavar="SECONDS",
        help="default: as long as a training clip; of a folder of frames: frames",
    )
    parser.add_argument(
        "--step",
        type=float,
        metavar="SECONDS",
        help="from window to window; default: half a window; of a folder of frames: frames",
    )
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        action=job.TablesToWrite,
        default=[],
        help="write all answers, those of every window too, as .csv or .json; may be given twice",
    )
    parser.add_argument(
        "--overlay", metavar="FOLDER", help="write there each video with its objects and the running answer, as .mp4"
    )
    job.point_to_keys(parser)
    return parser


def check(arguments: argparse.Namespace) -> list[str]:
    """Options that make no sense, and files that would be overwritten; -> the overrides among the videos."""
    for name in ("window", "step"):
        seconds = getattr(arguments, name)
        if seconds is not None and not 0 < seconds < float("inf"):
            raise InputError(f"--{name}: {seconds:g} is no length of time; give seconds above 0")
    overrides = [text for text in arguments.videos if OVERRIDE.fullmatch(text) and not os.path.exists(text)]
    arguments.videos = [text for text in arguments.videos if text not in overrides]
    job.take_checkpoint(arguments, arguments.videos, besides=1)
    if not arguments.videos:
        raise InputError("VIDEO: none is given; give a checkpoint and a video or a folder of videos")
    if arguments.overlay:
        check_output(arguments.overlay, "--overlay")
    for path in arguments.videos:
        job.refuse_relative("VIDEO", path)
    return overrides


def videos_of(given: list[str]) -> dict[str, str]:
    """Paths or URLs of all videos -> the name of each, below the folder that it was found in, without its suffix.

    Raises:
        InputError: there is no such path, or no video at it.
    """
    found: dict[str, str] = {}
    for path in given:
        frames = os.path.isdir(path) and looks_like_frames(os.listdir(path))
        if frames or os.path.isfile(path) or ("://" in path and is_video_name(path)):
            found.setdefault(path, Path(path).stem)
            continue
        if "://" not in path and not os.path.isdir(path):
            raise InputError(f"VIDEO: {path} does not exist; give a video or a folder of videos")
        listed = list_folder(path.rstrip("/") or path)
        if not listed.videos:
            raise InputError(f"VIDEO: no video file in {path} or below; give a folder that holds videos")
        if listed.left_out:
            log.info("%d other files in %s are not looked at", len(listed.left_out), path)
        for video in listed.videos:
            found.setdefault(video, os.path.splitext(video.removeprefix(f"{listed.folder}/"))[0])
    return found


def overlays_of(videos: dict[str, str], folder: Path) -> dict[str, Path]:
    """The file of each video's overlay.

    Raises:
        InputError: two would be the same, or one is there already.
    """
    files: dict[Path, str] = {}
    for path, name in videos.items():
        file = folder / f"{name}.mp4"
        if file in files:
            raise InputError(f"--overlay: {path} and {files[file]} would both be {file}; predict them apart")
        if file.exists():
            raise InputError(f"--overlay: {file} is there already; delete it, or give another folder")
        files[file] = path
    return {path: file for file, path in files.items()}


@contextmanager
def local(path: str) -> Iterator[str]:
    """The video, or a copy of it for the time of the block."""
    from ..data.local_copy import local_file

    with local_file(path) as here:
        yield here


def main():
    arguments = options().parse_intermixed_args()
    overrides = check(arguments)
    checkpoint = checkpoint_given(arguments.checkpoint, overrides)
    state = read_state(checkpoint)
    config = validate(override(state.config, overrides), source=f"checkpoint {checkpoint}")
    _check_classes(checkpoint, config, state.classes)
    check_model(config)
    videos = videos_of(arguments.videos)
    overlays = overlays_of(videos, Path(arguments.overlay)) if arguments.overlay else {}
    check_weights(checkpoint)

    with job.stage("loading torch"):
        import torch

        from ..data.decode_error import DecodeError
        from ..data.decoder_process import DecoderProcess
        from ..data.toy_scenes import is_toy
        from ..prediction.answer_video import write_answer_video
        from ..prediction.answers import answer_of, answer_text, unread, write_answers
        from ..prediction.predict import predict_video
        from ..prediction.windows import trained_seconds
        from ..training.display import Display
        from ..video_model import load

    length = arguments.window
    if length is None and config.sampling.mode == "uniform":
        length = exported_seconds(checkpoint) or trained_seconds(checkpoint.parent)
        if length is None:
            log.warning(
                "how long the training clips were is not known here: each video is one window; --window sets it"
            )
    model = load(checkpoint, overrides).to("cuda" if torch.cuda.is_available() else "cpu")
    if is_toy(model.classes):
        print("note: trained on toy data (Object Actions), so it names movements of rendered shapes, whatever it sees")
    answers, unwritten = [], []
    with Display() as show, DecoderProcess() as decoder:
        for path in videos:
            name = printable(os.path.basename(path))
            try:
                with local(path) as here:
                    told = _told(show, f"predict {name}", "windows")
                    window = arguments.window if os.path.isdir(here) else length  # frames have no seconds
                    answer = predict_video(model, decoder, here, window, arguments.step, told)
                    answers.append(answer_of(path, answer, model.classes))
                    if path in overlays:
                        overlays[path].parent.mkdir(parents=True, exist_ok=True)
                        told = _told(show, f"overlay {name}", "frames")
                        write_answer_video(overlays[path], model, decoder, here, answer, told)
            except (DecodeError, InputError) as error:
                if answers and answers[-1]["path"] == path:  # read, but not to be drawn
                    unwritten.append(f"{path}: --overlay: {error}")
                else:
                    answers.append(unread(path, str(error)))
            show.close()
            print(answer_text(answers[-1]), flush=True)
    print(*map(printable, unwritten), sep="\n", end="\n" * bool(unwritten))
    about = {"checkpoint": str(checkpoint), "window_s": length, "step_s": arguments.step}
    for file in arguments.predictions:
        write_answers(file, answers, model.classes, about)
    broken = [one for one in answers if one["problem"]]
    if len(broken) == len(answers):
        raise InputError(f"VIDEO: none could be read; the first, {broken[0]['path']}: {broken[0]['problem']}")
    if len(answers) > 1:
        print(f"{len(answers) - len(broken)} of {len(answers)} videos predicted, {len(broken)} could not be read")


def _check_classes(checkpoint: Path, config: Experiment, classes: dict[str, list[str]]) -> None:
    if not config.method.classifies:
        why = f"{config.method.name} gives no classes to predict; python jobs/segment.py shows its masks"
        raise InputError(f"checkpoint {checkpoint}: {why}")
    if not any(classes.values()):
        raise InputError(f"checkpoint {checkpoint}: was trained without labels, so it has no classes to tell apart")


def _told(show, what: str, note: str):
    return lambda done, total: show(what, done, total, note)
