"""Writes an exported model (training/exported.py): what learned, what it needs of its backbone, and a model card."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from safetensors.torch import save as serialise

from ..backbone.small_clip import FOLDER as SMALL_CLIP
from ..config import Backbone
from ..errors import InputError, naming
from ..prediction.windows import trained_seconds
from ..stored_format import marks
from ..training.exported import CARD, CLIP_SECONDS, CONFIG, ONNX, SECTIONS, WEIGHTS, WHOLE, exported_seconds
from ..training.state import changed, read_state
from ..video_model import VideoModel, load
from .model_card import model_card
from .whole import write_onnx, write_whole_model


def export(checkpoint: Path, folder: Path, overrides: list[str], whole: bool = False, onnx: bool = False) -> list[Path]:
    """Export a checkpoint; -> the files that were written.

    The folder is complete or absent.

    Args:
        folder: not there yet, or empty.
        overrides: changes to the checkpoint's config, such as "backbone.weights=FILE".
        whole: also write backbone and method as one program of `torch.export`.
        onnx: also write it as ONNX.

    Raises:
        InputError: as `video_model.load`; the folder holds something; the whole cannot be exported, or says something
            else than the model itself.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--output: {folder} is there already and not empty; give a new folder")
    state, model = read_state(checkpoint), load(checkpoint, overrides)
    seconds = exported_seconds(checkpoint) or trained_seconds(checkpoint.parent)
    config = exported_config(model, state.joint_width, seconds)
    weights = {name: value.detach().cpu().contiguous() for name, value in model.method.learned_state().items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    part.chmod(folder.parent.stat().st_mode & 0o777)  # not for the user alone
    contents = {
        WEIGHTS: serialise(weights, metadata={"format": "pt"}),
        CONFIG: (json.dumps(config, indent=1) + "\n").encode(),
        CARD: model_card(checkpoint, state, config, changed(state, model.config)).encode(),
    }
    try:
        for name, content in contents.items():  # written by ourselves, since safetensors hides that a disk is full
            with naming(part / name):
                (part / name).write_bytes(content)
        if whole:
            write_whole_model(model, part / WHOLE)
        if onnx:
            write_onnx(model, part / ONNX)
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sorted(folder.iterdir())


def exported_config(model: VideoModel, joint_width: int, seconds: float | None) -> dict:
    """What `config.json` holds: what rebuilds the model beside its backbone's weights, and no place of this machine.

    Args:
        seconds: median length of the training clips, where it is known.
    """
    tree = model.config.model_dump(mode="json")
    file = weights_file(model.config.backbone)
    given = tree["backbone"]["weights"]
    backbone = tree["backbone"] | {
        "weights": Path(given).name if given else None,
        "sha256": sha256(file) if file else None,  # of the file; null: the library downloads it
        "hash": model.encoder.weights_hash,  # of the tensors, whatever file they are in
    }
    heads = {head: len(names) for head, names in model.classes.items()}
    sections = {name: tree[name] for name in SECTIONS}
    about = {"backbone": backbone, "heads": heads, "classes": model.classes, "joint_width": joint_width}
    return marks() | about | sections | {CLIP_SECONDS: seconds}


def weights_file(backbone: Backbone) -> Path | None:
    """The local file of the backbone's weights; None where its library downloads them."""
    if backbone.library == "small_clip":
        return SMALL_CLIP / "weights.safetensors"
    return Path(backbone.weights) if backbone.weights else None


def sha256(file: Path) -> str:
    """64 hex digits of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
