"""What `method.settings.X=...` sets for DCLR."""

from pydantic import Field, model_validator

from objadapt.config_where import Section

from ..self_supervised import EncoderSettings


class Losses(Section):
    """Weights of the three contrasts; the projections of a contrast exist only where it is on."""

    rgb: float = Field(1.0, ge=0, description="a clip's RGB features against those of the other clip of its video")
    static: float = Field(1.0, ge=0, description="its static-related features against the other's static half")
    dynamic: float = Field(1.0, ge=0, description="its dynamic-related features against the other's dynamic half")


class Settings(EncoderSettings):
    """Defaults are the published values, but for the encoder, which is ours."""

    window: int | None = Field(
        None, ge=1, description="patches in a row of the square that each clip of a video is seen through, apart"
    )
    projection: int = Field(128, ge=1, description="width of the vectors that are contrasted")
    temperature: float = Field(0.07, gt=0)
    momentum: float = Field(0.999, ge=0, lt=1, description="share that the momentum encoder keeps at each step")
    losses: Losses = Losses()

    @model_validator(mode="after")
    def _something_to_learn(self):
        losses = self.losses
        if self.stage == "pretrain" and not (losses.rgb or losses.static or losses.dynamic):
            raise ValueError("losses: all three are 0; leave one above 0")
        return self
