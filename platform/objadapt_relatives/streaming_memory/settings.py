"""What `method.settings.X=...` sets for the streaming memory."""

from math import isqrt
from typing import Literal

from pydantic import Field, field_validator, model_validator

from objadapt.config_where import Section


class Settings(Section):
    """P, V and the order of tokens are the published ones; the transformers are small ones of our own."""

    clip_frames: int = Field(2, ge=1, description="frames of a clip, which the encoder takes at once")
    summaries: int = Field(4, ge=1, description="P, summary tokens a frame: a square number")
    selected: int = Field(4, ge=1, description="V, clips whose summaries the answerer sees")
    selection: Literal["adaptive", "last"] = Field("adaptive", description="by the question, or the last V clips")
    memory: bool = Field(True, description="whether a clip sees the summaries of the one before it")
    width: int = Field(128, ge=2, description="of the transformers; even")
    heads: int = Field(4, ge=1, description="attention heads; a divisor of width")
    layers: int = Field(2, ge=1, description="of the causal encoder")
    answer_layers: int = Field(1, ge=1, description="of the answerer")
    temperature: float = Field(0.1, gt=0, description="of the selection; the noise is Gumbel's, in training alone")

    @field_validator("summaries")
    @classmethod
    def _square(cls, value: int) -> int:
        if isqrt(value) ** 2 != value:
            raise ValueError("must be a square number: a frame is pooled over a square of cells")
        return value

    @model_validator(mode="after")
    def _divided(self):
        if self.width % 2 or self.width % self.heads:
            raise ValueError(f"width: {self.width} must be even and a multiple of heads = {self.heads}")
        return self

    @property
    def memory_tokens(self) -> int:
        """Summary tokens of a clip."""
        return self.clip_frames * self.summaries
