"""Ask a trained streaming memory about a whole video of any length: answers with the segments they were read from.

    python -m objadapt_relatives.streaming_memory.ask outputs/runs/RUN long.mp4 --every 0.5 --history outputs/long

The questions and the answers are those of the training: which class of each head. The video is decoded and encoded in
pieces; what is kept of a clip goes to the history's folder. A history that is there is asked again, not encoded anew.
`PYTHONPATH=platform` in a checkout.
"""

import math
from pathlib import Path

import numpy as np
import torch

from objadapt import job
from objadapt.data.probe import DecodeError
from objadapt.errors import InputError, naming
from objadapt.runs.names import checkpoint_given

BEST = 3  # answers that are shown
MIB = 2**20


def main():
    options = job.parser(__doc__)
    options.add_argument("checkpoint", help="a run's name, its folder, or a checkpoint's folder")
    options.add_argument("video", help="a video file")
    options.add_argument("--every", type=float, default=0.5, metavar="S", help="seconds between two frames")
    options.add_argument("--history", metavar="DIR", required=True, help="folder for what is kept of each clip")
    job.add_json_option(options, "answers and segments")
    arguments = options.parse_args()
    if not 0 < arguments.every < math.inf:
        raise InputError(f"--every: {arguments.every} must be a number of seconds above 0")
    job.refuse_relative("--history", arguments.history)
    if not Path(arguments.video).is_file():
        raise InputError(f"video: {arguments.video}: no such file")
    checkpoint = checkpoint_given(arguments.checkpoint, [])
    found = ask(checkpoint, arguments.video, arguments.every, Path(arguments.history))
    for answer in found["answers"]:
        best = ", ".join(f"{one['class']} {100 * one['share']:.1f} %" for one in answer["best"])
        print(f"{answer['question']}: {best}")
        for segment in answer["segments"]:
            print(f"    {segment['start_s']:.2f} to {segment['end_s']:.2f} s, cosine {segment['cosine']:.2f}")
    job.write_json(arguments.json, found)


def ask(checkpoint: Path, video: str, every: float, folder: Path) -> dict:
    """Answers to the question of each head.

    Raises:
        InputError: another method, a video that cannot be decoded or is shorter than `every`, or a history of something
            else.
    """
    from objadapt.video_model import load

    from .history import DONE, History
    from .method import StreamingMemory

    model = load(checkpoint)
    if not isinstance(model.method, StreamingMemory):
        raise InputError(f"checkpoint: {checkpoint} is not of objadapt_relatives.streaming_memory")
    if model.config.backbone.pruning:
        raise InputError(
            f"checkpoint: {checkpoint} has backbone.pruning, by which tokens depend on all frames of a clip; a long"
            " video is encoded in pieces, so give one without"
        )
    about = {
        "video": Path(video).name,
        "bytes": Path(video).stat().st_size,
        "content": _print_of_ends(Path(video)),
        "every": every,
        "weights": _print_of(model),
    }
    if not (folder / DONE).exists():
        _encode(model, video, every, folder, about)
    history = History(folder, about)
    answers = []
    for name, question in model.method.questions.items():
        vector, chosen, cosines = history.ask(model.method, question)
        with torch.no_grad():
            shares = torch.softmax(model.method.heads[name](vector), dim=0)
        best = [
            {"class": model.classes[name][i], "share": float(shares[i])}
            for i in shares.topk(min(BEST, len(shares))).indices
        ]
        segments = [
            {
                "clip": int(clip),
                "start_s": history.times[clip, 0],
                "end_s": history.times[clip, 1],
                "cosine": float(cosine),
            }
            for clip, cosine in zip(chosen, cosines, strict=True)
        ]
        answers.append({"question": name, "best": best, "segments": segments})
    return {"video": video, "clips": len(history.times), "answers": answers}


def _encode(model, video: str, every: float, folder: Path, about: dict) -> None:
    """Decode, encode and summarise piece by piece; the last clip's frames are completed with copies of its last one."""
    from objadapt.data.transforms import test_transform
    from objadapt.masks.video import Video
    from objadapt.masks.whole_videos import Frames

    from .history import Writer

    length, size = model.method.settings.clip_frames, model.config.transform.size or model.encoder.image_size
    try:
        frames = Frames(Video(Path(video).stem, file=video), every=every)
        if every > frames.lasts:
            raise InputError(f"--every: {every:g} s is longer than {video}, which has {frames.lasts:.2f} s; give less")
        writer, waiting, seen = Writer(model.method, folder), [], 0
        for piece in frames.pieces():
            waiting += list(test_transform(piece, size))
            whole_clips = len(waiting) // length * length
            seen = _add(model, writer, waiting[:whole_clips], seen, frames)
            waiting = waiting[whole_clips:]
        if waiting:
            waiting += [waiting[-1]] * (length - len(waiting))
            _add(model, writer, waiting, seen, frames)
    except DecodeError as error:
        raise InputError(f"video: {video} cannot be decoded ({error})") from None
    writer.close(about)


def _add(model, writer, frames: list[np.ndarray], seen: int, video) -> int:
    """Give whole clips of `Frames` to the writer; -> frames seen so far. A clip ends where the next begins."""
    from objadapt.backbone.features import encode_frames

    length = model.method.settings.clip_frames
    for start in range(0, len(frames), length):
        clip = torch.from_numpy(np.stack(frames[start : start + length]))[None]  # [1, F, S, S, 3]
        patches, _ = encode_frames(model.encoder, clip)
        begin, seen = float(video.seconds[seen]), seen + length
        writer.add(patches, (begin, float(video.seconds[seen]) if seen < len(video) else video.lasts))
    return seen


def _print_of_ends(video: Path) -> str:
    """Of the first and the last MiB of a file: its size and name may be another video's."""
    from hashlib import sha256

    with naming(video), video.open("rb") as file:
        digest = sha256(file.read(MIB))
        file.seek(max(0, video.stat().st_size - MIB))
        digest.update(file.read(MIB))
    return digest.hexdigest()[:12]


def _print_of(model) -> str:
    """Of all weights that make a history, so that one of another model is not asked."""
    from hashlib import sha256

    digest = sha256(model.encoder.weights_hash.encode())
    for name, value in sorted(model.method.learned_state().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    job.run(main)
