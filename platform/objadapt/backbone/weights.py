"""Weights files: read without ever executing them, load them exactly, tell them apart by a hash."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import InputError

_PICKLED = (".pt", ".pth", ".bin")
_NESTS = ("state_dict", "model")  # where training scripts put the weights inside a checkpoint


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a state dict and, from safetensors, the file's metadata.

    Pickled files are read with torch's `weights_only`, so code in them is refused, not run. One level of
    nesting (`state_dict`, `model`) and the `module.` prefix of distributed training are taken off.

    Raises:
        InputError: missing, truncated, of an unknown kind, with code inside, or not a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"backbone.weights: {path} is not a file; give a .safetensors, .pt, .pth or .bin file")
    metadata: dict[str, str] = {}
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                state = {key: file.get_tensor(key) for key in file.keys()}
        except (SafetensorError, OSError) as error:
            raise InputError(f"backbone.weights: {path} is not readable as safetensors ({_first_line(error)})") from None
    elif path.suffix in _PICKLED:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # bytes of unknown origin make the unpickler raise nearly anything
            remedy = "save its state dict as .safetensors; files with code (TorchScript, whole models) are never executed"
            raise InputError(f"backbone.weights: {path} is not a plain state dict ({_first_line(error)}); {remedy}") from None
    else:
        raise InputError(f"backbone.weights: {path}: unknown suffix {path.suffix!r}; use .safetensors, .pt, .pth or .bin")
    return _plain(state, path), metadata


def _plain(state: object, path: Path) -> dict[str, Tensor]:
    for nest in _NESTS:
        if isinstance(state, dict) and isinstance(state.get(nest), dict):
            state = state[nest]
    if not isinstance(state, dict) or not state or not all(isinstance(key, str) for key in state):
        raise InputError(f"backbone.weights: {path} holds no state dict (names -> tensors)")
    state = {key: value for key, value in state.items() if isinstance(value, Tensor)}  # drops epoch counters and the like
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def load_exactly(model: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Give `model` (which may be on the meta device) the tensors of `state` as float32.

    Raises:
        InputError: missing or unexpected keys, other shapes, values that are not finite; names `source` and up to 5 keys.
    """
    expected = model.state_dict()
    shapes = {key: (list(state[key].shape), list(expected[key].shape)) for key in expected.keys() & state.keys()}
    problems = [
        ("missing", expected.keys() - state.keys()),
        ("unexpected", state.keys() - expected.keys()),
        ("of wrong shape", [f"{key} {given} for {own}" for key, (given, own) in shapes.items() if given != own]),
        ("not finite", [key for key, value in state.items() if not torch.isfinite(value).all()]),
    ]
    found = [f"{_some(keys)} {what}" for what, keys in problems if keys]
    if found:
        raise InputError(f"backbone.weights: {source} does not fit the model ({'; '.join(found)}); give this model's weights")
    model.load_state_dict({key: value.detach().float() for key, value in state.items()}, assign=True)


def hash_tensors(state: dict[str, Tensor]) -> str:
    """12 hex digits of names, shapes and float32 bytes, in the order of the names."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().float().cpu().contiguous()
        digest.update(f"{key}{list(value.shape)}".encode())
        digest.update(value.numpy())
    return digest.hexdigest()[:12]


def _some(keys: Iterable[str]) -> str:
    keys = sorted(keys)
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
