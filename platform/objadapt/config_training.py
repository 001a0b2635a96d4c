"""The config section of the training: optimiser, schedule, batches, and what keeps it from learning clips by heart."""

import math
from typing import Literal

from pydantic import Field

from .config_where import Count, Section


class Training(Section):
    """Optimiser, schedule, batches (section 4.1)."""

    epochs: Count = Field(
        30, ge=1, description="times that each training clip is seen; auto: as many as make 500 steps, 20 at the least"
    )
    batch_size: Count = Field(
        64,
        ge=2,
        description="global batch, over all workers; other clips of it are the negatives; auto: so many that an epoch"
        " has at least 5 steps",
    )
    micro_batch: int | None = Field(
        None, ge=1, description="clips of a worker's share computed at once, to save memory; default: all of them"
    )
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="what updates the weights")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only")
    lr: float = Field(1e-4, gt=0, description="learning rate after the warm-up")
    min_lr: float = Field(1e-5, ge=0, description="learning rate at the end, to which a half cosine falls")
    weight_decay: float = Field(0.1, ge=0, description="of matrices; biases and norms have none")
    warmup_epochs: float = Field(
        2,
        ge=0,
        description="epochs of linear warm-up; half of the training at the most, which is said where it is less",
    )
    clip_norm: float | None = Field(1.0, gt=0, description="greatest norm of the gradient; null: any")
    clips_per_class: int | None = Field(
        None, ge=2, description="Q; a batch is batch_size / Q groups of Q clips of one class"
    )
    validate_every: int = Field(
        1, ge=1, description="epochs between validations; the last is always validated; best/ is of those there were"
    )
    autocast: bool = Field(True, description="bf16 autocast; on GPUs only")
    class_balance: Literal["none", "sampling", "loss"] = Field(
        "none",
        description="sampling: an epoch has as many places for each class of the first label, and goes through a class"
        " with few clips several times; loss: under each label, clips of rare classes have more weight in the gradient"
        " of the classification, while the losses that are shown stay plain means",
    )
    class_balance_beta: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="loss only: a class weighs (1 - beta) / (1 - beta^n) with n clips (Cui et al. 2019); null: 1 / n",
    )
    mixup: float = Field(
        0.0, ge=0, description="alpha of the Beta distribution by which two clips and their labels are mixed; 0: none"
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        description="alpha of the share of a clip that a box of another takes, in all frames; with mixup each step"
        " draws one of both",
    )
    repeats: int = Field(
        1,
        ge=1,
        description="times that a clip is in a batch, under other augmentations; an epoch has as many times the steps",
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay, at each step, of the mean of the weights that is validated and kept; 0: the weights"
        " themselves",
    )
    patience: int | None = Field(
        None, ge=1, description="epochs without a better validation, after which the training ends; needs data.holdout"
    )

    @property
    def warmup(self) -> float:
        """Epochs of warm-up in force: a training that ends in its warm-up would never reach `lr`."""
        return min(float(self.warmup_epochs), self.epochs / 2)

    @property
    def mixes(self) -> bool:
        """Whether clips are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0

    def unit(self, workers: int) -> int:
        """What `batch_size` is a multiple of, so that groups, pairs and repeats of clips are whole.

        Args:
            workers: a multiple of every number of workers there may be. A pair of mixed clips, or of groups of one
                class, lies with one of them.
        """
        group = self.clips_per_class or 1
        shared = 2 * group * workers if self.mixes else math.lcm(group, workers)
        return math.lcm(self.repeats, shared)

    def check(self, least: int, most: int, asked: str) -> None:
        """ValueError, which begins with the key, where these settings do not go together.

        Args:
            least, most: numbers of workers.
            asked: `stream.num_workers`.
        """
        quota, whole = self.clips_per_class, math.lcm(*range(least, most + 1))
        if quota and self.batch_size % quota:
            raise ValueError(
                f"training.batch_size: {self.batch_size} is not a multiple of training.clips_per_class = {quota}"
            )
        if self.batch_size % whole:
            every = f"{whole}, so that each number of workers shares it evenly: " if least < most else ""
            raise ValueError(
                f"training.batch_size: {self.batch_size} is not a multiple of {every}stream.num_workers = {asked}"
            )
        for key, value in (("repeats", self.repeats > 1), ("class_balance", self.class_balance == "sampling")):
            if quota and value:
                raise ValueError(
                    f"training.{key}: training.clips_per_class = {quota} arranges the batches already; use one of both"
                )
        if self.batch_size % self.repeats:
            raise ValueError(
                f"training.batch_size: {self.batch_size} is not a multiple of training.repeats = {self.repeats}"
            )
        if self.mixes and self.batch_size % self.unit(whole):
            raise ValueError(
                f"training.batch_size: {self.batch_size} is not a multiple of {self.unit(whole)}, so that each worker"
                " has whole pairs of clips to mix; change it, or set training.mixup and training.cutmix to 0"
            )
        pair = 2 * (quota or 1)
        if self.mixes and self.micro_batch and self.micro_batch % pair:
            raise ValueError(
                f"training.micro_batch: {self.micro_batch} is not a multiple of {pair}, a pair of clips to mix"
            )
