"""A training is its config and seed: the same weights with one worker or two, and after any interruption."""

import json
import time

import pytest
import torch
from safetensors.torch import load_file

from objadapt.errors import InputError
from objadapt.run_folder import SAVE_REQUEST
from objadapt.training import checkpoint
from objadapt.training.trainer import train


def weights(plan) -> dict[str, torch.Tensor]:
    return load_file(plan.folder / "last" / "adapter.safetensors")


def assert_same_bits(one: dict, other: dict):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


class Interrupt:
    """A progress callback that ends the training at the n-th batch,
    with a checkpoint asked for at another one before.
    """

    def __init__(self, at: int, folder=None, save_at: int | None = None):
        self.calls, self.at, self.folder, self.save_at = 0, at, folder, save_at

    def __call__(self, what, done, total, note=""):
        self.calls += 1
        if self.calls == self.save_at:
            (self.folder / SAVE_REQUEST).touch()
        if self.calls == self.at:
            raise ConnectionAbortedError("cut off")


@pytest.fixture(scope="module")
def reference(tiny_plan, held, tmp_path_factory):
    """(plan, result) of 3 epochs of 4 batches, uninterrupted; each epoch is followed by 2 batches of validation."""
    plan = tiny_plan(f"output={tmp_path_factory.mktemp('reference')}", "training.epochs=3", "stream.hold=true")
    return plan, train(plan, held=held)


def test_a_training_changes_everything_that_learns_and_is_recorded(reference):
    plan, result = reference
    torch.manual_seed(0)
    start, end = plan.method().state_dict(), weights(plan)
    assert start.keys() == end.keys()
    assert all(end[name].isfinite().all() for name in end)
    unmoved = [name for name in end if torch.equal(start[name], end[name])]
    assert not unmoved
    state = checkpoint.read_state(plan.folder / "last")
    assert (state.epoch, state.step, state.global_step) == (3, 0, 12)
    assert result["counts"]["quarantined"] == 0 and result["val_clips"] == 16 and result["val_views"] == 1
    assert sum(map(sum, result["confusion"]["label"])) == 16
    best = checkpoint.read_state(plan.folder / "best")
    assert best.best["top1"] == state.best["top1"] >= state.metrics["val/top1"]


@pytest.mark.parametrize(
    "save_at, at, resumes_at",
    [
        (None, 3, (0, 0)),  # nothing saved yet
        (2, 4, (0, 2)),  # within the first epoch
        (None, 7, (1, 0)),  # at the first batch after a validation
        (9, 10, (1, 3)),  # within the second epoch: 6 batches an epoch with its validation
        (None, 11, (1, 0)),  # within the validation of the second epoch, whose weights are in no checkpoint
    ],
)
def test_an_interrupted_training_ends_with_the_same_weights(  # noqa: PLR0913 -- fixtures and parameters
    tiny_plan, held, reference, tmp_path, save_at, at, resumes_at
):
    plan = tiny_plan(f"output={tmp_path}", "training.epochs=3", "stream.hold=true")
    with pytest.raises(ConnectionAbortedError):
        train(plan, show=Interrupt(at, plan.folder, save_at), held=held)
    last = plan.folder / "last"
    if resumes_at == (0, 0):
        assert not last.exists()
    else:
        state = checkpoint.read_state(last)
        assert (state.epoch, state.step) == resumes_at
    assert not (plan.folder / SAVE_REQUEST).exists() and not (plan.folder / "result.json").exists()
    result = train(plan, held=held)
    assert_same_bits(weights(reference[0]), weights(plan))
    whole = reference[1]
    timed = ("train/data_wait_share", "train/clips_per_second")
    expected = {name: value for name, value in whole["state"]["metrics"].items() if name not in timed}
    got = {name: value for name, value in result["state"]["metrics"].items() if name not in timed}
    assert got == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert result["confusion"] == whole["confusion"]


@pytest.mark.slow
def test_a_training_off_the_stream_resumes_too(tiny_plan, local_ray, tmp_path):
    overrides = ["training.epochs=2", "method.temporal=none", "training.batch_size=16"]
    whole = tiny_plan(f"output={tmp_path}/whole", *overrides)
    train(whole)
    cut = tiny_plan(f"output={tmp_path}/cut", *overrides)
    with pytest.raises(ConnectionAbortedError):
        train(cut, show=Interrupt(5, cut.folder, save_at=4))  # 2 batches and 1 of validation an epoch
    assert checkpoint.read_state(cut.folder / "last").global_step == 3
    train(cut)
    assert_same_bits(weights(whole), weights(cut))


def test_a_checkpoint_of_another_model_is_refused(tiny_plan, held, reference, tmp_path):
    plan = tiny_plan(f"output={tmp_path}", "stream.hold=true", "method.width=32")
    with pytest.raises(InputError, match=r"checkpoint .*last: does not fit this config"):
        checkpoint.load(reference[0].folder / "last", plan.method())


def test_what_changes_the_result_changes_the_folder_and_nothing_else_does(tiny_plan):
    plain = tiny_plan()
    unchanged = [
        "stream.num_workers=2",
        "stream.prefetch_batches=0",
        "stream.clips_per_task=2",
        "tracking.experiment=other",
        "evaluation.temporal_clips=2",
        "evaluation.reverse=true",
        "training.validate_every=2",
    ]
    for same in unchanged:
        assert tiny_plan(same).folder == plain.folder, same
    others = [
        "training.lr=0.002",
        "seed=1",
        "method.slots.number=2",
        "data.fraction=0.5",
        "transform.flip=true",
        "stream.hold=true",
        "sampling.frames=5",
        "transform.size=48",
        "method.losses.temporal.weight=0",
    ]
    folders = {tiny_plan(other).folder for other in others} | {plain.folder}
    assert len(folders) == len(others) + 1


def test_the_folder_holds_what_was_trained(reference):
    plan, result = reference
    assert (plan.folder / "config.yaml").read_text() == plan.config.to_yaml()
    assert json.loads((plan.folder / "result.json").read_text()) == result
    assert type(plan.manifest).read(plan.folder / "manifest").content_hash() == plan.manifest.content_hash()


def test_a_loss_that_is_not_finite_ends_the_training_with_the_remedy(tiny_plan, held, tmp_path):
    wild = ["training.lr=1e30", "training.warmup_epochs=0", "training.clip_norm=null"]
    plan = tiny_plan(f"output={tmp_path}", "stream.hold=true", *wild)
    with pytest.raises(FloatingPointError, match=r"lower training\.lr|has diverged"):
        train(plan, held=held)


@pytest.mark.slow
def test_bad_input_that_the_workers_meet_is_not_tried_again(tiny_plan, tmp_path, local_ray):
    clips, calls = tmp_path / "clips", tmp_path / "calls"
    for number in range(8):
        path = clips / ("train" if number < 4 else "val") / f"class {number % 2}" / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no video")
    calls.mkdir()
    file = str(calls)

    def show(what, done, total, note=""):
        with open(f"{file}/{time.monotonic_ns()}", "w"):
            pass

    placed = ["data.format=class_folders", f"data.root={clips}", "stream.num_workers=1", "training.batch_size=4"]
    with pytest.raises(InputError, match="none of the 4 training clips can be used .the first: open"):
        train(tiny_plan(f"output={tmp_path}/out", *placed), show=show)
    assert len(list(calls.iterdir())) == 1  # a batch


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["held", "streamed"])
def test_two_ray_train_workers_end_where_one_in_this_process_does(tiny_plan, held, tmp_path, kept):
    """32 clips in batches of 12: the last batch is padded, so the workers' shares differ."""
    hold = ["stream.hold=true"] if kept == "held" else []
    common = [*hold, "training.batch_size=12", "training.lr=3e-4", "stream.clips_per_task=6"]
    one = tiny_plan(f"output={tmp_path}/one", *common)
    two = tiny_plan(f"output={tmp_path}/two", "stream.num_workers=2", *common)
    assert one.identity == two.identity
    results = [train(plan, held=held if hold else None) for plan in (one, two)]
    start, mine, theirs = one.method().state_dict(), weights(one), weights(two)
    moved = max(float((mine[name] - start[name]).abs().max()) for name in mine)
    apart = max(float((mine[name] - theirs[name]).abs().max()) for name in mine)
    assert apart < 1e-4 < moved, (apart, moved)
    for name, value in results[0]["state"]["metrics"].items():
        if name not in ("train/data_wait_share", "train/clips_per_second"):
            assert results[1]["state"]["metrics"][name] == pytest.approx(value, rel=1e-3, abs=1e-5, nan_ok=True), name
    assert results[0]["confusion"] == results[1]["confusion"]
    assert results[0]["counts"] == results[1]["counts"]
