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

from .config_methods import AnyMethod, ObjectCentric, named
from .config_where import Count, Place, Section, Stream, Tracking
from .identity import differing

NOT_COUNTED = frozenset(  # settings and sections that decide nothing of what is computed; `content_hash` says why
    "name output stream tracking data backbone.weights backbone.pretrained evaluation training.validate_every".split()
)


class Data(Section):
    """Which clips: annotation format and where the files are (paths relative to `root`)."""

    format: Literal["something_something", "kinetics", "class_folders", "csv", "epic_kitchens", "manifest"] = Field(
        "something_something", description="how its annotations are written; class_folders: a folder a class"
    )
    root: Place = Field("", description="folder or fsspec URL that holds annotations and videos")
    train: Place | None = Field(None, description="training annotations; default: the format's own name")
    val: Place | None = Field(None, description="validation annotations; default: the format's own name")
    labels: Place | None = Field(None, description="SSv2 labels.json; default: the format's own name")
    videos: Place | None = Field(None, description="folder of the video files; default: the format's own")
    path_column: str = Field("path", description="format csv: column of the video files")
    label_column: str | list[str] = Field(
        "label", description="format csv: one column, or two: [of the verb, of the noun]"
    )
    split_column: str = Field("split", description="format csv: column that says train, val or test")
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

    mode: Literal["uniform", "dense"] = Field(
        "uniform", description="uniform: one frame of each of T equal parts of the clip; dense: every stride-th frame"
    )
    frames: int = Field(8, ge=1, description="T, frames a clip")
    stride: int = Field(8, ge=1, description="dense only: distance of neighbouring frames")
    short_clips: Literal["repeat", "quarantine"] = Field(
        "repeat", description="clips with fewer frames than asked for: repeat frames, or leave the clip out"
    )
    decoder: Literal["auto", "pyav", "decord"] = Field(
        "auto",
        description="auto: PyAV, which refuses what is damaged; decord: where it is exact on whole files,"
        " whose damage it paints over",
    )


class Transform(Section):
    """Spatial transforms, the same for all frames of a clip."""

    size: int | None = Field(None, ge=8, description="crop side in pixels; default: the backbone's input size")
    min_scale: float = Field(0.5, gt=0, le=1, description="random resized crop: least share of the area")
    flip: bool | None = Field(
        None, description="random horizontal flip; default: by data set (off where direction is the label)"
    )
    randaugment: bool = Field(False, description="RandAugment of training clips")
    randaugment_magnitude: int = Field(7, ge=0, le=30, description="how strongly RandAugment changes a clip")


class Backbone(Section):
    """The frozen image encoder."""

    library: Literal["small_clip", "open_clip", "timm"] = Field(
        "open_clip", description="where the encoder is from; small_clip ships with objadapt"
    )
    name: str = Field("ViT-B-16-quickgelu", description="model name in its library; ignored by small_clip")
    pretrained: str | None = Field(
        None, description="open_clip pretrained tag, or 'default' for timm's own weights (downloads)"
    )
    weights: Place | None = Field(
        None, description="local weights file (.safetensors, or .pt/.bin read with weights_only)"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="on GPUs; auto: bfloat16, or float16 on those without it. CPUs compute in float32,"
        " since less takes longer there",
    )


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

    @property
    def warmup(self) -> float:
        """Epochs of warm-up in force: a training that ends in its warm-up would never reach `lr`."""
        return min(float(self.warmup_epochs), self.epochs / 2)


class Evaluation(Section):
    """Multi-view testing: probabilities are averaged over temporal clips x spatial crops."""

    temporal_clips: int = Field(1, ge=1, description="views of a clip in time")
    spatial_crops: Literal[1, 3] = Field(1, description="views of a clip in space: the centre, or three along it")
    reverse: bool = Field(False, description="play the frames backwards (a control, not a result)")

    @property
    def label(self) -> str:
        """Its settings as part of the name of a file, each spelled out."""
        return "_".join(f"{name}-{value}" for name, value in self.model_dump(mode="json").items())


class Experiment(Section):
    """One config + one seed = one run."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="letters, digits, '.', '_', '-'")
    seed: int = Field(0, ge=0, description="of the initial weights, the order of clips and their augmentation")
    output: Place = Field(
        "outputs",
        description="folder for checkpoints, records and the default MLflow store; on a cluster,"
        " one that all nodes share",
    )
    data: Data = Data()
    sampling: Sampling = Sampling()
    transform: Transform = Transform()
    backbone: Backbone = Backbone()
    method: AnyMethod = ObjectCentric()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    stream: Stream = Stream()
    tracking: Tracking = Tracking()

    @field_validator("method", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return named(value)

    @model_validator(mode="after")
    def _check(self):
        self.method.check(self.sampling.frames)
        lr, least = self.training.lr, self.training.min_lr
        if least > lr:
            raise ValueError(
                f"training.min_lr: {least:g} is above training.lr = {lr:g}, from which the rate falls to it; lower it,"
                " or raise training.lr"
            )
        quota = self.training.clips_per_class
        if quota and self.training.batch_size % quota:
            raise ValueError(
                f"training.batch_size: {self.training.batch_size} is not a multiple of training.clips_per_class ="
                f" {quota}"
            )
        least, most = self.stream.worker_range
        whole = math.lcm(*range(least, most + 1))
        if self.training.batch_size % whole:
            every = f"{whole}, so that each number of workers shares it evenly: " if least < most else ""
            raise ValueError(
                f"training.batch_size: {self.training.batch_size} is not a multiple of {every}stream.num_workers ="
                f" {self.stream.num_workers}"
            )
        if most > 1 and self.stream.trainer_gpus != "auto" and 0 < self.stream.trainer_gpus < 1:
            raise ValueError(
                "stream.trainer_gpus: several training workers need a whole GPU each (NCCL); use 1, 0 for CPUs, or auto"
            )
        for key, place in (("output", self.output), ("stream.cache", self.stream.cache)):
            if place and "://" in place:
                raise ValueError(f"{key}: {place!r} is a URL; give a folder (on a cluster, one that all nodes share)")
        return self

    def content_hash(self) -> str:
        """12 hex digits that change with every setting that changes the result, and with nothing else."""
        return hashlib.sha256(json.dumps(self.counted(), sort_keys=True).encode()).hexdigest()[:12]

    def counted(self) -> dict[str, object]:
        """The settings that change the result and are not at their default, by key.

        Settings at their default count for nothing, so that a new one changes no hash (identity.py). Left out: names,
        places, the placement of the stream; data and weights, which have hashes of their own; what only looks at a
        training, which are the testing views and how often it is validated.
        """
        warmup = self.training.model_copy(update={"warmup_epochs": self.training.warmup})
        content = differing(self.model_copy(update={"training": warmup}), NOT_COUNTED)
        if self.stream.hold or self.stream.cache:
            content["hold_views"] = self.stream.views
        if self.stream.cache:  # its views were drawn under seed 0, so that all seeds can share them
            content["cache"] = self.stream.storage
        return content

    def to_yaml(self) -> str:
        """The resolved config, every field spelled out; `load_config` reads it back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
