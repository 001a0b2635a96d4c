"""Backbone and trained method as one module: frames in, classes and objects out. Needs torch alone, no Ray."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .backbone import build_backbone
from .backbone.features import encode_frames
from .config import Experiment
from .config_file import override, validate
from .data.transforms import test_transform
from .errors import InputError
from .methods.build import build_method
from .methods.method import Output
from .training import checkpoint


class VideoModel(nn.Module):
    """Frozen encoder + trained method.

    Attributes:
        config: the experiment it was trained with.
        classes: head -> class names; the single head of most data sets is "label".
    """

    def __init__(self, config: Experiment, classes: dict[str, list[str]]):
        super().__init__()
        self.config, self.classes = config, classes
        self.encoder = build_backbone(config.backbone)
        heads = {name: len(names) for name, names in classes.items()}
        self.method = build_method(config, heads, self.encoder.joint_width)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Output:
        """Classify clips.

        Args:
            frames: uint8 [B, T, H, W, 3], RGB, T as trained (`config.sampling.frames`); any size: the short side is
                brought to the training crop and the centre is taken, as in testing.

        Returns:
            `methods.method.Output`: logits by head, and the slots' attention [B, T, K, N] over the patches of the crop.

        Raises:
            InputError: wrong shape, dtype or number of frames.
        """
        expected = self.config.sampling.frames
        if frames.ndim != 5 or frames.shape[-1] != 3 or frames.dtype != torch.uint8 or frames.shape[1] != expected:
            raise InputError(
                f"frames: must be uint8 [B, T = {expected}, H, W, 3], not {frames.dtype} {list(frames.shape)}"
            )
        size = self.config.transform.size or self.encoder.image_size
        clips = [test_transform(clip.cpu().numpy(), size) for clip in frames]
        crops = torch.from_numpy(np.stack(clips))  # [B, T, S, S, 3]
        device = next(self.method.parameters()).device
        if self.method.inputs == "frames":
            return self.method({"frames": crops.to(device)})
        patches, cls = encode_frames(self.encoder, crops)
        return self.method({"patches": patches.to(device), "cls": cls.to(device)})


def load(folder: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> VideoModel:
    """A trained model from a checkpoint folder (`outputs/runs/RUN/last`) or an exported one, in eval mode.

    Args:
        overrides: changes to its config, such as "backbone.weights=FILE" where the file has moved.

    Raises:
        InputError: not a checkpoint, or its backbone's weights cannot be had or have changed.
    """
    state = checkpoint.read_state(folder)
    config = validate(override(state.config, overrides), source=f"checkpoint {folder}")
    model = VideoModel(config, state.classes)
    if model.encoder.weights_hash != state.backbone_hash:
        raise InputError(
            f"checkpoint {folder}: was trained on other backbone weights or normalisation; give back backbone.weights"
        )
    checkpoint.load(folder, model.method)
    return model.eval()
