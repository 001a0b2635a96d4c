"""The config sections of the methods that find objects without any label; `methods/<name>/` has each."""

from typing import Literal

from pydantic import Field

from .config_peers import MethodSection
from .config_where import Section


class Discovery(MethodSection):
    """Base: no label is read, and there is no classifier, so a run has masks and a loss but no accuracy."""

    @property
    def learns_from_labels(self) -> str | None:
        """Nothing does."""
        return None

    @property
    def classifies(self) -> bool:
        """It does not."""
        return False


class Correspondences(Section):
    """The losses of SSL-UVOS; shares of a frame's patches are the published counts over its 24 x 48."""

    semantic: float = Field(1.0, ge=0, description="weight: what a patch attends to is like it")
    motion: float = Field(1.0, ge=0, description="weight: what a patch attends to attends to the same places")
    queries: int = Field(8, ge=1, description="patches a frame that the losses look at")
    semantic_near: float = Field(0.026, gt=0, le=1, description="share of a frame that counts as attended (30)")
    semantic_far: float = Field(0.174, gt=0, le=1, description="share of a frame that counts as not attended (200)")
    least: float = Field(0.9, ge=-1, le=1, description="cosine that attended patches are brought to")
    greatest: float = Field(0.1, ge=-1, le=1, description="cosine that the others are brought below")
    motion_near: float = Field(0.0087, gt=0, le=1, description="share of the own frame that counts as attended (10)")
    motion_far: float = Field(0.0434, gt=0, le=1, description="share of the own frame that counts as not attended (50)")
    margin: float = Field(1.0, ge=0, description="nats between attended and others in the motion loss")


class Clusters(Section):
    """How SSL-UVOS makes segments of a video's attention."""

    every: int = Field(10, ge=1, description="frames from one key frame to the next")
    threshold: float = Field(1.0, gt=0, description="symmetric KL divergence, nats, below which clusters are one")
    most: int = Field(20, ge=1, le=254, description="segments of a video at the most; nearest ones are merged")


class SSLUVOS(Discovery):
    """SSL-UVOS: a spatio-temporal block over frozen tokens, whose attention is clustered."""

    name: Literal["ssl_uvos"] = "ssl_uvos"
    frames: int = Field(3, ge=1, description="frames that the block sees at once, evenly spaced over a clip")
    heads: int = Field(8, ge=1, description="attention heads; the joint width is a multiple")
    mlp_ratio: float = Field(4.0, gt=0, description="MLP width over the joint width")
    start: Literal["likeness", "random"] = Field(
        "likeness", description="attention before any step: each patch looks at those that are like it; or random"
    )
    losses: Correspondences = Correspondences()
    clusters: Clusters = Clusters()

    def check(self, frames: int) -> None:
        """A clip has at least the frames that the block sees."""
        if self.frames > frames:
            raise ValueError(
                f"method.frames: {self.frames} is above sampling.frames = {frames}; lower it, or give clips more frames"
            )


class Consistency(Section):
    """The losses of SMTC."""

    overlap: float = Field(1.0, ge=0, description="weight: maps of different kinds are apart")
    semantic: float = Field(1.0, ge=0, description="weight: a patch is of the same kind where it goes")
    instance: float = Field(1.0, ge=0, description="weight: an instance is alike in the next frame")
    epsilon: float = Field(0.05, gt=0, description="of the transport plan: how even it is")
    sinkhorn: int = Field(3, ge=1, description="iterations of the transport plan")
    margin: float = Field(0.5, ge=-1, le=1, description="cosine that other instances of a kind are brought below")
    alike: float = Field(0.5, ge=-1, le=1, description="cosine with its kind above which a slot is an instance")
    held: float = Field(0.2, ge=0, lt=1, description="share of its kind's area above which a slot is an instance")
    momentum: float = Field(0.999, ge=0, le=1, description="of the teacher: how slowly it follows")


class SMTC(Discovery):
    """SMTC: semantic slots, then instance slots inside of them, alike in neighbouring frames."""

    name: Literal["smtc"] = "smtc"
    frames: int = Field(4, ge=2, description="frames of a clip that are looked at, from the first on")
    kinds: int = Field(16, ge=1, description="S, Gaussians: a semantic slot each")
    instances: int = Field(4, ge=1, le=6, description="P, instance slots of each kind")
    iterations: int = Field(3, ge=1, description="slot-attention iterations of both stages")
    area: float = Field(0.3, gt=0, lt=1, description="semantic map above which a patch is of a kind")
    side: int = Field(16, ge=1, description="side of the correspondence map that is added to the tokens")
    most: int = Field(20, ge=2, le=254, description="segments of a video at the most, the last of which is the rest")
    losses: Consistency = Consistency()

    def check(self, frames: int) -> None:
        """There is a neighbouring frame."""
        if frames < 2:
            raise ValueError("sampling.frames: smtc compares neighbouring frames; use at least 2")


class MotionLayers(Discovery):
    """Motion layers: objects as layers of the flow between the frames of a video."""

    name: Literal["motion_layers"] = "motion_layers"
    layers: int = Field(2, ge=2, le=254, description="K, layers of the flow and object masks; one is the background")
    width: int = Field(128, ge=8, description="of the layers' tokens and queries")
    heads: int = Field(4, ge=1, description="attention heads; the width is a multiple")
    pace: int = Field(4, ge=2, description="frames of a clip that the two of a pair are apart, at the most")
    consistency: float = Field(0.1, ge=0, description="weight of masks that agree whatever the pace of a pair")

    def check(self, frames: int) -> None:
        """A frame is paired with two others."""
        if frames < 3:
            raise ValueError(
                f"sampling.frames: {frames} are too few, motion layers pair a frame with two others; use at least 3"
            )
