"""What a trained model says of a video: an answer for each sliding window, and their mean for the whole."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ..data.decoder_process import DecoderProcess
from ..data.frame_folder import CONTAINER
from ..data.probe import VideoInfo
from ..data.transforms import test_transform
from ..video_model import VideoModel
from .windows import Window, gathered, windows

BATCH = 8  # windows that the model takes at once


@dataclass(frozen=True, eq=False)
class Answer:
    """W windows of one video."""

    info: VideoInfo
    windows: list[Window]
    probabilities: dict[str, Tensor]  # head -> float32 [W, C], on the CPU

    @property
    def of_frames(self) -> bool:
        """Whether it is of a folder of frames, which does not say when they were taken."""
        return self.info.container == CONTAINER

    @property
    def whole(self) -> dict[str, Tensor]:
        """head -> float32 [C]: the mean over the windows."""
        return {head: each.mean(dim=0) for head, each in self.probabilities.items()}


def predict_video(  # noqa: PLR0913 -- a model, a video, and how it is looked at
    model: VideoModel,
    decoder: DecoderProcess,
    path: str,
    length_s: float | None = None,
    step_s: float | None = None,
    show: Callable[[int, int], None] | None = None,
) -> Answer:
    """Classify the windows of a local video, a batch at a time.

    Of the video the frames on their way, cropped for the model, are in memory: at most those that one window spans,
    and those of a batch.

    Args:
        length_s, step_s: as for `windows`; of a folder of frames they are frames.
        show: called with (windows done, windows in all).

    Raises:
        DecodeError: the video cannot be read exactly.
    """
    info = decoder.probe(path)
    chosen = windows(info, model.config.sampling, length_s, step_s)
    seen = np.unique(np.concatenate([window.index for window in chosen]))
    size = model.config.transform.size or model.encoder.image_size
    # a crop is left as it is where the model crops once more
    crops = (test_transform(frame[None], size)[0] for frame in decoder.frames(path, seen, info))
    clips, parts = gathered(crops, seen, chosen), []
    while batch := list(islice(clips, BATCH)):  # [T, S, S, 3] each
        logits = model(torch.from_numpy(np.stack(batch))).logits
        parts.append({head: scores.float().softmax(dim=1).cpu() for head, scores in logits.items()})
        if show:
            show(min(len(parts) * BATCH, len(chosen)), len(chosen))
    return Answer(info, chosen, {head: torch.cat([part[head] for part in parts]) for head in model.classes})
