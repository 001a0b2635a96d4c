"""A trained model looks at one video: objects of its frames, how much each changes, and what it would answer at each moment."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from objadapt.config import Sampling
from objadapt.data.davis import read_ids
from objadapt.data.decode import decode_frames
from objadapt.data.probe import DecodeError, probe
from objadapt.data.sampling import frame_indices, is_short
from objadapt.data.transforms import test_transform
from objadapt.errors import InputError
from objadapt.evaluation.object_masks import segment_video
from objadapt.evaluation.overlay import evenly_spaced
from objadapt.model.features import encode_frames
from objadapt.model.interaction import frame_pairs
from objadapt.pipeline.whole_videos import PICTURES_FPS, Frames, Video
from objadapt.video_model import VideoModel

SHOWN, MOMENTS = 24, 6  # frames to look at, and moments at which the model is asked
PIECE_BYTES, LONG_SIDE = 2**27, 640  # of frames that are decoded at a time; pixels of what is kept for display


@dataclass(frozen=True)
class Clip:
    """A span [start, end) in seconds (nan: open) of a video file, or pictures of a DAVIS sequence with their masks."""

    name: str
    file: str | None = None
    start_s: float = math.nan
    end_s: float = math.nan
    pictures: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What the model makes of a clip; S frames shown, K slots, V state changes, P moments, C classes.

    Attributes:
        seconds: float [S], of the frames shown, from the start of the clip.
        frames: uint8 [S, h, w, 3].
        attention: float32 [S, K, h', w'], over the whole frames' patches; None where the model has no slots.
        truth: ids uint8 [S, h, w] of the annotated objects; None where nobody annotated them.
        change_seconds: float [V], half-way between the two frames of a change.
        change_norms: [V, K], L2; the mean over changes of the same middle. None without slots or state changes.
        moments: float [P], seconds; the model is asked about the clip up to there, sampled as in testing.
        probabilities: head -> [P, C]; the last row is the answer to the whole clip.
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
        InputError: the video cannot be read exactly; says at which stage and why, as its quarantine row would.
    """
    try:
        return _look(model, clip)
    except DecodeError as error:
        raise InputError(f"{clip.name}: {error.stage}: {error.reason} (a training would quarantine this video)") from None


@torch.no_grad()
def _look(model: VideoModel, clip: Clip) -> Seen:
    source = _Source(clip)
    sampling: Sampling = model.config.sampling
    if is_short(len(source.times), sampling) and sampling.short_clips == "quarantine":
        raise DecodeError(
            "sampling", f"{len(source.times)} frames are too few for {sampling.frames} by {sampling.mode} sampling"
        )
    shown = evenly_spaced(len(source.times), SHOWN)
    size = model.config.transform.size or model.encoder.image_size
    kept: list[np.ndarray] = []
    grouping = model.adapter.slot_attention
    if grouping is None:
        kept = [_small(frame) for piece in source.pieces(shown) for frame in piece]
        attention = None
    else:
        attention = segment_video(model.encoder, grouping, _keeping(source.pieces(shown), kept), size).numpy()
    ends = np.unique(evenly_spaced(len(source.times), MOMENTS + 1)[1:] + 1) if len(source.times) > 1 else np.array([1])
    samples = [frame_indices(int(end), sampling, None) for end in ends]  # P times [T]
    places = np.unique(np.concatenate(samples))
    patches, cls = _tokens(model, source, places, size)
    norms, probabilities = None, {head: [] for head in model.classes}
    for sample in samples:
        at = np.searchsorted(places, sample)
        output = model.adapter({"patches": patches[at][None], "cls": cls[at][None]})
        for head, logits in output.logits.items():
            probabilities[head].append(logits[0].float().softmax(dim=0).cpu().numpy())
    changes, seconds = output.state_changes, np.empty(0)
    if changes is not None and output.attention is not None:
        norms = changes[0].float().norm(dim=-1).cpu().numpy()  # [V, K, d] -> [V, K]
        middles = source.times[samples[-1]][frame_pairs(sampling.frames, model.config.interval).numpy()].mean(axis=0)
        seconds = np.unique(middles)  # interval "all": several changes have one middle
        norms = np.stack([norms[middles == middle].mean(axis=0) for middle in seconds])
    return Seen(
        source.times[shown], np.stack(kept), attention, source.truth(shown, kept[0].shape[:2]), seconds, norms,
        source.times[ends - 1], {head: np.stack(rows) for head, rows in probabilities.items()}, model.classes,
    )  # fmt: skip


class _Source:
    """The frames of a clip by their place in it; `times` float [n], seconds from its first frame."""

    def __init__(self, clip: Clip):
        self.clip = clip
        if clip.file is None:
            self._frames = Frames(Video(clip.name, pictures=clip.pictures))
            self.times = np.arange(len(self._frames)) / PICTURES_FPS
            self._bytes = 3 * self._frames.height * self._frames.width
            return
        self._info = probe(clip.file)
        start = -math.inf if math.isnan(clip.start_s) else clip.start_s
        end = math.inf if math.isnan(clip.end_s) else clip.end_s
        self._first, stop = np.searchsorted(self._info.pts_s, [start, end])
        if self._first >= stop:
            raise DecodeError("sampling", f"no frame between {start} s and {end} s")
        self.times = self._info.pts_s[self._first : stop] - self._info.pts_s[self._first]
        self._bytes = 3 * self._info.height * self._info.width

    def pieces(self, places: np.ndarray) -> Iterator[np.ndarray]:
        """Frames uint8 [n, H, W, 3], a bounded number at a time."""
        for part in np.split(places, range(0, len(places), max(1, PIECE_BYTES // self._bytes))[1:]):
            if self.clip.file is None:
                yield self._frames.read(part)
            else:
                yield decode_frames(self.clip.file, part + self._first, self._info)[0]

    def truth(self, places: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
        """Ids uint8 [S, h, w] of annotated frames."""
        if len(self.clip.annotations) != len(self.times):
            return None
        ids = [Image.fromarray(read_ids(self.clip.annotations[place])) for place in places]
        return np.stack([np.asarray(one.resize(size[::-1], Image.Resampling.NEAREST)) for one in ids])


def _tokens(model: VideoModel, source: _Source, places: np.ndarray, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches [n, N, J] and cls [n, J] of the crops that the model was trained on."""
    parts = [
        encode_frames(model.encoder, torch.from_numpy(test_transform(piece, size))[None]) for piece in source.pieces(places)
    ]
    device = next(model.adapter.parameters()).device
    return tuple(torch.cat([part[kind][0] for part in parts]).to(device) for kind in (0, 1))


def _keeping(pieces: Iterator[np.ndarray], kept: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The pieces as they are; small copies of their frames go to `kept`."""
    for piece in pieces:
        kept += [_small(frame) for frame in piece]
        yield piece


def _small(frame: np.ndarray) -> np.ndarray:
    """A frame no larger than what is shown."""
    share = min(1.0, LONG_SIDE / max(frame.shape[:2]))
    height, width = (max(1, round(side * share)) for side in frame.shape[:2])
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)) if share < 1 else frame
