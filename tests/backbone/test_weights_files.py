"""Weights files from strangers: read if plain, refused in one line otherwise, never executed."""

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from objadapt.backbone.weights import hash_tensors, load_exactly, read_weights
from objadapt.errors import InputError


class Bomb:
    """Pickles into a call that makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refused(path, pattern):
    with pytest.raises(InputError, match=pattern) as caught:
        read_weights(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message


def test_code_in_a_pickle_is_never_run(tmp_path):
    for name, write in (("zip.pt", torch.save), ("plain.pth", lambda bomb, path: path.write_bytes(pickle.dumps(bomb)))):
        trace = tmp_path / f"executed_{name}"
        write({"weight": Bomb(trace)}, tmp_path / name)
        refused(tmp_path / name, "not a plain state dict.*never executed")
        assert not trace.exists()


def test_torchscript_archives_are_refused(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "script.pt"))
    refused(tmp_path / "script.pt", "safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", bytes(range(256)) * 8, b"\x08\0\0\0\0\0\0\0{garbage"])
def test_garbage_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"garbage{suffix}"
    path.write_bytes(content)
    refused(path, "backbone.weights")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    state = {"weight": torch.randn(64, 64)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(path, "backbone.weights")


@pytest.mark.parametrize("content", [[1, 2], {}, {3: torch.zeros(1)}, torch.zeros(3), "text"])
def test_other_objects_are_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "object.pt")
    refused(tmp_path / "object.pt", "no state dict")


def test_missing_files_folders_and_suffixes_are_refused(tmp_path):
    refused(tmp_path / "absent.pt", "not a file")
    refused(tmp_path, "not a file")
    (tmp_path / "model.npz").write_bytes(b"0")
    refused(tmp_path / "model.npz", "unknown suffix '.npz'")


def test_half_weights_become_float32(tmp_path):
    source = torch.nn.Linear(3, 2).half()
    save_file(source.state_dict(), tmp_path / "half.safetensors")
    with torch.device("meta"):
        model = torch.nn.Linear(3, 2)
    load_exactly(model, read_weights(tmp_path / "half.safetensors")[0], "half")
    assert model.weight.dtype == torch.float32 and torch.equal(model.weight, source.weight.float())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda value: value.to(torch.int32), "weight of no plain numbers"),
        (lambda value: value.bool(), "weight of no plain numbers"),
        (lambda value: (value / 0).to(torch.float8_e5m2), "weight not finite"),
        (lambda value: value.double() * 1e300, "weight not finite"),  # in float32
    ],
)
def test_numbers_that_are_no_weights(change, said):
    model = torch.nn.Linear(3, 2, bias=False)
    with pytest.raises(InputError, match=f"backbone.weights: x does not fit the model .{said}"):
        load_exactly(model, {"weight": change(torch.ones(2, 3))}, "x")
    load_exactly(model, {"weight": torch.full((2, 3), 0.5).to(torch.float8_e5m2)}, "x")
    assert model.weight.dtype == torch.float32 and (model.weight == 0.5).all()


def test_hash_knows_names_shapes_and_values_but_not_order_or_width():
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    same = {"b": state["b"].half(), "a": state["a"].T.contiguous().T}  # other precision, other memory layout
    assert hash_tensors(state) == hash_tensors(same)
    others = [
        {**state, "a": state["a"].reshape(3, 2)},
        {**state, "b": 2 * state["b"]},
        {"a": state["a"], "c": state["b"]},
    ]
    assert len({hash_tensors(state), *map(hash_tensors, others)}) == 4
