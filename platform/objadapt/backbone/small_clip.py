"""The small CLIP that ships with the project: a stand-in for CLIP ViT-B/16 where nothing can be downloaded.

`small_clip/model.json` is an open_clip model config, `small_clip/weights.safetensors` the float16 state dict of
the whole CLIP; `jobs/pretrain_backbone.py` makes both.
"""

import json
from pathlib import Path

import open_clip
import torch

from ..errors import InputError
from .open_clip_vit import OpenClipEncoder, encoder_of, image_tower
from .weights import load_exactly, read_weights

FOLDER = Path(__file__).parent / "small_clip"
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD


def build_small_clip_model(config: dict) -> open_clip.CLIP:
    """A trainable CLIP with random weights, of an open_clip model config (`embed_dim`, `vision_cfg`, ...)."""
    return open_clip.CLIP(**config)


def small_clip_encoder(precision: str = "float32", folder: Path = FOLDER) -> OpenClipEncoder:
    """The image tower of the small CLIP in `folder`, frozen.

    Raises:
        InputError: the files are missing or unreadable, or do not fit each other.
    """
    model_file, weights_file = folder / "model.json", folder / "weights.safetensors"
    for file in (model_file, weights_file):
        if not file.is_file():
            remedy = (
                f"restore it from the repository, or make it with: python jobs/pretrain_backbone.py --output {folder}"
            )
            raise InputError(f"backbone.library: small_clip has no {file}; {remedy}")
    with torch.device("meta"):
        visual = image_tower(json.loads(model_file.read_text()))
    load_exactly(visual, read_weights(weights_file)[0], str(weights_file))
    return encoder_of(visual, name="small_clip", mean=MEAN, std=STD, precision=precision)
