"""A checkpoint: a folder with the adapter's weights (safetensors), the optimiser's state and where the run stood.

    adapter.safetensors   weights of everything that learns; their moving average where `training.ema` is on
    learning.safetensors  with `training.ema`, in last/: the weights themselves, from which the training goes on
    optimiser.pt          the optimiser's moments (tensors only; read with weights_only)
    state.json            format, epoch, step, config, classes, backbone, metrics: enough to rebuild the model

A folder is complete or absent: it is written beside its place and renamed, the old one moved away just before.
"""

import io
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise

from ..errors import InputError, naming
from ..methods.method import Method
from ..run_folder import WEIGHTS
from ..stored_format import marks
from .average import Average
from .exported import WEIGHTS as EXPORTED
from .exported import is_exported
from .state import State, read_state

LEARNING = "learning.safetensors"


def save(
    folder: Path,
    adapter: Method,
    optimiser: torch.optim.Optimizer | None,
    state: State,
    average: Average | None = None,
) -> None:
    """Write a checkpoint folder; an existing one of that name is replaced as a whole.

    Args:
        optimiser: its state is kept, so that the training can go on; None: the weights are only looked at.
        average: of the weights, which is kept as the adapter's.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    contents: dict[str, bytes | memoryview] = {
        WEIGHTS: _serialised(average.weights if average else adapter.learned_state()),
        "state.json": (json.dumps(marks() | asdict(state), indent=1) + "\n").encode(),
    }
    if optimiser is not None:
        buffer = io.BytesIO()
        torch.save(optimiser.state_dict(), buffer)
        contents["optimiser.pt"] = buffer.getbuffer()
        if average is not None:
            contents[LEARNING] = _serialised(adapter.learned_state())
    for name, content in contents.items():  # written by ourselves, since both libraries hide that a disk is full
        with naming(part / name):
            (part / name).write_bytes(content)
    old = folder.with_name(folder.name + ".old")
    if folder.exists():  # else a crash left `old` as the only copy: it stays until the new one is in place
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _serialised(weights: dict[str, torch.Tensor]) -> bytes:
    return serialise({name: value.detach().cpu().contiguous() for name, value in weights.items()})


def newest(folder: Path) -> Path:
    """`folder`, or the one it was to replace where a crash fell between the two renames of `save`."""
    old = folder.with_name(folder.name + ".old")
    return old if old.exists() and not folder.exists() else folder


def load(
    folder: str | Path,
    adapter: Method,
    optimiser: torch.optim.Optimizer | None = None,
    average: Average | None = None,
) -> State:
    """Load weights in place, also of an exported model; to go on, with the optimiser's state and the average of the
    weights.

    Raises:
        InputError: files missing, damaged, or of another architecture.
    """
    state, folder = read_state(folder), Path(folder)
    try:
        weights = load_file(folder / (EXPORTED if is_exported(folder) else LEARNING if average else WEIGHTS))
        averaged: Any = None if average is None else load_file(folder / WEIGHTS)
        moments: Any = (
            None if optimiser is None else torch.load(folder / "optimiser.pt", map_location="cpu", weights_only=True)
        )
    except (OSError, SafetensorError, UnpicklingError, EOFError, RuntimeError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"checkpoint {folder}: unreadable weights ({reason}); use another checkpoint") from None
    own = adapter.learned_state()
    for name, value in [*weights.items(), *(averaged or {}).items()]:
        if name in own and own[name].is_floating_point() != value.is_floating_point():
            raise InputError(
                f"checkpoint {folder}: {name} is {value.dtype}, not numbers to learn; use another checkpoint"
            )
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError(f"checkpoint {folder}: weights that are not finite ({name}); use another checkpoint")
    try:
        if average is not None:
            adapter.load_learned_state(averaged)  # whose names and shapes are looked at there
            average.begin(adapter)
        adapter.load_learned_state(weights)
        if optimiser is not None:
            optimiser.load_state_dict(moments)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"checkpoint {folder}: does not fit this config ({' '.join(str(error).split())[:200]})"
        ) from None
    return state
