"""A weights file of random numbers, for measurements of cost, which do not depend on what the weights are."""

from pathlib import Path

import open_clip
import timm
import torch
from safetensors.torch import save_file

from .. import config
from ..errors import InputError
from .open_clip_vit import image_tower


def write_random_weights(settings: config.Backbone, folder: Path) -> Path:
    """Write what `backbone.weights` takes for `settings.name`; the same numbers each time.

    Raises:
        InputError: the library has no model of this name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"random-{settings.name.replace('/', '-')}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if settings.library == "open_clip":
            model_config = open_clip.get_model_config(settings.name)
            if model_config is None:
                raise InputError(f"backbone.name: {settings.name!r} is no open_clip model; see open_clip.list_models()")
            model = image_tower(model_config)
        else:
            try:
                model = timm.create_model(settings.name, num_classes=0)
            except RuntimeError:
                raise InputError(
                    f"backbone.name: {settings.name!r} is no timm model; see timm.list_models('vit_*')"
                ) from None
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return path
