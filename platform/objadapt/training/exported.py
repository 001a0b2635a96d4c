"""An exported model: a folder laid out as on the Hugging Face hub, which is read wherever a checkpoint is.

    model.safetensors   weights of everything that learned, as in a checkpoint
    config.json         format, backbone, method, classes, sampling, transform: enough to rebuild the model
    README.md           model card
    model.pt2           the whole with its backbone, by torch.export; only where it was asked for

Read without torch.
"""

from pathlib import Path

from ..errors import InputError
from ..stored_format import json_object

CONFIG, WEIGHTS, CARD, WHOLE, ONNX = "config.json", "model.safetensors", "README.md", "model.pt2", "model.onnx"
SECTIONS = ("method", "sampling", "transform", "seed")  # of the config, as they are
CLIP_SECONDS = "clip_seconds"  # median length of the training clips, or null


def is_exported(folder: str | Path) -> bool:
    """Whether a folder is laid out as an exported model and not as a checkpoint."""
    return (Path(folder) / CONFIG).is_file() and (Path(folder) / WEIGHTS).is_file()


def as_state(tree: dict) -> dict:
    """What `state.json` would hold, from what `config.json` holds.

    Raises:
        KeyError, TypeError, AttributeError: it is none of an exported model.
    """
    backbone = dict(tree["backbone"])
    classes = {head: [*names] for head, names in tree["classes"].items()}
    found = {"backbone_hash": backbone.pop("hash"), "classes": classes, "joint_width": tree["joint_width"]}
    backbone.pop("sha256")
    return found | {"config": {"backbone": backbone} | {name: tree[name] for name in SECTIONS}}


def exported_seconds(folder: str | Path) -> float | None:
    """Median length of the clips that an exported model was trained on; None where it is not known.

    Raises:
        InputError: the file says something else.
    """
    if not is_exported(folder):
        return None
    seconds = (json_object(Path(folder) / CONFIG) or {}).get(CLIP_SECONDS)
    if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds < float("inf")):
        raise InputError(f"{Path(folder) / CONFIG}: {CLIP_SECONDS} {seconds!r} is no length of time; export it again")
    return seconds
