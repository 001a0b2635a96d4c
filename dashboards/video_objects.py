"""A trained model looks at one video: objects of its frames, their state changes, and the prediction at each moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from dashboards.clip import Clip
from dashboards.video_reader import Reader, reading
from objadapt.backbone.features import encode_frames
from objadapt.config import Sampling
from objadapt.data.clip import short_reason
from objadapt.data.davis import read_ids, unpaired
from objadapt.data.probe import DecodeError
from objadapt.data.sampling import frame_indices, is_short
from objadapt.data.transforms import test_transform
from objadapt.errors import InputError
from objadapt.evaluation.object_masks import segment_video
from objadapt.evaluation.overlay import evenly_spaced
from objadapt.masks.whole_videos import PICTURES_FPS, Frames, Video
from objadapt.video_model import VideoModel

SHOWN, MOMENTS = 40, 6  # frames to show, and moments at which the model predicts
PIECE_BYTES, LONG_SIDE = 2**27, 640  # of frames decoded at a time; longest side, in pixels, of frames kept for display


@dataclass(frozen=True)
class Seen:
    """What the model makes of a clip; S frames shown, K slots, V state changes, P moments, C classes.

    Attributes:
        seconds: float [S], of the frames shown, from the start of the clip.
        frames: uint8 [S, h, w, 3].
        attention: float32 [S, K, h', w'], over the whole frames' patches; None where the model has no slots.
        truth: ids uint8 [S, h, w] of the annotated objects; None without annotations.
        change_seconds: float [V], half-way between the two frames of a change.
        change_norms: [V, K], L2; the mean over changes of the same middle. None without slots or state changes.
        moments: float [P], seconds; the model predicts from the clip up to there, sampled as in testing.
        probabilities: head -> [P, C]; the last row is the prediction for the whole clip.
        classes: head -> C names.
    """

    seconds: np.ndarray
    frames: np.ndarray
    attention: np.ndarray | None
    truth: np.ndarray | None
    change_seconds: np.ndarray
    change_norms: np.ndarray | None
    moments: np.ndarray
    probabilities: dict[str, np.ndarray]
    classes: dict[str, list[str]]


def look(model: VideoModel, clip: Clip) -> Seen:
    """Run a model over a clip.

    Raises:
        InputError: the video cannot be read exactly, or not in time. It names stage and reason, as a quarantine row
            does.
    """
    try:
        with _source(clip) as source:
            return _look(model, clip, source)
    except DecodeError as error:
        raise InputError(
            f"{clip.name}: {error.stage}: {error.reason} (a training would quarantine this video)"
        ) from None
    except TimeoutError as error:
        raise InputError(f"{clip.name}: decode: {error}; python jobs/check_videos.py says more of it") from None


@torch.no_grad()
def _look(model: VideoModel, clip: Clip, source: "Reader | _Pictures") -> Seen:
    sampling: Sampling = model.config.sampling
    if model.method.inputs == "frames":
        raise InputError("this model takes frames, and this page shows models on features; ask it by `objadapt.load`")
    if is_short(len(source.times), sampling) and sampling.short_clips == "quarantine":
        raise DecodeError("sampling", short_reason(sampling))
    shown = evenly_spaced(len(source.times), SHOWN)
    size = model.config.transform.size or model.encoder.image_size
    kept: list[np.ndarray] = []
    grouping = model.method.grouping
    if grouping is None:
        kept = [_small(frame) for piece in _pieces(source, shown) for frame in piece]
        attention = None
    else:
        attention = segment_video(model.encoder, grouping, _keeping(_pieces(source, shown), kept), size).numpy()
    ends = np.unique(evenly_spaced(len(source.times), MOMENTS + 1)[1:] + 1) if len(source.times) > 1 else np.array([1])
    samples = [frame_indices(int(end), sampling, None) for end in ends]  # P times [T]
    places = np.unique(np.concatenate(samples))
    patches, cls = _tokens(model, source, places, size)
    norms, probabilities = None, {head: [] for head in model.classes}
    for sample in samples:
        at = np.searchsorted(places, sample)
        output = model.method({"patches": patches[at][None], "cls": cls[at][None]})
        for head, logits in output.logits.items():
            probabilities[head].append(logits[0].float().softmax(dim=0).cpu().numpy())
    changes, seconds = output.state_changes, np.empty(0)
    if changes is not None and output.attention is not None:
        norms = changes[0].float().norm(dim=-1).cpu().numpy()  # [V, K, d] -> [V, K]
        middles = source.times[samples[-1]][output.change_frames.numpy()].mean(axis=0)
        seconds = np.unique(middles)  # interval "all": several changes have one middle
        norms = np.stack([norms[middles == middle].mean(axis=0) for middle in seconds])
    truth = _truth(clip, shown, len(source.times), kept[0].shape[:2])
    return Seen(
        source.times[shown],
        np.stack(kept),
        attention,
        truth,
        seconds,
        norms,
        source.times[ends - 1],
        {head: np.stack(rows) for head, rows in probabilities.items() if rows},
        model.classes,
    )


class _Pictures:
    """The pictures of a DAVIS sequence, as `Reader` has the frames of a video file."""

    def __init__(self, clip: Clip):
        self._frames = Frames(Video(clip.name, pictures=clip.pictures))
        self.times = np.arange(len(self._frames)) / PICTURES_FPS
        self.height, self.width, self.read = self._frames.height, self._frames.width, self._frames.read


@contextmanager
def _source(clip: Clip) -> Iterator[Reader | _Pictures]:
    if clip.file is None:
        yield _Pictures(clip)
    else:
        with reading(clip.file, clip.start_s, clip.end_s) as reader:
            yield reader


def _pieces(source: Reader | _Pictures, places: np.ndarray) -> Iterator[np.ndarray]:
    """Frames uint8 [n, H, W, 3], a bounded number at a time."""
    most = max(1, PIECE_BYTES // (3 * source.height * source.width))
    return (source.read(part) for part in np.split(places, range(most, len(places), most)))


def _truth(clip: Clip, places: np.ndarray, frames: int, size: tuple[int, int]) -> np.ndarray | None:
    """Ids uint8 [S, h, w] of the annotated objects at `places` of a clip of `frames` frames."""
    if len(clip.annotations) != frames or unpaired(clip.pictures, clip.annotations):
        return None
    ids = [Image.fromarray(read_ids(clip.annotations[place])) for place in places]
    return np.stack([np.asarray(image.resize(size[::-1], Image.Resampling.NEAREST)) for image in ids])


def _tokens(
    model: VideoModel, source: Reader | _Pictures, places: np.ndarray, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches [n, N, J] and cls [n, J] of the crops that the model was trained on."""
    parts = [
        encode_frames(model.encoder, torch.from_numpy(test_transform(piece, size))[None])
        for piece in _pieces(source, places)
    ]
    device = next(model.method.parameters()).device
    return tuple(torch.cat([part[kind][0] for part in parts]).to(device) for kind in (0, 1))


def _keeping(pieces: Iterator[np.ndarray], kept: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The pieces as they are; small copies of their frames go to `kept`."""
    for piece in pieces:
        kept += [_small(frame) for frame in piece]
        yield piece


def _small(frame: np.ndarray) -> np.ndarray:
    """A frame, shrunk to `LONG_SIDE` where it is larger."""
    share = min(1.0, LONG_SIDE / max(frame.shape[:2]))
    height, width = (max(1, round(side * share)) for side in frame.shape[:2])
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)) if share < 1 else frame
