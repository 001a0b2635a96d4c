"""Whether a config's backbone has weights to be had, told without torch: which library takes which, and the file."""

from pathlib import Path

from .config import Backbone
from .errors import InputError

PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".tar")


def check_weights(settings: Backbone) -> None:
    """InputError where library, `pretrained` and `weights` do not go together, or the file is none of weights.

    What is in the file, and whether the library has a model of that name, is found out when it is built.
    """
    given = settings.pretrained is not None, settings.weights is not None
    if settings.library == "small_clip" and any(given):
        raise InputError(
            "backbone: small_clip has its own weights; say backbone.pretrained=null backbone.weights=null, or change"
            " library"
        )
    if settings.library == "timm" and given[0] == given[1]:
        raise InputError(
            f"backbone: {settings.name} needs pretrained=default or weights (a local file), one of the two"
        )
    if settings.library == "timm" and settings.pretrained not in (None, "default"):
        remedy = f"use 'default', and put a tag in the name: {settings.name}.{settings.pretrained}"
        raise InputError(f"backbone.pretrained: {settings.pretrained!r} is not known to timm here; {remedy}")
    if settings.library == "open_clip" and not any(given):
        raise InputError(
            f"backbone: {settings.name} needs backbone.pretrained=TAG, such as openai, which is downloaded, or"
            " backbone.weights=FILE, or both; backbone.library=small_clip has its own, for a look at how it runs"
        )
    if settings.weights is not None:
        check_file(settings.weights)


def check_file(path: str | Path) -> None:
    """InputError for a path that is no file, or whose suffix is none of weights."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"backbone.weights: {path} is not a file; give a .safetensors, .pt, .pth or .bin file")
    if path.suffix not in (".safetensors", *PICKLED):
        raise InputError(
            f"backbone.weights: {path}: unknown suffix {path.suffix!r}; use .safetensors, .pt, .pth or .bin"
        )
