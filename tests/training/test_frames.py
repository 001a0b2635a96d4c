"""A method inside a frozen ViT, trained from frames: it learns, two workers train as one,
and a restart leaves no trace.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

from objadapt import video_model
from objadapt.config import Experiment, Training
from objadapt.config_file import load_config
from objadapt.config_methods import Outside
from objadapt.errors import InputError
from objadapt.pipeline.quarantine import REASON_BYTES
from objadapt.pipeline.schedule import Schedule
from objadapt.tables import estimate
from objadapt.training import checkpoint, trainer, worker
from objadapt.training.loop import build_optimiser
from objadapt.training.task import Task
from objadapt.video_model import VideoModel

T, SIZE, CLASSES, TRAIN, VAL, BATCH = 2, 32, 3, 20, 6, 8
CPU = torch.device("cpu")
LEARNED = {*(f"biases.{block}" for block in range(6)), "heads.label.weight", "heads.label.bias"}
SGD = ["training.optimiser=sgd", "training.lr=0.05", "training.min_lr=0.005"]


def config(weights: Path, *overrides: str) -> Experiment:
    backbone = ["backbone.library=timm", "backbone.name=test_vit", f"backbone.weights={weights}"]
    placed = ["method.module=biased_vit", "stream.num_workers=0", f"sampling.frames={T}", "seed=1"]
    training = [f"training.batch_size={BATCH}", "training.epochs=2", "training.warmup_epochs=0", "training.lr=1e-3"]
    return load_config(None, [*backbone, *placed, *training, *overrides])


class InMemory:
    """A source of fixed frames whose mean colour tells the class; the last batch of an epoch is padded."""

    def __init__(self, schedule: Schedule, rank: int = 0):
        self.schedule, self.rank = schedule, rank
        generator = torch.Generator().manual_seed(7)
        self.labels = torch.arange(TRAIN + VAL)[:, None] % CLASSES
        self.frames = torch.randint(100, (TRAIN + VAL, T, SIZE, SIZE, 3), generator=generator, dtype=torch.uint8)
        self.frames[torch.arange(TRAIN + VAL), ..., self.labels[:, 0]] += 150

    def batches(self, segment):
        for rows, views in self.schedule.worker_clips(segment, self.rank):
            rows = torch.from_numpy(rows)
            valid, picked = rows >= 0, rows.clamp(min=0)
            yield {
                "frames": self.frames[picked] * valid[:, None, None, None, None],
                "labels": self.labels[picked].where(valid[:, None], torch.tensor(-1)),
                "row": rows,
                "view": torch.from_numpy(views),
                "valid": valid,
                "short": torch.zeros_like(valid),
                "decoder": torch.full_like(rows, 2, dtype=torch.uint8),
                "reason": torch.zeros(len(rows), REASON_BYTES, dtype=torch.uint8),
            }


def task(folder: Path, settings: Experiment, workers: int = 1, show=None) -> Task:
    labels = (np.arange(TRAIN + VAL) % CLASSES)[:, None]
    rows = np.arange(TRAIN), labels[:TRAIN, 0], np.arange(TRAIN, TRAIN + VAL)
    schedule = Schedule(*rows, 1, BATCH, workers, BATCH // workers, settings.seed)
    classes = {"label": [str(number) for number in range(CLASSES)]}
    folder.mkdir(parents=True, exist_ok=True)
    return Task(settings, classes, labels, schedule, 64, "hash", folder, None, show)


def train(folder: Path, settings: Experiment, workers: int = 1, show=None) -> dict:
    """This process's part of a training; -> the weights of its last checkpoint."""
    made = task(folder, settings, workers, show)
    worker.run(made, InMemory(made.schedule, dist.get_rank() if workers > 1 else 0), CPU)
    return load_file(folder / "last" / "adapter.safetensors")


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=2e-6, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def alone(tiny_weights, tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    """(folder, weights) of a training in this process, with SGD: small gradients make small steps."""
    folder = tmp_path_factory.mktemp("alone")
    return folder, train(folder, config(tiny_weights, *SGD))


def test_what_learns_moves_and_the_backbone_is_in_no_checkpoint(tiny_weights, alone):
    folder, learned = alone
    fresh = task(folder, config(tiny_weights)).method()
    assert learned.keys() == LEARNED == fresh.learned_state().keys() < fresh.state_dict().keys()
    for name, start in fresh.learned_state().items():
        assert (learned[name] - start).abs().max() > 1e-3, name
    frozen = {name: value.clone() for name, value in fresh.encoder.state_dict().items()}
    checkpoint.load(folder / "last", fresh)
    assert_same(fresh.learned_state(), learned)
    assert_same(fresh.encoder.state_dict(), frozen)
    assert checkpoint.read_state(folder / "last").metrics["val/top1"] == 1.0


def test_a_checkpoint_that_lacks_something_is_refused(tiny_weights, alone):
    method = task(alone[0], config(tiny_weights)).method()
    method.biases[3].requires_grad_(False)
    with pytest.raises(InputError, match=r"does not fit this config .*missing: none; unexpected: biases\.3"):
        checkpoint.load(alone[0] / "last", method)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_parts_of_a_batch_train_as_the_whole(tiny_weights, alone, size, tmp_path):
    """A batch is padded, so that its last part may have no clip at all."""
    parts = train(tmp_path, config(tiny_weights, *SGD, f"training.micro_batch={size}"))
    assert_close(alone[1], parts)
    one, other = (checkpoint.read_state(folder / "last").metrics for folder in (alone[0], tmp_path))
    for name in ("train/total", "train/grad_norm", "val/top1"):
        assert other[name] == pytest.approx(one[name], rel=1e-5), name


def two_workers(rank: int, folder: Path, settings: Experiment) -> None:
    """Plain; in parts of batches; with dropout; and from the middle of that with dropout again."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    train(folder / "plain", settings, workers=2)
    in_parts = settings.training.model_copy(update={"micro_batch": 3})
    train(folder / "parts", settings.model_copy(update={"training": in_parts}), workers=2)
    dropping = settings.model_copy(update={"method": Outside(module="biased_vit", settings={"dropout": 0.3})})
    train(folder / "whole", dropping, 2, Cut(folder / "whole", folder / "cut"))
    dist.barrier()
    assert checkpoint.read_state(folder / "cut" / "last").step == 2
    train(folder / "cut", dropping, 2)
    dist.destroy_process_group()


class Cut:
    """A progress callback: a checkpoint is asked for behind the second step of the second epoch, and copied away."""

    def __init__(self, run: Path, copy: Path):
        self.run, self.copy = run, copy

    def __call__(self, what, done, total, note=""):
        if what == "epoch 2/2 train" and done == 2:
            (self.run / worker.SAVE_REQUEST).touch()  # seen right after, in the same step
        elif what == "epoch 2/2 train" and done == 3:
            shutil.copytree(self.run / "last", self.copy / "last")


@pytest.mark.slow
def test_two_workers_train_as_one_and_resume_exactly(tiny_weights, alone, tmp_path):
    mp.spawn(two_workers, args=(tmp_path, config(tiny_weights, *SGD)), nprocs=2)
    plain, parts, whole, cut = (
        load_file(tmp_path / name / "last" / "adapter.safetensors") for name in ("plain", "parts", "whole", "cut")
    )
    assert_close(alone[1], plain)
    assert_close(alone[1], parts)
    assert_same(whole, cut)
    assert not torch.equal(whole["biases.0"], plain["biases.0"]), "dropout was at work"


class StoppedAt(Exception):
    """The process ends here."""


@pytest.mark.parametrize("optimiser", [[], SGD], ids=["adamw", "sgd"])
@pytest.mark.parametrize("epoch, step", [(1, 0), (0, 1), (1, 2)])
def test_a_restart_leaves_no_trace_of_dropout(tiny_weights, epoch, step, optimiser, tmp_path):
    settings, folder = config(tiny_weights, *optimiser, "method.settings.dropout=0.3"), tmp_path / "stopped"

    def show(what, done, total, note):
        if what == f"epoch {epoch + 1}/2 train" and done == step:
            (folder / worker.SAVE_REQUEST).touch()
        elif what == f"epoch {epoch + 1}/2 train" and done > step:
            raise StoppedAt

    with pytest.raises(StoppedAt):
        train(folder, settings, show=show)
    state = checkpoint.read_state(folder / "last")
    assert (state.epoch, state.step) == (epoch, step)
    torch.manual_seed(99)  # a new process draws otherwise
    resumed = train(folder, settings)
    assert_same(resumed, train(tmp_path / "whole", settings))


def test_sgd_is_torch_s_with_the_config_s_momentum_and_groups(tiny_weights, tmp_path):
    method = task(tmp_path, config(tiny_weights)).method()
    optimiser = build_optimiser(method, Training(optimiser="sgd", momentum=0.5, weight_decay=0.1))
    assert type(optimiser) is torch.optim.SGD
    decayed, plain = optimiser.param_groups
    assert [group["momentum"] for group in (decayed, plain)] == [0.5, 0.5]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    learned = [*method.biases, *method.heads.parameters()]
    assert {id(p) for group in (decayed, plain) for p in group["params"]} == {id(p) for p in learned}
    assert type(build_optimiser(method, Training())) is torch.optim.AdamW


def test_a_method_that_compares_clips_refuses_parts_of_batches(tiny_plan):
    with pytest.raises(InputError, match=r"^training.micro_batch: a loss of this method compares the clips .*$"):
        tiny_plan("training.micro_batch=2")


@pytest.fixture
def frames_plan(tiny_plan):
    """As `tiny_plan`, of the biased ViT."""
    return lambda *overrides: tiny_plan("method.module=biased_vit", *overrides)


def test_its_version_counts_the_code_of_the_vit_that_it_reaches_into(frames_plan, tiny_plan):
    assert "objadapt.backbone.timm_vit" in frames_plan().method_sources
    assert not any(name.startswith("objadapt.backbone") for name in tiny_plan().method_sources)


def test_its_cost_is_counted_with_the_backbone_inside(frames_plan):
    cost = frames_plan().cost
    assert cost.parameters == {"biases": 6 * 64, "heads": 64 * 16 + 16}
    assert cost.macs["encoder"] > 100 * cost.macs["heads"] and cost.saved_bytes > 0


def test_it_answers_from_python_and_its_steps_can_be_timed(tiny_weights, frames_plan):
    model = VideoModel(config(tiny_weights, "transform.size=32"), {"label": ["a", "b", "c"]}).eval()
    clips = torch.randint(256, (2, T, 40, 50, 3), dtype=torch.uint8)
    assert model(clips).logits["label"].shape == (2, 3)
    assert estimate.measured_rate(frames_plan("training.batch_size=4")) > 0


def test_a_checkpoint_whose_module_is_not_here_is_refused_in_one_line(alone, tmp_path):
    shutil.copytree(alone[0] / "last", tmp_path / "last")
    state = json.loads((tmp_path / "last" / "state.json").read_text())
    state["config"]["method"]["module"] = "surely_not_here.method"
    (tmp_path / "last" / "state.json").write_text(json.dumps(state))
    told = r"^method\.module: no module surely_not_here\.method on the path; start the command in the folder that .*$"
    with pytest.raises(InputError, match=told):
        video_model.load(tmp_path / "last")


def test_plan_knows_no_speeds_of_frames(run_job, tiny_config):
    done = run_job("plan", "--config", tiny_config, "method.module=biased_vit", "--cpus", "2")
    assert done.code == 2 and "method.name: module takes frames" in done.err.splitlines()[-1]


@pytest.mark.parametrize("stored", ["stream.hold=true", "stream.cache=features"])
def test_a_plan_refuses_to_store_features_that_nobody_takes(frames_plan, stored):
    with pytest.raises(InputError, match=f"{stored.partition('=')[0]}: .* this method takes frames"):
        frames_plan(stored)


@pytest.mark.slow
def test_two_ray_train_workers_end_where_one_in_this_process_does(frames_plan, local_ray, tmp_path):
    """From files: 32 clips in batches of 12, the last one padded."""
    common = ["training.batch_size=12", "training.optimiser=sgd", "training.lr=0.02", "stream.clips_per_task=6"]
    one = frames_plan(f"output={tmp_path}/one", *common)
    two = frames_plan(f"output={tmp_path}/two", "stream.num_workers=2", "training.micro_batch=4", *common)
    assert one.placed.encoders == two.placed.encoders == 0
    results = [trainer.train(plan) for plan in (one, two)]
    mine, theirs = (load_file(plan.folder / "last" / "adapter.safetensors") for plan in (one, two))
    assert mine.keys() == LEARNED and mine["biases.0"].abs().max() > 1e-3
    assert_close(mine, theirs)
    assert results[0]["confusion"] == results[1]["confusion"] and results[0]["counts"] == results[1]["counts"]
    assert results[0]["counts"]["quarantined"] == 0
