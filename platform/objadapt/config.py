"""Typed, validated experiment config: every field with its default (config_file.py reads it from YAML and overrides).

Every hyper-parameter of the method, the data and the placement is a field here; its default is the paper's value
where the paper gives one. Unknown keys, wrong types and out-of-range values raise `InputError` naming the key.
`Experiment.content_hash()` identifies what is computed, not where.
"""

import hashlib
import json
from typing import Literal

import yaml
from pydantic import Field, field_validator, model_validator

from .config_methods import AnyMethod, ObjectCentric, named
from .config_training import Training
from .config_where import Place, Section, Stream, Tracking
from .identity import differing

NOT_COUNTED = frozenset(  # settings and sections that decide nothing of what is computed; `content_hash` says why
    "name output stream tracking data backbone.weights backbone.pretrained evaluation training.validate_every".split()
)


class Data(Section):
    """Which clips: annotation format and where the files are (paths relative to `root`)."""

    format: Literal[
        "something_something",
        "kinetics",
        "class_folders",
        "csv",
        "epic_kitchens",
        "shards",
        "manifest",
        "ucf101",
        "hmdb51",
        "jhmdb",
        "diving48",
        "video_list",
    ] = Field(
        "something_something",
        description="how its annotations are written; class_folders: a folder a class; shards: tar files in"
        " WebDataset's layout; video_list: mmaction2's and PySlowFast's lists",
    )
    root: Place = Field("", description="folder or fsspec URL that holds annotations and videos")
    train: Place | None = Field(None, description="training annotations; default: the format's own name")
    val: Place | None = Field(
        None, description="validation annotations; default: the format's own name; '': none, with holdout"
    )
    test: Place | None = Field(
        None, description="test annotations, with labels or without, of kinetics, epic_kitchens and video_list"
    )
    labels: Place | None = Field(
        None,
        description="names of the classes: SSv2 labels.json, UCF101 classInd.txt, Diving48_vocab.json, a list's"
        " label_map.txt; default: the format's own name",
    )
    videos: Place | None = Field(None, description="folder of the video files; default: the format's own")
    split: int = Field(
        1, ge=1, le=3, description="which official split, of UCF101, HMDB51 and J-HMDB, which have three"
    )
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
    random_erasing: float = Field(
        0.0, ge=0, le=1, description="share of training clips of which a box, the same in all frames, becomes noise"
    )


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
    features: Literal["tokens", "keys"] = Field(
        "tokens", description="patch tokens behind the last block, or keys of the last attention"
    )
    pruning: int = Field(
        0,
        ge=0,
        multiple_of=4,
        description="r, patch tokens a frame that STA drops behind block 0 (half of r at L / 3, a quarter at 2L / 3)",
    )


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
    seed: int = Field(
        0, ge=0, lt=2**63, description="of the initial weights, the order of clips and their augmentation"
    )
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
        least, most = self.stream.worker_range
        self.training.check(least, most, str(self.stream.num_workers))
        stored = self.stream.views if self.stream.hold or self.stream.cache else None
        if stored and self.training.repeats > stored:
            raise ValueError(
                f"training.repeats: {self.training.repeats} views of a clip in a batch, but stream.views = {stored} are"
                " stored; raise stream.views"
            )
        if self.backbone.pruning and self.backbone.features == "keys":
            raise ValueError("backbone.pruning: keys of the last attention are not pruned; leave one of both out")
        if not self.method.classifies:
            given = {"patience": self.training.patience, "mixup": self.training.mixup, "cutmix": self.training.cutmix}
            given |= {"class_balance": self.training.class_balance == "loss"}
            if taken := [name for name, value in given.items() if value]:
                raise ValueError(f"training.{taken[0]}: {self.method.name} learns without classes; leave it out")
        if self.training.patience and not self.data.holdout:
            raise ValueError(
                "training.patience: the clips that end a training must not be those it is judged by; hold some out,"
                " such as data.holdout=0.2, and judge by python jobs/evaluate.py"
            )
        if most > 1 and self.stream.trainer_gpus != "auto" and 0 < self.stream.trainer_gpus < 1:
            raise ValueError(
                "stream.trainer_gpus: several training workers need a whole GPU each (NCCL); use 1, 0 for CPUs, or auto"
            )
        for key, place in (("output", self.output), ("stream.cache", self.stream.cache)):
            if place and "://" in place:
                raise ValueError(f"{key}: {place!r} is a URL; give a folder (on a cluster, one that all nodes share)")
        if "://" in (kept := self.stream.download_cache or ""):
            raise ValueError(f"stream.download_cache: {kept!r} is a URL; give a folder, which each node has for itself")
        return self

    @property
    def changes_objective(self) -> bool:
        """Whether a training learns from more than the method's own losses (training/objective.py)."""
        training = self.training
        return training.mixes or training.class_balance == "loss" or getattr(self.method, "label_smoothing", 0) > 0

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
        looks = {"evaluation", "training.validate_every"} if self.training.patience else set()  # they end the training
        content = differing(self.model_copy(update={"training": warmup}), NOT_COUNTED - looks)
        if self.stream.hold or self.stream.cache:
            content["hold_views"] = self.stream.views
        if self.stream.cache:  # its views were drawn under seed 0, so that all seeds can share them
            content["cache"] = self.stream.storage
        return content

    def to_yaml(self) -> str:
        """The resolved config, every field spelled out; `load_config` reads it back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
