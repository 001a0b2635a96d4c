"""Trainings with mixing, balance, repeats, a moving average or patience: resumed, and by two workers, as by one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from test_loop import BATCH, CPU, GENTLE, InMemory, Shown, StoppedAt, assert_same, config, weights
from test_loop import task as task_of

from objadapt.config import Experiment
from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.training import checkpoint, worker
from objadapt.training.average import Average
from objadapt.training.patience import early, ended, noted

ON = {"mixup": 0.4, "class_balance": "sampling", "repeats": 2, "ema": 0.9}
BALANCED = {"mixup": 0.4, "class_balance": "loss", "clips_per_class": 2, "ema": 0.5}


def task(folder: Path, settings: Experiment, workers: int = 1) -> worker.Task:
    one = task_of(folder, settings, workers)
    training = settings.training
    more = {"balanced": training.class_balance == "sampling", "repeats": training.repeats}
    fields = {name: getattr(one.schedule, name) for name in one.schedule.__dataclass_fields__}
    return worker.Task(**{**vars(one), "schedule": type(one.schedule)(**fields | more)})


def run(folder: Path, settings: Experiment, show=None) -> dict[str, torch.Tensor]:
    one = task(folder, settings)
    object.__setattr__(one, "show", show)
    worker.run(one, InMemory(one.schedule), CPU)
    return weights(folder / "last", one)


@pytest.mark.parametrize("on", [ON, BALANCED], ids=["sampling", "loss"])
@pytest.mark.parametrize("epoch, step", [(1, 0), (0, 1), (1, 2)])
def test_a_restart_leaves_no_trace(on, epoch, step, tmp_path):
    settings, folder = config(**on), tmp_path / "stopped"
    expected = run(tmp_path / "whole", settings)

    def show(what, done, total, note):
        if what == f"epoch {epoch + 1}/3 train" and done == step:
            (folder / worker.SAVE_REQUEST).touch()
        elif what == f"epoch {epoch + 1}/3 train" and done > step:
            raise StoppedAt

    with pytest.raises(StoppedAt):
        run(folder, settings, show)
    assert_same(run(folder, settings), expected)
    kept = [load_file(tmp_path / name / "last" / "learning.safetensors") for name in ("whole", "stopped")]
    assert_same(*kept)
    assert any(not torch.equal(value, expected[name]) for name, value in kept[0].items()), "the average is another"


def two_workers(rank: int, folder: str, on: dict) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    one = task(Path(folder) / "two", config(**GENTLE, **on), workers=2)
    worker.run(one, InMemory(one.schedule, rank), CPU)
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("on", [ON, BALANCED], ids=["sampling", "loss"])
def test_two_workers_train_as_one(on, tmp_path):
    mp.spawn(two_workers, args=(str(tmp_path), on), nprocs=2)
    settings = config(**GENTLE, **on)
    expected, got = (
        run(tmp_path / "one", settings),
        weights(tmp_path / "two" / "last", task(tmp_path / "two", settings)),
    )
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, atol=1e-5, rtol=1e-4)
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")]
    single, double = (result["state"]["metrics"] for result in results)
    for name in ("train/total", "train/temporal", "train/distillation", "train/grad_norm"):
        assert double[name] == pytest.approx(single[name], rel=1e-3), name
    assert results[0]["counts"] == results[1]["counts"], "each clip is counted once"


def test_each_clip_is_counted_once_though_it_comes_again(tmp_path):
    run(tmp_path, config(epochs=1, repeats=2))
    assert json.loads((tmp_path / "result.json").read_text())["counts"]["decoded_by_pyav"] == 20 + 9


def test_the_average_is_that_of_a_plain_loop_and_what_is_validated_and_kept(tmp_path):
    """The same training without it learns the same weights; their mean by hand is what lies in the checkpoints."""
    decay, seen = 0.8, []
    settings = config(epochs=2, ema=decay)
    plain = task(tmp_path / "plain", config(epochs=2))
    work = worker.Worker(plain, InMemory(plain.schedule), CPU, lambda: None)
    seen.append({name: value.detach().clone() for name, value in work.method.learned_state().items()})
    step = work.optimiser.step

    def stepped():
        step()
        seen.append({name: value.detach().clone() for name, value in work.method.learned_state().items()})

    work.optimiser.step = stepped
    for segment in work.segments:
        (work.train if segment.kind == "train" else work.validate)(segment)
        work.end(segment)
    mean = seen[0]
    for one in seen[1:]:
        mean = {name: decay * value + (1 - decay) * one[name] for name, value in mean.items()}
    assert len(seen) == 7
    run(tmp_path / "averaged", settings)
    last = load_file(tmp_path / "averaged" / "last" / "adapter.safetensors")
    for name, value in mean.items():
        torch.testing.assert_close(last[name], value, rtol=1e-5, atol=1e-7)
    assert_same(load_file(tmp_path / "averaged" / "last" / "learning.safetensors"), seen[-1])
    assert not (tmp_path / "averaged" / "best" / "learning.safetensors").exists()
    assert not (tmp_path / "plain" / "last" / "learning.safetensors").exists()

    method = task(tmp_path / "averaged", settings).method()
    checkpoint.load(tmp_path / "averaged" / "last", method)
    work.method.load_learned_state(method.learned_state())
    val = work.segments[-1]
    work.validate(val)
    found = checkpoint.read_state(tmp_path / "averaged" / "last").metrics["val/top1"]
    assert work.scores is not None and work.scores.metrics["top1"] == found


def test_a_method_has_its_own_weights_again_behind_its_average(tmp_path):
    method = task(tmp_path, config()).method()
    average = Average(method, 0.5)
    own = {name: value.clone() for name, value in method.state_dict().items()}
    average.weights = {name: value + 1 for name, value in average.weights.items()}
    with pytest.raises(StoppedAt), average.inside(method):
        assert all(torch.equal(value, average.weights[name]) for name, value in method.learned_state().items())
        raise StoppedAt
    assert_same(method.state_dict(), own)


def test_a_checkpoint_without_the_weights_that_learn_is_refused(tmp_path):
    settings = config(epochs=1, ema=0.5)
    run(tmp_path, settings)
    (tmp_path / "last" / "learning.safetensors").unlink()
    with pytest.raises(InputError, match="unreadable weights"):
        run(tmp_path, settings)


@pytest.mark.parametrize(
    "scores, patience, every, last",
    [
        ([0.2, 0.5, 0.4, 0.5, 0.5, 0.9], 2, 1, 4),  # as good is no better
        ([0.2, 0.3, 0.4, 0.5, 0.6, 0.7], 1, 1, 6),
        ([0.2, 0.1, 0.3, 0.1, 0.1, 0.1], 2, 1, 5),
        ([0.2, 0.2, 0.1, 0.1, 0.9, 0.9], 1, 2, 4),  # looked at every second epoch
    ],
)
def test_a_training_ends_behind_epochs_without_a_better_validation(scores, patience, every, last):
    overrides = [f"training.patience={patience}", "data.holdout=0.2", "training.epochs=6"]
    training = load_config(None, [*overrides, f"training.validate_every={every}"]).training
    best, epoch = {}, 0
    for epoch, top1 in enumerate(scores, 1):
        if epoch % every == 0 and not top1 < best.get("top1", -1.0):
            best = noted(best, epoch, top1, training)
        if ended(best, epoch, training):
            break
    assert epoch == last and (early(epoch, training) is None) == (last == 6)
    assert noted({}, 3, 0.5, config().training) == {"epoch": 3, "top1": 0.5}, (
        "what is kept without patience is as before"
    )


def test_patience_ends_a_training_which_stays_ended(tmp_path):
    """Features without a pattern: validation does not rise for ever. A restart behind the end trains no further."""
    settings = config(epochs=30)
    patient = settings.training.model_copy(update={"patience": 2})  # the clips here are split already
    settings = settings.model_copy(update={"training": patient})
    shown = Shown()
    one = task(tmp_path, settings)
    object.__setattr__(one, "show", shown)
    worker.run(one, InMemory(one.schedule, separable=False), CPU)
    state = checkpoint.read_state(tmp_path / "last")
    assert state.epoch < 30 and state.epoch - state.best["since"] == 2
    assert shown.lines[-1].startswith(f"the training has ended behind epoch {state.epoch} of 30")
    before = (tmp_path / "last" / "adapter.safetensors").read_bytes()
    assert [(segment.kind, segment.number) for segment in one.remaining().segments] == [("val", state.epoch - 1)]
    worker.run(one, InMemory(one.schedule, separable=False), CPU)
    assert (tmp_path / "last" / "adapter.safetensors").read_bytes() == before
    assert checkpoint.read_state(tmp_path / "last").epoch == state.epoch


@pytest.mark.parametrize(
    "wrong, said",
    [
        (["training.patience=3"], "training.patience: .*data.holdout"),
        (["training.mixup=0.2", "training.batch_size=6", "stream.num_workers=2"], "training.batch_size: 6 .*pairs"),
        (["training.mixup=0.2", "training.batch_size=12", "training.clips_per_class=4"], "training.batch_size: 12"),
        (["training.cutmix=1.0", "training.micro_batch=3"], "training.micro_batch: 3"),
        (["training.repeats=3"], "training.batch_size: 64 .*training.repeats"),
        (["training.repeats=2", "training.clips_per_class=4"], "training.repeats: .*one of both"),
        (["training.class_balance=sampling", "training.clips_per_class=4"], "training.class_balance: .*one of both"),
        (["training.repeats=4", "stream.hold=true", "stream.views=2"], "training.repeats: 4 .*stream.views"),
        (["training.ema=1.0"], "training.ema"),
        (["transform.random_erasing=1.5"], "transform.random_erasing"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_line(wrong, said):
    with pytest.raises(InputError, match=said) as error:
        load_config(None, wrong)
    assert len(str(error.value).splitlines()) == 1


def test_all_batches_of_the_schedule_are_whole():
    assert BATCH % config(**ON).training.unit(2) == 0 and config(**BALANCED).training.unit(2) == 8
    assert config().training.unit(3) == 3 and np.gcd(config(repeats=3, batch_size=6).training.unit(2), 6) == 6
