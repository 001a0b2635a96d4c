"""The loop and its worker: it learns, a restart leaves no trace, two workers train as one, and divergence is said."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from objadapt.config import Experiment, Training
from objadapt.config_file import load_config
from objadapt.config_methods import Temporal
from objadapt.errors import InputError
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter
from objadapt.pipeline.quarantine import REASON_BYTES, encode_reason
from objadapt.pipeline.schedule import Schedule
from objadapt.training import checkpoint, worker
from objadapt.training.loop import build_optimiser, learning_rate

T, N, J, CLASSES, TRAIN, VAL, BATCH = 4, 5, 16, 3, 20, 9, 8
CPU = torch.device("cpu")
GENTLE = {"lr": 3e-4, "min_lr": 3e-5}  # Adam's step is about lr however small the gradient: so is what rounding may do


def config(**training) -> Experiment:
    settings = {"epochs": 3, "batch_size": BATCH, "lr": 3e-3, "min_lr": 3e-4, "warmup_epochs": 1} | training
    overrides = [f"training.{key}={value}" for key, value in settings.items()]
    return load_config(
        None, [f"sampling.frames={T}", "method.slots.number=3", "method.heads=2", "stream.num_workers=0", *overrides]
    )


def features(separable: bool) -> dict[str, torch.Tensor]:
    """Random float16 features of all clips; where separable, one direction grows over time by the class."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(TRAIN + VAL) % CLASSES
    patches = torch.randn(TRAIN + VAL, T, N, J, generator=generator)
    if separable:
        ramp = torch.linspace(-1, 1, T)[None, :, None] * (labels - 1)[:, None, None]
        patches[..., 0] += 4 * ramp
    return {"patches": patches.half(), "cls": patches.mean(2).half(), "labels": labels[:, None]}


class InMemory:
    """A source of fixed features: the same batches as the stream would give, without Ray."""

    def __init__(self, schedule: Schedule, rank: int = 0, separable: bool = True):
        self.schedule, self.rank, self.clips = schedule, rank, features(separable)

    def batches(self, segment):
        for rows, views in self.schedule.worker_clips(segment, self.rank):
            rows = torch.from_numpy(rows)
            valid, picked = rows >= 0, rows.clamp(min=0)
            yield {
                "patches": self.clips["patches"][picked] * valid[:, None, None, None],
                "cls": self.clips["cls"][picked] * valid[:, None, None],
                "labels": self.clips["labels"][picked].where(valid[:, None], torch.tensor(-1)),
                "row": rows,
                "view": torch.from_numpy(views),
                "valid": valid,
                "short": torch.zeros_like(valid),
                "decoder": torch.full_like(rows, 2, dtype=torch.uint8),
                "reason": torch.zeros(len(rows), REASON_BYTES, dtype=torch.uint8),
            }


class Records:
    """What the worker hands to a tracker."""

    def __init__(self):
        self.steps: list[tuple[int, dict[str, float]]] = []

    def series(self, steps):
        self.steps += steps

    def take_unsent(self):
        return []

    def named(self, prefix: str) -> dict[int, dict[str, float]]:
        return {step: values for step, values in self.steps if any(name.startswith(prefix) for name in values)}


def task(folder: Path, settings: Experiment, workers: int = 1, tracker=None, show=None) -> worker.Task:
    labels = features(True)["labels"].numpy()
    schedule = Schedule(
        np.arange(TRAIN),
        labels[:TRAIN, 0],
        np.arange(TRAIN, TRAIN + VAL),
        1,
        settings.training.batch_size,
        workers,
        settings.training.batch_size // workers,
        settings.seed,
        settings.training.clips_per_class,
    )
    classes = {"label": [str(number) for number in range(CLASSES)]}
    folder.mkdir(parents=True, exist_ok=True)
    return worker.Task(settings, classes, labels, schedule, J, "hash", folder, tracker, show)


def train(
    folder: Path, settings: Experiment, tracker=None, show=None, separable: bool = True
) -> dict[str, torch.Tensor]:
    """Run the worker to the end of the schedule; -> the weights of the last checkpoint."""
    one = task(folder, settings, tracker=tracker, show=show)
    worker.run(one, InMemory(one.schedule, separable=separable), CPU)
    return weights(folder / "last", one)


def weights(folder: Path, one: worker.Task) -> dict[str, torch.Tensor]:
    adapter = one.method()
    checkpoint.load(folder, adapter)
    return adapter.state_dict()


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_warm_up_and_cosine():
    training = Training(epochs=10, lr=1e-3, min_lr=1e-5, warmup_epochs=2)
    rates = [learning_rate(training, step, 50) for step in range(500)]
    assert (
        rates[0] == pytest.approx(1e-3 / 100) and rates[99] == pytest.approx(1e-3) and max(rates) == pytest.approx(1e-3)
    )
    np.testing.assert_allclose(np.diff(rates[:100]), 1e-5)  # linear
    assert rates[100] == 1e-3 and (np.diff(rates[100:]) < 0).all()
    assert rates[300] == pytest.approx((1e-3 + 1e-5) / 2)  # half way
    assert rates[-1] == pytest.approx(1e-5, rel=2e-2) and learning_rate(training, 500, 50) == pytest.approx(1e-5)
    assert learning_rate(training, 600, 50) == pytest.approx(1e-5)


def test_no_warm_up_and_nothing_but_warm_up():
    assert learning_rate(Training(epochs=2, lr=1e-3, warmup_epochs=0), 0, 5) == 1e-3
    rates = [learning_rate(Training(epochs=2, lr=1e-3, warmup_epochs=2), step, 5) for step in range(10)]
    np.testing.assert_allclose(rates[:5], np.arange(1, 6) * 2e-4)
    assert rates[5] == 1e-3 and (np.diff(rates[5:]) < 0).all(), "half of it is warm-up, the rest falls"


@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
@pytest.mark.parametrize("warmup", [0, 0.3, 0.5, 1, 1.7, 2, 40])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_no_warm_up_is_so_long_or_so_short_that_the_rate_does_not_reach_its_peak_or_passes_it(epochs, warmup, steps):
    training = Training(epochs=epochs, lr=1e-3, min_lr=1e-4, warmup_epochs=warmup)
    rates = [learning_rate(training, step, steps) for step in range(epochs * steps)]
    assert max(rates) == 1e-3 and min(rates) > 0
    falling = rates[math.ceil(training.warmup * steps) :]
    assert len(falling) >= epochs * steps // 2 and (np.diff(falling) < 0).all()
    assert training.warmup == min(warmup, epochs / 2)


def test_weight_decay_is_on_matrices_alone():
    adapter = ObjectCentricAdapter(config().method, {"label": CLASSES}, J, T)
    decayed, plain = build_optimiser(adapter, Training(weight_decay=0.1)).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in adapter.named_parameters()}
    groups = [{names[id(parameter)] for parameter in group["params"]} for group in (decayed, plain)]
    assert groups[0] | groups[1] == set(names.values()) and not groups[0] & groups[1]
    assert any("queries" in name for name in groups[1]) and not any("queries" in name for name in groups[0])
    for name, parameter in adapter.named_parameters():
        if name in groups[0]:
            assert parameter.ndim == 2, name
        elif "queries" not in name:
            assert parameter.ndim == 1, name  # biases and norms


def test_slot_attention_learns_at_its_own_pace(tmp_path):
    """One step of plain gradient descent: half the pace is half the way, and the others go all of theirs."""
    step = {"optimiser": "sgd", "momentum": 0.0, "epochs": 1, "batch_size": TRAIN, "clip_norm": "null"}
    settings = config(**step)
    slots = settings.method.slots.model_copy(update={"learning_rate": 0.5})
    half = settings.model_copy(update={"method": settings.method.model_copy(update={"slots": slots})})
    torch.manual_seed(settings.seed)
    start = task(tmp_path / "start", settings).method().state_dict()
    fast, slow = train(tmp_path / "fast", settings), train(tmp_path / "slow", half)
    for name, value in start.items():
        way, share = fast[name] - value, 0.5 if name.startswith("slot_attention.") else 1.0
        torch.testing.assert_close(slow[name] - value, share * way, rtol=1e-3, atol=1e-7)
    assert not torch.equal(fast["slot_attention.queries"], start["slot_attention.queries"])


def test_it_learns_and_says_what_it_did(tmp_path):
    records, shown = Records(), []
    settings = config(epochs=25)
    train(tmp_path / "run", settings, records, lambda *what: shown.append(what))
    steps, epochs = records.named("step/"), records.named("epoch/")
    assert list(steps) == list(range(1, 76)) and list(epochs) == list(range(1, 26))
    losses = [values["step/total"] for values in steps.values()]
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:6])
    final = epochs[25]
    assert final["epoch/val/top1"] > 0.75 > 1 / CLASSES  # chance
    for values in epochs.values():
        assert 0 <= values["epoch/train/data_wait_share"] <= 1 and values["epoch/train/clips_per_second"] > 0
    mean = np.mean([values["step/classification"] for step, values in steps.items() if step > 72])
    assert final["epoch/train/classification"] == pytest.approx(mean)
    assert final["epoch/train/grad_norm"] > 0 and 3e-4 <= final["epoch/train/lr"] < 3e-3
    state = checkpoint.read_state(tmp_path / "run" / "last")
    assert (state.epoch, state.step, state.global_step) == (25, 0, 75)
    best = max(values["epoch/val/top1"] for values in epochs.values())
    assert state.best["top1"] == best and checkpoint.read_state(tmp_path / "run" / "best").epoch == state.best["epoch"]
    assert shown[-1][0] == "epoch 25/25 val" and all(1 <= done <= total for _, done, total, _ in shown)


class Shown:
    """A progress callback that keeps the lines that stay."""

    def __init__(self):
        self.lines, self.stages = [], []

    def __call__(self, what, done, total, note=""):
        self.stages.append((what, note))

    def stage(self, what):
        self.stages.append((what, ""))

    def tell(self, text):
        self.lines.append(text)


def test_each_epoch_leaves_a_line_and_no_stage_is_without_a_name(tmp_path):
    shown = Shown()
    train(tmp_path, config(epochs=3, validate_every=2), show=shown)
    assert [line.partition(":")[0] for line in shown.lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    first, second, third = shown.lines
    assert "top-1" not in first and "best" not in first and "top-1" in second and "(epoch 2)" in second
    assert re.search(r"loss \d+\.\d{3}, .* clips/s, \d+ % waiting, .* left$", first) and third.endswith("% waiting")
    whats = list(dict.fromkeys(what for what, _ in shown.stages))
    assert whats[:3] == [
        "epoch 1/3 train: waiting for the first clips",
        "epoch 1/3 train",
        "epoch 1/3: writing the checkpoint",
    ]
    assert whats[-1] == "ending the training" and "epoch 2/3 val" in whats
    assert any("whole training 0 s left" in note for _, note in shown.stages)


class StoppedAt(Exception):
    """The process ends here."""


@pytest.mark.parametrize("quota", [None, 2])
@pytest.mark.parametrize("epoch, step", [(1, 0), (2, 0), (0, 1), (1, 2), (1, 3)])
def test_a_restart_leaves_no_trace(epoch, step, quota, tmp_path):
    """Stopped after whole epochs, or in mid-epoch where a checkpoint was asked for: bitwise the weights of one run."""
    settings = (config(clips_per_class=quota) if quota else config()).model_copy(update={"seed": 3})
    expected = train(tmp_path / "whole", settings)
    folder = tmp_path / "stopped"
    assert task(folder, settings).schedule.train_steps() >= 3

    def show(what, done, total, note):
        if what == f"epoch {epoch + 1}/3 train" and done == step:
            (folder / worker.SAVE_REQUEST).touch()  # seen right after, in the same step
        elif what == f"epoch {epoch + 1}/3 train" and done > step or what == f"epoch {epoch + 1}/3 val":
            raise StoppedAt

    with pytest.raises(StoppedAt):
        train(folder, settings, show=show)
    state = checkpoint.read_state(folder / "last")
    assert (state.epoch, state.step) == (epoch, step) and not (folder / worker.SAVE_REQUEST).exists()
    assert_same(train(folder, settings), expected)
    whole, resumed = (checkpoint.read_state(tmp_path / name / "last") for name in ("whole", "stopped"))
    assert (resumed.epoch, resumed.global_step, resumed.best) == (whole.epoch, whole.global_step, whole.best)
    for name in ("train/total", "train/lr", "val/top1"):  # the broken epoch counts all its steps
        assert resumed.metrics[name] == pytest.approx(whole.metrics[name], rel=1e-12), name


def test_a_finished_run_is_not_trained_again(tmp_path):
    expected, records = train(tmp_path, config()), Records()
    assert_same(train(tmp_path, config(), records), expected)
    assert not records.named("step/")


def test_the_seed_determines_the_weights(tmp_path):
    first = train(tmp_path / "a", config())
    assert_same(train(tmp_path / "b", config()), first)
    other = train(tmp_path / "c", config().model_copy(update={"seed": 1}))
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_a_runs_seed_draws_its_triplets(tmp_path):
    """Of the same weights, batch and step, each seed's temporal loss is of other clips."""
    drawn = Temporal(num_positives=1, num_negatives=1)
    losses = config().method.losses.model_copy(update={"temporal": drawn})
    few = config().method.model_copy(update={"losses": losses})
    clips, valid = features(True), torch.ones(TRAIN + VAL, dtype=torch.bool)
    batch, found, start = clips | {"valid": valid}, {}, None
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = config().model_copy(update={"seed": seed, "method": few})
        adapter = task(tmp_path, settings).method()
        start = start or adapter.state_dict()
        adapter.load_state_dict(start)
        with torch.no_grad():
            found[name] = {step: adapter.losses(adapter(batch), batch, step)["temporal"].item() for step in (0, 1)}
    assert found["a"] == found["b"] and found["a"][0] != found["a"][1]
    assert all(found["a"][step] != found["c"][step] for step in (0, 1))


def two_workers(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    one = task(Path(folder) / "two", config(**GENTLE).model_copy(update={"seed": 1}), workers=2)
    worker.run(one, InMemory(one.schedule, rank), CPU)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_workers_train_as_one(tmp_path):
    """The same global batches, padding in the last of an epoch included: the same weights up to rounding."""
    mp.spawn(two_workers, args=(str(tmp_path),), nprocs=2)
    settings = config(**GENTLE).model_copy(update={"seed": 1})  # which also draws the triplets
    expected, got = (
        train(tmp_path / "one", settings),
        weights(tmp_path / "two" / "last", task(tmp_path / "two", settings)),
    )
    start = task(tmp_path / "one", settings).method().state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(
            got[name], value, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert max(float((value - start[name]).abs().max()) for name, value in expected.items()) > 1e-3  # it did move
    single, double = (checkpoint.read_state(tmp_path / name / "last") for name in ("one", "two"))
    for name in ("train/total", "train/temporal", "train/distillation", "train/grad_norm"):
        assert double.metrics[name] == pytest.approx(single.metrics[name], rel=1e-3), name
    assert double.metrics["val/top1"] == single.metrics["val/top1"]


def test_a_diverged_training_is_an_error(tmp_path):
    one = task(tmp_path, config())
    source = InMemory(one.schedule)
    source.clips["patches"][3, 0, 0, 0] = math.nan
    with pytest.raises(FloatingPointError, match="step [012]; lower training.lr"):
        worker.run(one, source, CPU)


def test_an_epoch_of_which_no_clip_decodes_is_refused_with_the_reason(tmp_path):
    class AllBroken(InMemory):
        def batches(self, segment):
            for batch in super().batches(segment):
                broken = np.stack([encode_reason("open", "no such file")] * len(batch["row"]))
                yield batch | {"valid": torch.zeros_like(batch["valid"]), "reason": torch.from_numpy(broken)}

    one = task(tmp_path, config(epochs=1))
    with pytest.raises(InputError, match="none of the 20 training clips .*open: no such file"):
        worker.run(one, AllBroken(one.schedule), CPU)
