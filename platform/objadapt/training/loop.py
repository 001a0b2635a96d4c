"""The training loop, in plain torch: batches in, metrics out.

Ray, MLflow and checkpoints are handed in as callbacks.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..config import Training
from ..evaluation.recognition import Recognition, Scores
from ..methods.distributed import sum_over_workers, workers
from ..methods.method import INPUTS, Method


@dataclass
class Progress:
    """Where training stands; together with weights and optimiser state it determines everything that follows."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done of the next one
    global_step: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # running sums of the unfinished epoch


class LossModule(nn.Module):
    """Forward and losses as one call, so that DistributedDataParallel sees every parameter at work.

    It returns the losses alone: a parameter that only another output leads to would be waited for in vain.
    """

    def __init__(self, method: Method):
        super().__init__()
        self.method = method

    def forward(self, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor]) -> dict[str, Tensor]:
        """-> losses of `method`."""
        return self.method.losses(self.method(batch), batch, step, counts)


def build_optimiser(method: Method, training: Training) -> torch.optim.Optimizer:
    """AdamW, whose weight decay shrinks the weights, or SGD with momentum,
    whose weight decay is part of the gradient.
    """
    groups = method.parameter_groups(training)
    if training.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=training.lr, momentum=training.momentum)
    return torch.optim.AdamW(groups, lr=training.lr)


def learning_rate(training: Training, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up to lr, then cosine from lr to min_lr over the remaining steps; `step` counts from 0."""
    warmup = training.warmup * steps_per_epoch  # may end within a step
    total = training.epochs * steps_per_epoch
    if step < warmup:
        return training.lr * min(1.0, (step + 1) / warmup)
    progress = (step - warmup) / max(1, total - warmup)
    return training.min_lr + (training.lr - training.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def to_device(batch: dict[str, Tensor], device: torch.device, method: Method) -> dict[str, Tensor]:
    """Move what the method needs."""
    names = (*INPUTS[method.inputs], "labels", "valid", "row")
    return {name: batch[name].to(device, non_blocking=True) for name in names}


def seed_step(seed: int, step: int) -> None:
    """Make what this worker draws in a step, such as dropout, a function of the run's seed,
    the step and its rank alone.
    """
    (state,) = np.random.SeedSequence([seed, step, workers()[0]]).generate_state(1, np.uint64)
    torch.manual_seed(int(state))


def global_counts(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Clips of the batches of all workers together: "valid" int64 [],
    and with a label of each head "labelled" int64 [heads].
    """
    labelled = ((batch["labels"] >= 0) & batch["valid"][:, None]).sum(dim=0)
    valid, *heads = sum_over_workers(torch.cat([batch["valid"].sum()[None], labelled])).unbind()
    return {"valid": valid, "labelled": torch.stack(heads)}


def accumulate(
    module: nn.Module, batch: dict[str, Tensor], step: int, size: int | None, autocast: AbstractContextManager
) -> dict[str, Tensor]:
    """This worker's share of the losses, with their gradients added to the parameters': of `size` clips at a time.

    A loss of a method that `splits_batches` is a sum over clips, divided by the counts of the whole batch, so the parts
    add up to the whole. Workers exchange their gradients behind the last part.
    """
    counts, world = global_counts(batch), workers()[1]
    starts = range(0, len(batch["row"]), size or len(batch["row"]))
    sums: dict[str, Tensor] = {}
    for start in starts:
        part = {name: values[start : start + starts.step] for name, values in batch.items()}
        wait = start != starts[-1] and world > 1
        with module.no_sync() if wait else nullcontext():  # pyright: ignore[reportCallIssue]  # `wait`: it is DDP
            with autocast:
                losses = module(part, step, counts)
            (losses["total"] * world).backward()  # DDP averages gradients; ours must add up
        for name, value in losses.items():
            sums[name] = sums[name] + value.detach() if name in sums else value.detach()
    return sums


def train_epoch(  # noqa: PLR0913 -- plain torch: nothing here gathers them
    module: nn.Module,
    batches: Iterable[dict[str, Tensor]],
    optimiser: torch.optim.Optimizer,
    training: Training,
    progress: Progress,
    steps_per_epoch: int,
    device: torch.device,
    on_batch: Callable[[dict[str, Tensor], dict[str, float]], None],
    seed: int = 0,
) -> dict[str, float]:
    """Train on the rest of one epoch; `progress` is brought up to date step by step.

    Args:
        module: `LossModule`, wrapped by DDP where there are several workers.
        batches: this worker's batches; each loss is its share of the global batch's (methods/distributed.py).
        on_batch: called after each step with the batch and the step's metrics, the same on every worker.
        seed: of the run.

    Returns:
        Means over the epoch's steps: losses, `lr`, `grad_norm`; `data_wait_share`, the share of time spent waiting for
        batches; `clips_per_second` over all workers.
    """
    module.train()
    method = getattr(module, "module", module).method
    autocast = torch.autocast("cuda", torch.bfloat16) if training.autocast and device.type == "cuda" else nullcontext()
    sums = defaultdict(float, progress.sums)
    asked = time.perf_counter()
    for batch in batches:
        arrived = time.perf_counter()
        here = to_device(batch, device, method)  # pyright: ignore[reportArgumentType]  # of `LossModule`
        lr = learning_rate(training, progress.global_step, steps_per_epoch)
        for group in optimiser.param_groups:
            group["lr"] = lr * group.get("pace", 1.0)
        optimiser.zero_grad(set_to_none=True)
        seed_step(seed, progress.global_step)
        losses = accumulate(module, here, progress.global_step, training.micro_batch, autocast)
        norm = clip_gradients(module, optimiser, training.clip_norm)
        optimiser.step()
        shares = torch.stack([*(value.float() for value in losses.values()), here["valid"].sum().float()])
        *values, clips = sum_over_workers(shares).tolist()
        metrics = dict(zip(losses, values)) | {"grad_norm": norm, "lr": lr}  # noqa: B905 -- same code, same version
        if not math.isfinite(metrics["total"]):
            raise FloatingPointError(f"loss is {metrics['total']} at step {progress.global_step}; lower training.lr")
        progress.step, progress.global_step = progress.step + 1, progress.global_step + 1
        done = time.perf_counter()
        for name, value in metrics.items() | {
            ("wait_seconds", arrived - asked),
            ("seconds", done - asked),
            ("clips", clips),
        }:
            sums[name] += value
        progress.sums = dict(sums)
        on_batch(batch, metrics)
        asked = time.perf_counter()
    waited, seconds, clips = (sums.pop(name) for name in ("wait_seconds", "seconds", "clips"))
    means = {name: value / progress.step for name, value in sums.items()}
    progress.epoch, progress.step, progress.sums = progress.epoch + 1, 0, {}
    return means | {"data_wait_share": waited / seconds, "clips_per_second": clips / seconds}


def clip_gradients(module: nn.Module, optimiser: torch.optim.Optimizer, limit: float | None) -> float:
    """Scale gradients down to a norm of `limit`; -> the norm before.

    Groups of the optimiser that are `apart` have a norm of their own: a classifier that learns beside a method would
    else learn less, the larger the method's gradients are. It is not in what is returned.
    """
    limit = math.inf if limit is None else limit
    apart = [one for group in optimiser.param_groups if group.get("apart") for one in group["params"]]
    own = set(map(id, apart))
    norm = nn.utils.clip_grad_norm_([one for one in module.parameters() if id(one) not in own], limit)
    nn.utils.clip_grad_norm_(apart, limit)
    return norm.item()


@torch.no_grad()
def validate(
    method: Method,
    batches: Iterable[dict[str, Tensor]],
    heads: dict[str, int],
    device: torch.device,
    on_batch: Callable[[dict[str, Tensor], dict[str, float]], None],
) -> Scores:
    """Multi-view scores over the validation batches of all workers."""
    method.eval()
    recognition = Recognition(heads)
    for batch in batches:
        here = to_device(batch, device, method)
        recognition.update(method(here).logits, here)
        on_batch(batch, {})
    return recognition.compute()


def distribute(method: Method, device: torch.device) -> nn.Module:
    """`LossModule(method)`, in DistributedDataParallel where there is more than one worker."""
    module = LossModule(method)
    if workers()[1] == 1:
        return module
    return nn.parallel.DistributedDataParallel(
        module,
        device_ids=[device.index] if device.type == "cuda" else None,
        find_unused_parameters=method.leaves_unused,
    )


def merge_objects(value: object) -> list[object]:
    """The value of every worker, in rank order, on each of them."""
    world = workers()[1]
    if world == 1:
        return [value]
    everyone: list[object] = [None] * world
    dist.all_gather_object(everyone, value)
    return everyone
