"""Pictures of trained concepts: the frames and patches of given videos that each concept fires on.

    python -m objadapt_relatives.concepts.pictures outputs/runs/RUN VIDEO.mp4 ... --output outputs/concepts

One PNG a concept, static-00.png to dynamic-49.png: a row of the videos that it is most active in, at the frame where it
fires most; what it does not fire on is dark. `PYTHONPATH=platform` in a checkout.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from objadapt import job
from objadapt.errors import InputError, naming
from objadapt.runs.names import checkpoint_given

from ..output_folder import make_new_folder

DARK = 0.15  # of the light of a patch that a concept does not fire on


def main():
    options = job.parser(__doc__)
    options.add_argument("checkpoint", help="a run's name, its folder, or a checkpoint's folder")
    options.add_argument("videos", nargs="+", metavar="VIDEO", help="video files")
    options.add_argument("--output", required=True, metavar="DIR", help="folder for the pictures")
    options.add_argument("--columns", type=int, default=4, metavar="N", help="videos of a picture")
    arguments = options.parse_args()
    if arguments.columns < 1:
        raise InputError(f"--columns: {arguments.columns}; give at least 1")
    if missing := [video for video in arguments.videos if not Path(video).is_file()]:
        raise InputError(f"video: {missing[0]}: no such file")
    checkpoint = checkpoint_given(arguments.checkpoint, [])
    make_new_folder("--output", Path(arguments.output))
    written = draw(checkpoint, arguments.videos, Path(arguments.output), arguments.columns)
    print(f"{written} pictures in {arguments.output}")


def draw(checkpoint: Path, videos: list[str], folder: Path, columns: int) -> int:
    """Write the pictures into a folder that is there; -> how many.

    Raises:
        InputError: another method, a finetuned run, or a video that cannot be decoded.
    """
    from objadapt.video_model import load

    from .method import Concepts

    model = load(checkpoint)
    if not isinstance(model.method, Concepts) or model.method.stage != "pretrain":
        raise InputError(f"checkpoint: {checkpoint} is no pretraining by objadapt_relatives.concepts")
    frames, activities, places = zip(*(_seen(model, video) for video in videos), strict=True)
    number, side = model.method.settings.concepts, frames[0].shape[1] // model.encoder.patch_size
    with naming(folder):
        for concept in range(2 * number):
            order = np.argsort([-activity[concept] for activity in activities], kind="stable")[:columns]
            row = [lit(frames[video], places[video][concept], side) for video in order]
            kind, place = ("static", concept) if concept < number else ("dynamic", concept - number)
            Image.fromarray(np.concatenate(row, axis=1)).save(folder / f"{kind}-{place:02d}.png")
    return 2 * number


def lit(frames: np.ndarray, where: np.ndarray, side: int) -> np.ndarray:
    """The frame where a concept fires most, uint8 [S, S, 3], as light as it fires.

    Args:
        frames: uint8 [T, S, S, 3].
        where: float [T, n], n a square number: cells of the encoder's map, cell i about patch 2 i of a row.
        side: patches of a row of a frame.
    """
    moment = int(where.sum(axis=1).argmax())
    cells, size = round(where.shape[1] ** 0.5), frames.shape[1]
    light = (where[moment] / where[moment].max()).reshape(cells, cells)
    at = ((np.arange(size) + 0.5) * side / size - 0.5) / 2  # each pixel's place among the cells
    for _ in range(2):  # columns, then rows
        light = np.stack([np.interp(at, np.arange(cells), line) for line in light.T])
    smooth = light.clip(0, 1)
    return np.rint(frames[moment] * (DARK + (1 - DARK) * smooth[..., None])).astype(np.uint8)


def _seen(model, video: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames uint8 [T, S, S, 3] evenly over a video, how active concepts are [2 C], and where they fire [2 C, T, n]."""
    import torch

    from objadapt.backbone.features import encode_frames
    from objadapt.data.probe import DecodeError
    from objadapt.data.transforms import test_transform
    from objadapt.masks.video import Video
    from objadapt.masks.whole_videos import Frames

    try:
        whole = Frames(Video(Path(video).stem, file=video))
        count = model.config.sampling.frames
        wanted = [int((place + 0.5) * len(whole) / count) for place in range(count)]
        crops = test_transform(whole.read(wanted), model.config.transform.size or model.encoder.image_size)
    except DecodeError as error:
        raise InputError(f"video: {video} cannot be decoded ({error})") from None
    patches, _ = encode_frames(model.encoder, torch.from_numpy(crops)[None])
    activity, where = model.method.fires(patches)
    return crops, activity[0].numpy(), where[0].numpy()


if __name__ == "__main__":
    job.run(main)
