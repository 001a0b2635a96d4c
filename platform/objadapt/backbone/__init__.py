"""Frozen image encoders: open_clip and timm ViTs by name, and the small CLIP that ships with the project."""

import logging

from .. import config, torchvision_compat  # torchvision_compat before all that imports open_clip and timm
from ..weights_file import check_weights
from .encoder import Encoder
from .features_hash import features_hash
from .last_keys import LastKeys
from .open_clip_vit import open_clip_encoder
from .pruning import set_pruning
from .small_clip import small_clip_encoder
from .timm_vit import timm_encoder

# of a download that fails it warns ten times before we say so in a line
logging.getLogger("huggingface_hub").setLevel(logging.ERROR)

__all__ = ["Encoder", "build_backbone", "torchvision_compat"]


def build_backbone(settings: config.Backbone) -> Encoder:
    """The configured encoder with its pretrained weights, frozen, on the CPU.

    Raises:
        InputError: the config names no usable model or weights; one line with the remedy.
    """
    check_weights(settings)
    return set_pruning(_encoder(settings), settings.pruning)


def _encoder(settings: config.Backbone) -> Encoder:
    if settings.library == "small_clip":
        encoder = small_clip_encoder(settings.precision)
    else:
        encoder = {"open_clip": open_clip_encoder, "timm": timm_encoder}[settings.library](settings)
        encoder.weights_hash = features_hash(encoder, settings.library)
    return LastKeys(encoder) if settings.features == "keys" else encoder
