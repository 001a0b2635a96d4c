"""Typed, validated experiment config: every field with its default (config_file.py reads it from YAML and overrides).

Every hyper-parameter of the method, the data and the placement is a field here; its default is the paper's value
where the paper gives one. Unknown keys, wrong types and out-of-range values raise `InputError` naming the key.
`Experiment.content_hash()` identifies what is computed, not where.
"""

import hashlib
import json
import math
from typing import Literal

import yaml
from pydantic import Field, field_validator, model_validator

from .config_where import Place, Section, Stream, Tracking


class Data(Section):
    """Which clips: annotation format and where the files are (paths relative to `root`)."""

    format: Literal["something_something", "kinetics", "class_folders", "csv", "epic_kitchens", "manifest"] = (
        "something_something"
    )
    root: Place = Field("", description="folder or fsspec URL that holds annotations and videos")
    train: Place | None = Field(None, description="training annotations; default: the format's own name")
    val: Place | None = Field(None, description="validation annotations; default: the format's own name")
    labels: Place | None = Field(None, description="SSv2 labels.json; default: the format's own name")
    videos: Place | None = Field(None, description="folder of the video files; default: the format's own")
    path_column: str = "path"  # format csv
    label_column: str | list[str] = Field(
        "label", description="format csv: one column, or two: [of the verb, of the noun]"
    )
    split_column: str = "split"  # format csv
    holdout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of every class's training clips to validate on, in place of the validation clips",
    )
    fraction: float = Field(
        1.0, gt=0, le=1, description="share of the training clips used, drawn per class under the seed"
    )

    @field_validator("label_column")
    @classmethod
    def _one_or_two(cls, value: str | list[str]) -> str | list[str]:
        if isinstance(value, list) and (len(set(value)) != 2 or len(value) != 2 or not all(value)):
            raise ValueError(f"{value} is neither one column nor two, such as [verb, noun]")
        return value

    @property
    def label_columns(self) -> dict[str, str]:
        """Head -> the column of a CSV file that labels it; "" where there are no labels."""
        if isinstance(self.label_column, str):
            return {"label": self.label_column}
        return dict(zip(("verb_label", "noun_label"), self.label_column, strict=True))


class Sampling(Section):
    """Which frames of a clip."""

    mode: Literal["uniform", "dense"] = "uniform"
    frames: int = Field(8, ge=1, description="T, frames a clip")
    stride: int = Field(8, ge=1, description="dense only: distance of neighbouring frames")
    short_clips: Literal["repeat", "quarantine"] = "repeat"
    decoder: Literal["auto", "pyav", "decord"] = Field(
        "auto",
        description="auto: PyAV, which refuses what is damaged; decord: where it is exact on whole files, whose damage it paints over",
    )


class Transform(Section):
    """Spatial transforms, the same for all frames of a clip."""

    size: int | None = Field(None, ge=8, description="crop side in pixels; default: the backbone's input size")
    min_scale: float = Field(0.5, gt=0, le=1, description="random resized crop: least share of the area")
    flip: bool | None = Field(
        None, description="random horizontal flip; default: by data set (off where direction is the label)"
    )
    randaugment: bool = False
    randaugment_magnitude: int = Field(7, ge=0, le=30)


class Backbone(Section):
    """The frozen image encoder."""

    library: Literal["small_clip", "open_clip", "timm"] = "open_clip"
    name: str = Field("ViT-B-16-quickgelu", description="model name in its library; ignored by small_clip")
    pretrained: str | None = Field(
        None, description="open_clip pretrained tag, or 'default' for timm's own weights (downloads)"
    )
    weights: Place | None = Field(
        None, description="local weights file (.safetensors, or .pt/.bin read with weights_only)"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="on GPUs; auto: bfloat16, or float16 on those without it. CPUs compute in float32, since less takes longer there",
    )


class Model(Section):
    """The adapter (sections 3.1 and 3.2); every ablation switch of the paper's tables is here."""

    width: int | None = Field(None, ge=8, description="slot width d; default: the joint width J")
    num_slots: int | Literal["none"] = Field(
        8, description="K; 1: mean patch, no slot attention; none: patches are the tokens"
    )
    iterations: int = Field(3, ge=1, description="slot-attention iterations R")
    slot_mlp: bool = Field(False, description="residual MLP after each GRU update")
    implicit: bool = Field(
        True, description="detach slots before the last iteration (bi-level / implicit slot attention)"
    )
    object_interaction: bool = True
    heads: int = Field(8, ge=1)
    ffn_ratio: float = Field(2.5, gt=0, description="FFN width over d in the interaction layers")
    temporal: Literal["state_change", "attention", "none"] = "state_change"
    interval: int | Literal["all"] | None = Field(None, description="dt; default max(1, T // 4)")
    readout: Literal["mean", "max"] = Field("mean", description="pooling over state-change vectors")

    @model_validator(mode="after")
    def _check(self):
        if isinstance(self.num_slots, int) and self.num_slots < 1:
            raise ValueError("num_slots: must be at least 1, or 'none'")
        if isinstance(self.interval, int) and self.interval < 1:
            raise ValueError("interval: must be at least 1, or 'all'")
        return self


class Distillation(Section):
    """Object distillation loss, Eq. 7-8."""

    weight: float = Field(0.2, ge=0)
    slot_temperature: float = Field(0.1, gt=0, description="tau of Eq. 7")
    contrast_temperature: float = Field(0.07, gt=0, description="temperature of the InfoNCE of Eq. 8")
    symmetric: bool = Field(False, description="slots of other clips are negatives too (early code)")


class Temporal(Section):
    """Temporal reasoning loss, Eq. 9."""

    weight: float = Field(0.2, ge=0)
    margin: float = Field(0.3, ge=0)
    margin_form: Literal["triplet", "hinge_negatives"] = "triplet"
    num_positives: int = Field(4, ge=1, description="clips of the same action sampled a query clip")
    num_negatives: int = Field(8, ge=1, description="clips of other actions sampled a query clip")


class Objective(Section):
    """Weights of the total loss (Eq. 10)."""

    classification: float = Field(1.0, ge=0)
    distillation: Distillation = Distillation()
    temporal: Temporal = Temporal()
    mask_overlap: float = Field(
        0.0, ge=0, description="weight of the mask-overlap penalty (early code 0.05; absent from the paper)"
    )


class Training(Section):
    """Optimiser, schedule, batches (section 4.1)."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(64, ge=2, description="global batch, over all workers; other clips of it are the negatives")
    micro_batch: int | None = Field(
        None, ge=1, description="clips of a worker's share computed at once, to save memory; default: all of them"
    )
    optimiser: Literal["adamw", "sgd"] = "adamw"
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only")
    lr: float = Field(1e-4, gt=0)
    min_lr: float = Field(1e-5, ge=0)
    weight_decay: float = Field(0.1, ge=0)
    warmup_epochs: float = Field(
        2,
        ge=0,
        description="epochs of linear warm-up; half of the training at the most, which is said where it is less",
    )
    clip_norm: float | None = Field(1.0, gt=0)
    clips_per_class: int | None = Field(
        None, ge=2, description="Q; a batch is batch_size / Q groups of Q clips of one class"
    )
    validate_every: int = Field(
        1, ge=1, description="epochs between validations; the last is always validated; best/ is of those there were"
    )
    autocast: bool = Field(True, description="bf16 autocast; on GPUs only")

    @property
    def warmup(self) -> float:
        """Epochs of warm-up in force: a training that ends in its warm-up would never reach `lr`."""
        return min(float(self.warmup_epochs), self.epochs / 2)


class Evaluation(Section):
    """Multi-view testing: probabilities are averaged over temporal clips x spatial crops."""

    temporal_clips: int = Field(1, ge=1)
    spatial_crops: Literal[1, 3] = 1
    reverse: bool = Field(False, description="play the frames backwards (a control, not a result)")

    @property
    def label(self) -> str:
        """Its settings as part of the name of a file, each spelled out."""
        return "_".join(f"{name}-{value}" for name, value in self.model_dump(mode="json").items())


class Experiment(Section):
    """One config + one seed = one run."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="letters, digits, '.', '_', '-'")
    seed: int = Field(0, ge=0)
    output: Place = Field(
        "outputs",
        description="folder for checkpoints, records and the default MLflow store; on a cluster, one that all nodes share",
    )
    data: Data = Data()
    sampling: Sampling = Sampling()
    transform: Transform = Transform()
    backbone: Backbone = Backbone()
    model: Model = Model()
    objective: Objective = Objective()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    stream: Stream = Stream()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _check(self):
        frames, interval = self.sampling.frames, self.model.interval
        if self.model.temporal == "state_change":
            if frames < 2:
                raise ValueError("sampling.frames: state changes need at least 2 frames; use model.temporal=none for 1")
            if isinstance(interval, int) and interval > frames - 1:
                raise ValueError(
                    f"model.interval: {interval} is not below sampling.frames = {frames}; use 1 .. {frames - 1} or 'all'"
                )
        lr, least = self.training.lr, self.training.min_lr
        if least > lr:
            raise ValueError(
                f"training.min_lr: {least:g} is above training.lr = {lr:g}, from which the rate falls to it; lower it, or raise training.lr"
            )
        quota = self.training.clips_per_class
        if quota and self.training.batch_size % quota:
            raise ValueError(
                f"training.batch_size: {self.training.batch_size} is not a multiple of training.clips_per_class = {quota}"
            )
        least, most = self.stream.worker_range
        whole = math.lcm(*range(least, most + 1))
        if self.training.batch_size % whole:
            every = f"{whole}, so that each number of workers shares it evenly: " if least < most else ""
            raise ValueError(
                f"training.batch_size: {self.training.batch_size} is not a multiple of {every}stream.num_workers = {self.stream.num_workers}"
            )
        if most > 1 and self.stream.trainer_gpus != "auto" and 0 < self.stream.trainer_gpus < 1:
            raise ValueError(
                "stream.trainer_gpus: several training workers need a whole GPU each (NCCL); use 1, 0 for CPUs, or auto"
            )
        for key, place in (("output", self.output), ("stream.cache", self.stream.cache)):
            if place and "://" in place:
                raise ValueError(f"{key}: {place!r} is a URL; give a folder (on a cluster, one that all nodes share)")
        return self

    @property
    def interval(self) -> int | Literal["all"]:
        """dt in force: the configured one, or T // 4 (at least 1)."""
        return self.model.interval or max(1, self.sampling.frames // 4)

    def content_hash(self) -> str:
        """12 hex digits that change with every setting that changes the result, and with nothing else.

        Left out: names, places, the placement of the stream; data and weights, which have hashes of their own; what only looks
        at a training, which are the testing views and how often it is validated.
        """
        places = {"name": True, "output": True, "stream": True, "tracking": True}
        files = {"data": True, "backbone": {"weights", "pretrained"}}  # their content has hashes of its own
        looks = {"evaluation": True, "training": {"validate_every"}}
        content = self.model_dump(mode="json", exclude=places | files | looks)
        content["training"]["warmup_epochs"] = self.training.warmup
        content["hold_views"] = self.stream.views if self.stream.hold or self.stream.cache else None
        if self.stream.cache:  # its views were drawn under seed 0, so that all seeds can share them
            content["cache"] = self.stream.storage
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def to_yaml(self) -> str:
        """The resolved config, every field spelled out; `load_config` reads it back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
