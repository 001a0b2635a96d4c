"""Weights files: read without executing them, searched for a model's weights, loaded exactly, told apart by a hash.

Training scripts save weights in a nest (`state_dict`, `model`, `teacher`), under a prefix (`module.`, `_orig_mod.`,
`backbone.`, `visual.`), or in several. This module knows none of these names: a model's weights are wherever all its
names stand under one prefix.
"""

import argparse
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import InputError, printable
from ..weights_file import check_file

log = logging.getLogger(__name__)
# parts that are taken last where a file holds the model more than once
_SECOND_CHOICE = re.compile(r"(?<![a-z])ema(?![a-z])|student|momentum|shadow|average", re.IGNORECASE)
_DEPTH = 4  # nests in nests


def read_weights(path: str | Path) -> tuple[dict, dict[str, str]]:
    """Read a file's tensors, by name or in nests, for `load_exactly`; -> also the metadata of safetensors.

    Pickled files are read with torch's `weights_only`, so code in them is refused, not run. The one class that is
    allowed is `argparse.Namespace`, which holds names and values alone: scripts save their settings in it.

    Raises:
        InputError: missing, truncated, of an unknown kind, with code inside, or without tensors.
    """
    path = Path(path)
    check_file(path)
    metadata: dict[str, str] = {}
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                state = {key: file.get_tensor(key) for key in file.keys()}
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"backbone.weights: {path} is not readable as safetensors ({_first_line(error)})"
            ) from None
    else:
        try:
            with torch.serialization.safe_globals([argparse.Namespace]):
                state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # bytes of unknown origin make the unpickler raise nearly anything
            raise InputError(
                f"backbone.weights: {path} is not a plain state dict ({_reason(error)}); {_REMEDY}"
            ) from None
    if not any(node for _, node in _nodes(state)):
        raise InputError(f"backbone.weights: {path} holds no state dict (names -> tensors); it holds {contents(state)}")
    return state, metadata


_REMEDY = (
    "where you trust the file, load it once with torch.load(FILE, weights_only=False) and save its state dict"
    " as .safetensors; files with code (TorchScript, whole models) are never executed here"
)


def load_exactly(model: nn.Module, state: Mapping, source: str, unused: tuple[str, ...] = ()) -> None:
    """Give `model` (which may be on the meta device) its tensors in `state` as float32.

    Where the file holds the model more than once, a part that is no moving average and no student is taken, with a
    warning.

    Args:
        state: as of `read_weights`.
        unused: prefixes of what may stand beside the model's own tensors, such as a classifier.

    Raises:
        InputError: missing or unexpected keys, other shapes, values that are not finite. It names `source`, up to 5
            keys of each kind, and what the file holds at its top.
    """
    expected = model.state_dict()
    part, others = _find(state, expected)
    tensors = {key: value for key, value in part.tensors.items() if not key.startswith(unused or ("\0",))}
    shapes = {key: (list(tensors[key].shape), list(expected[key].shape)) for key in expected.keys() & tensors.keys()}
    problems = [
        ("missing", expected.keys() - tensors.keys()),
        ("unexpected", tensors.keys() - expected.keys()),
        ("of wrong shape", [f"{key} {given} for {own}" for key, (given, own) in shapes.items() if given != own]),
        ("of no plain numbers", [key for key, value in tensors.items() if not _plain(value, expected.get(key))]),
        ("not finite", [key for key, value in tensors.items() if _plain(value) and not value.float().isfinite().all()]),
    ]
    wrong = [f"{_some(keys)} {what}" for what, keys in problems if keys]
    if wrong:
        reason = f"does not fit the model ({'; '.join(wrong)})"
        raise InputError(f"backbone.weights: {source} {reason}; give this model's weights; it holds {contents(state)}")
    if others:
        taken = f"{part.name} is taken, not {', '.join(others)}"
        _say(f"backbone.weights: {source} holds this model {len(others) + 1} times: {taken}")
    model.load_state_dict({key: value.detach().float() for key, value in tensors.items()}, assign=True)


def _plain(value: Tensor, own: Tensor | None = None) -> bool:
    """Not sparse, quantised, complex or without any values; no whole numbers where the model's `own` has none."""
    whole = own is not None and own.is_floating_point() and not value.is_floating_point()
    dense = value.layout == torch.strided and not value.is_quantized and not value.is_complex() and not value.is_meta
    return dense and not whole


@dataclass(frozen=True)
class _Part:
    """What stands in one nest under one prefix."""

    name: str  # the nest and the prefix
    tensors: dict[str, Tensor]  # without the prefix


def _find(state: Mapping, expected: Mapping) -> tuple[_Part, list[str]]:
    """The part of a file with all the expected names, else with most of them; -> also the names of other whole parts.

    Where no part has even half of the names, the nest with most tensors is taken as it stands.
    """
    nests = list(_nodes(state))
    parts: list[tuple[int, str, str, dict[str, Tensor]]] = []
    for nest, node in nests:
        fits = Counter()
        for key in node:
            for start in [0] + [dot.end() for dot in re.finditer(r"\.", key)]:
                fits[key[:start]] += key[start:] in expected
        parts += [(count, nest, prefix, node) for prefix, count in fits.items()]
    nest, node = max(nests, key=lambda one: len(one[1]))
    parts.append((len(expected) // 2, nest, "", node))
    parts.sort(key=lambda part: (-part[0], bool(_SECOND_CHOICE.search(part[1] + part[2]))))  # else in the file's order
    names = [".".join(filter(None, (nest, prefix.rstrip(".")))) or "its top" for _, nest, prefix, _ in parts]
    count, _, prefix, node = parts[0]
    others = [name for name, part in zip(names[1:], parts[1:], strict=True) if part[0] == count == len(expected)]
    own = {key.removeprefix(prefix): value for key, value in node.items() if key.startswith(prefix)}
    return _Part(names[0], own), others


def _nodes(state: object, nest: str = "", depth: int = 0) -> Iterable[tuple[str, dict[str, Tensor]]]:
    """The nests of a file, its top among them: the name of each, and the tensors that it holds itself."""
    if not isinstance(state, Mapping) or depth > _DEPTH:
        return
    yield nest, {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    for key, value in state.items():
        if isinstance(key, str):
            yield from _nodes(value, f"{nest}.{key}" if nest else key, depth + 1)


def contents(state: object, most: int = 6) -> str:
    """What a file holds at its top: `epoch (int), model (150 names: cls_token [1, 1, 192], ...)`."""
    if isinstance(state, Tensor):
        return f"one tensor {list(state.shape)}"
    if not isinstance(state, Mapping):
        return f"a {type(state).__name__}"
    shown = []
    for key, value in list(state.items())[:most]:
        name = printable(str(key))[:60]
        if isinstance(value, Tensor):
            shown.append(f"{name} {list(value.shape)}")
        elif isinstance(value, Mapping) and value:
            first, inner = next(iter(value.items()))
            shape = f" {list(inner.shape)}" if isinstance(inner, Tensor) else ""
            shown.append(f"{name} ({len(value)} names: {printable(str(first))[:60]}{shape}, ...)")
        else:
            shown.append(f"{name} ({type(value).__name__})")
    return (", ".join(shown) or "nothing") + (f" and {len(state) - most} more" if len(state) > most else "")


@lru_cache(maxsize=64)
def _say(text: str) -> None:
    """Warn once a process, since several runs may share a backbone."""
    log.warning("%s", text)


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


def _reason(error: Exception) -> str:
    """Why a pickle could not be read, in one line; torch's own text is a page."""
    name = re.search(r"[Uu]nsupported (?:global: )?GLOBAL (\S+)", str(error))
    return f"it holds {name[1]}, which only code can make" if name else _first_line(error)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
