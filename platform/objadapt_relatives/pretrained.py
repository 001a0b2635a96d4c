"""Weights of a finished run for the beginning of another."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from objadapt.errors import InputError


def load_part(folder: str, name: str, part: nn.Module) -> None:
    """Fill a part of a method with that of a checkpoint (`outputs/runs/RUN/last`).

    Args:
        name: of the part in the method, such as "encoder".

    Raises:
        InputError: no checkpoint, or one whose part has other names or shapes.
    """
    where = f"method.settings.{name}: {folder}"
    try:
        weights = load_file(Path(folder) / "adapter.safetensors")
    except (OSError, SafetensorError):
        raise InputError(f"{where} is no checkpoint that can be read; give the folder .../last of a run") from None
    prefix = f"{name}."
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    try:
        part.load_state_dict(own)
    except RuntimeError:
        raise InputError(
            f"{where} has no {name} of this shape; give its backbone, method.settings.width and layers"
        ) from None
