"""Peers inside the ViT, trained from frames: they learn, resume exactly with dropout, and two workers train as one."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from test_frames import SGD, StoppedAt, T, assert_close, assert_same, task, train

from objadapt.config import Experiment
from objadapt.config_file import load_config
from objadapt.training import checkpoint, worker

PEERS = {
    "st_adapter": ["method.placement=both", "method.width=8", "method.dropout=0.3"],
    "aim": ["method.width=8", "method.drop_path=0.3", "method.dropout=0.3"],
    "evl": ["method.layers=2", "method.mlp_dropout=0.3", "method.dropout=0.3"],
    "timesformer": ["method.dropout=0.3"],
}


def config(weights: Path, name: str, *overrides: str) -> Experiment:
    backbone = ["backbone.library=timm", "backbone.name=test_vit", f"backbone.weights={weights}", "transform.size=32"]
    placed = [f"method.name={name}", "stream.num_workers=0", f"sampling.frames={T}", "seed=1"]
    training = ["training.batch_size=8", "training.epochs=2", "training.warmup_epochs=0", "training.lr=1e-3"]
    return load_config(None, [*backbone, *placed, *training, *overrides])


@pytest.mark.parametrize("name", PEERS)
def test_a_restart_leaves_no_trace(tiny_weights, name, tmp_path):
    settings, folder = config(tiny_weights, name, *PEERS[name]), tmp_path / "stopped"

    def show(what, done, total, note):
        if what == "epoch 2/2 train" and done == 1:
            (folder / worker.SAVE_REQUEST).touch()
        elif what == "epoch 2/2 train" and done > 1:
            raise StoppedAt

    with pytest.raises(StoppedAt):
        train(folder, settings, show=show)
    assert (checkpoint.read_state(folder / "last").epoch, checkpoint.read_state(folder / "last").step) == (1, 1)
    torch.manual_seed(99)  # a new process draws otherwise
    resumed = train(folder, settings)
    assert_same(resumed, train(tmp_path / "whole", settings))
    fresh = task(tmp_path / "fresh", settings).method().learned_state()
    assert resumed.keys() == fresh.keys() and sum(not torch.equal(resumed[key], fresh[key]) for key in fresh) > 2


def two_workers(rank: int, folder: Path, every: dict[str, Experiment]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for name, settings in every.items():
        train(folder / name, settings, workers=2)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_workers_train_as_one(tiny_weights, tmp_path):
    """Also where parameters get no gradient: those of the last adapter of ST-Adapter."""
    none = {"st_adapter": ["method.dropout=0"], "aim": ["method.dropout=0"], "timesformer": []}
    none["evl"] = ["method.dropout=0", "method.mlp_dropout=0", "method.layers=2"]
    every = {name: config(tiny_weights, name, *SGD, *more) for name, more in none.items()}
    mp.spawn(two_workers, args=(tmp_path, every), nprocs=2)
    for name, settings in every.items():
        alone = train(tmp_path / "alone" / name, settings)
        assert_close(alone, load_file(tmp_path / name / "last" / "adapter.safetensors"))
