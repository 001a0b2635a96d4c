"""The config section of each method, told apart by `method.name`; `methods/build.py` builds what they describe."""

import re
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from .config_discovery import SMTC, SSLUVOS, MotionLayers
from .config_peers import (
    AIM,
    EVL,
    AttentiveProbe,
    LinearProbe,
    MethodSection,
    STAdapter,
    TemporalTransformer,
    TimeSformer,
)
from .config_where import Section


class Slots(Section):
    """Slot attention (section 3.1)."""

    number: int | Literal["none"] = Field(
        8, description="K; 1: mean patch, no slot attention; none: patches are the tokens"
    )
    iterations: int = Field(3, ge=1, description="slot-attention iterations R")
    mlp: bool = Field(False, description="residual MLP after each GRU update")
    implicit: bool = Field(
        True, description="detach slots before the last iteration (bi-level / implicit slot attention)"
    )
    centred: bool = Field(False, description="group tokens by how they differ from the mean of their frame")
    initialisation: Literal["random", "kmeans"] = Field(
        "random", description="random: small weights and queries; kmeans: centroids of training tokens"
    )
    gain: float = Field(
        2.0, gt=0, description="kmeans: how sharply a token prefers the nearer centroid, before training"
    )
    learning_rate: float = Field(1.0, ge=0, description="of slot attention, as a multiple of training.lr; 0: frozen")

    @field_validator("number")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be at least 1, or 'none'")
        return value


class Distillation(Section):
    """Object distillation loss, Eq. 7-8."""

    weight: float = Field(0.2, ge=0, description="of the object distillation loss in the total")
    slot_temperature: float = Field(0.1, gt=0, description="tau of Eq. 7")
    contrast_temperature: float = Field(0.07, gt=0, description="temperature of the InfoNCE of Eq. 8")
    symmetric: bool = Field(False, description="slots of other clips are negatives too (early code)")


class Temporal(Section):
    """Temporal reasoning loss, Eq. 9."""

    weight: float = Field(0.2, ge=0, description="of the temporal reasoning loss in the total")
    margin: float = Field(0.3, ge=0, description="by which clips of other actions must be less alike")
    margin_form: Literal["triplet", "hinge_negatives"] = Field(
        "triplet", description="triplet: against each positive; hinge_negatives: against the margin alone"
    )
    num_positives: int = Field(4, ge=1, description="clips of the same action sampled a query clip")
    num_negatives: int = Field(8, ge=1, description="clips of other actions sampled a query clip")


class Losses(Section):
    """Weights of the total loss (Eq. 10)."""

    classification: float = Field(1.0, ge=0, description="weight of the cross entropy with the labels")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the label that goes to all classes alike")
    distillation: Distillation = Distillation()
    temporal: Temporal = Temporal()
    mask_overlap: float = Field(
        0.0, ge=0, description="weight of the mask-overlap penalty (early code 0.05; absent from the paper)"
    )


class ObjectCentric(MethodSection):
    """The paper's method (sections 3.1 and 3.2); every ablation switch of its tables is here."""

    name: Literal["object_centric"] = "object_centric"
    width: int | None = Field(None, ge=8, description="slot width d; default: the joint width J")
    slots: Slots = Slots()
    object_interaction: bool = Field(True, description="whether the objects of a frame attend to each other")
    heads: int = Field(8, ge=1, description="attention heads of the interaction layers")
    ffn_ratio: float = Field(2.5, gt=0, description="FFN width over d in the interaction layers")
    temporal: Literal["state_change", "attention", "none"] = Field(
        "state_change", description="how time is read: differences of states, attention over them, or not at all"
    )
    interval: int | Literal["all"] | None = Field(None, description="dt; default max(1, T // 4)")
    readout: Literal["mean", "max", "slots"] = Field(
        "mean",
        description="of state changes: mean; max over time, then the mean over slots;"
        " slots: each slot's mean over time, side by side, so that the head knows which slot changed",
    )
    cls_probe: float = Field(
        0.0,
        ge=0,
        description="pace of a linear classifier on the mean cls token that answers beside the objects, as a multiple"
        " of training.lr (0: none; not in the paper)",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="in the interaction layers, in the MLP of the state changes, before the head"
    )
    token_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of a frame's patch tokens that a training step leaves out"
    )
    losses: Losses = Losses()

    @field_validator("interval")
    @classmethod
    def _at_least_one(cls, value: int | str | None) -> int | str | None:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be at least 1, or 'all'")
        return value

    @property
    def learns_from_labels(self) -> str | None:
        """The classification loss does; the others can do without."""
        return "method.losses.classification" if self.losses.classification > 0 else None

    def check(self, frames: int) -> None:
        """A state change needs two frames that are dt apart, a classifier labels to learn from."""
        if self.cls_probe and not self.losses.classification:
            raise ValueError("method.cls_probe: it learns by method.losses.classification, which is 0; set one of them")
        if self.temporal != "state_change":
            return
        if frames < 2:
            raise ValueError("sampling.frames: state changes need at least 2 frames; use method.temporal=none for 1")
        if isinstance(self.interval, int) and self.interval > frames - 1:
            raise ValueError(
                f"method.interval: {self.interval} is not below sampling.frames = {frames};"
                f" use 1 .. {frames - 1} or 'all'"
            )

    def dt(self, frames: int) -> int | Literal["all"]:
        """The interval in force: the configured one, or T // 4 (at least 1)."""
        return self.interval or max(1, frames // 4)

    def resolved(self, frames: int) -> "ObjectCentric":
        """With the interval in force."""
        return self.model_copy(update={"interval": self.dt(frames)})

    def plain(self, frames: int) -> "ObjectCentric":
        """Without an interval that is T // 4 anyway."""
        default = self.model_copy(update={"interval": None})
        return default if default.dt(frames) == self.interval else self


class Outside(MethodSection):
    """A method of one's own, from a module on the path; see docs/adding-a-method.md."""

    name: Literal["module"] = "module"
    module: str = Field(description="module with a `Settings` section and a `build`, e.g. my_package.my_method")
    settings: dict = Field({}, description="its settings, as its own section has them")

    @field_validator("module")
    @classmethod
    def _dotted(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", value) or value.split(".")[0] == "objadapt":
            raise ValueError(f"{value!r} is no module of your own; give its dotted name, e.g. my_package.my_method")
        return value


Discoverer = SSLUVOS | SMTC | MotionLayers
Peer = LinearProbe | AttentiveProbe | TemporalTransformer | STAdapter | AIM | EVL | TimeSformer
AnyMethod = Annotated[ObjectCentric | Peer | Discoverer | Outside, Field(discriminator="name")]
SECTIONS = {
    section.model_fields["name"].default: section
    for section in (ObjectCentric, *get_args(Peer), *get_args(Discoverer), Outside)
}


def named(tree: object) -> object:
    """A method's settings as given, with the name that they leave out: `module` where one is given,
    else the paper's.
    """
    if isinstance(tree, dict) and "name" not in tree:
        return {"name": "module" if "module" in tree else "object_centric"} | tree
    return tree
