"""The config sections of the peers, each told apart by `method.name`; `methods/<name>.py` says where it comes from."""

from typing import Literal

from pydantic import Field

from .config_where import Section


class MethodSection(Section):
    """Base of the sections: what the rest of the platform asks of any method's settings."""

    @property
    def learns_from_labels(self) -> str | None:
        """Key of the setting that makes the method need labels; None where it learns without."""
        return "method.name"

    @property
    def classifies(self) -> bool:
        """Whether the method gives class scores; without them a validation is of the loss."""
        return True

    def check(self, frames: int) -> None:
        """ValueError, which begins with the key, where these settings and T = `frames` do not go together."""

    def resolved(self, frames: int) -> "MethodSection":
        """These settings for T = `frames`, with a number in place of each default that depends on T."""
        return self

    def plain(self, frames: int) -> "MethodSection":
        """The same for T = `frames`, with what is the default anyway left to the default."""
        return self


class PeerSection(MethodSection):
    """Base of the methods that learn from labels alone."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the label that goes to all classes alike")


class LinearProbe(PeerSection):
    """A linear classifier on the mean cls token: what the frozen backbone knows by itself."""

    name: Literal["linear_probe"] = "linear_probe"
    learning_rate: float = Field(1.0, gt=0, description="of the classifier, as a multiple of training.lr")


class AttentiveProbe(PeerSection):
    """One learned query that attends to all frozen tokens of a clip."""

    name: Literal["attentive_probe"] = "attentive_probe"
    heads: int = Field(8, ge=1, description="attention heads; the joint width is a multiple")
    dropout: float = Field(0.0, ge=0, lt=1, description="before the classifier")


class TemporalTransformer(PeerSection):
    """A small transformer over the mean patch of each frame."""

    name: Literal["temporal_transformer"] = "temporal_transformer"
    layers: int = Field(2, ge=1, description="transformer layers over time")
    heads: int = Field(8, ge=1, description="attention heads; the joint width is a multiple")
    dropout: float = Field(0.0, ge=0, lt=1, description="in the layers and before the classifier")


class STAdapter(PeerSection):
    """ST-Adapter: bottlenecks with a convolution over time inside a frozen ViT."""

    name: Literal["st_adapter"] = "st_adapter"
    placement: Literal["mlp", "both"] = Field(
        "mlp", description="mlp: an adapter before each block's MLP; both: before its attention, too"
    )
    width: int | None = Field(None, ge=1, description="of the bottleneck; default: half the ViT's width")
    dropout: float = Field(0.5, ge=0, lt=1, description="before the classifier")


class AIM(PeerSection):
    """AIM: adapters in space, in time and beside the MLP of a frozen ViT."""

    name: Literal["aim"] = "aim"
    width: int | None = Field(None, ge=1, description="of the adapters; default: a quarter of the ViT's width")
    scale: float = Field(0.5, description="of the adapter beside the MLP")
    drop_path: float = Field(
        0.0, ge=0, lt=1, description="share of clips that leave out an added branch of the last block; less before"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="before the classifier")


class EVL(PeerSection):
    """EVL: a decoder that reads the last blocks of a frozen ViT."""

    name: Literal["evl"] = "evl"
    layers: int = Field(4, ge=1, description="decoder layers, and blocks that they read")
    mlp_dropout: float = Field(0.5, ge=0, lt=1, description="in the decoder's MLPs")
    dropout: float = Field(0.5, ge=0, lt=1, description="before the classifier")


class TimeSformer(PeerSection):
    """TimeSformer: divided space-time attention in the whole ViT."""

    name: Literal["timesformer"] = "timesformer"
    trained: Literal["all", "time"] = Field(
        "all", description="all: the whole network learns; time: what was added, and the classifier"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="before the classifier")
