"""What `method.settings.X=...` sets for the concepts."""

from pydantic import Field

from objadapt.config_where import Section

from ..self_supervised import EncoderSettings


class ConceptLosses(Section):
    """Weights of the losses beside the assignment, which is always on."""

    instance: float = Field(
        1.0, ge=0, description="DCLR's: a clip is told from the others of its batch, whole and by its halves"
    )
    diversity: float = Field(0.1, ge=0, description="a half says nothing of the concepts that it cannot show")
    fidelity: float = Field(1.0, ge=0, description="features can be told from the concepts' activations")
    contrast: float = Field(1.0, ge=0, description="a concept's local features agree within a video alone")


class Settings(EncoderSettings):
    """Defaults are the published values, but for the encoder and for what is counted in steps in place of epochs."""

    projection: int = Field(128, ge=1, description="width of features and prototypes")
    concepts: int = Field(50, ge=2, description="C: as many static and as many dynamic ones")
    temperature: float = Field(0.1, gt=0, description="of the activations of concepts")
    epsilon: float = Field(0.05, gt=0, description="of the Sinkhorn assignment")
    iterations: int = Field(3, ge=1, description="of the Sinkhorn assignment")
    queue: int = Field(1024, ge=0, description="earlier videos that share the assignment")
    frozen_steps: int = Field(0, ge=0, description="first steps in which prototypes stay and no queue is used")
    contrast_from: int = Field(0, ge=0, description="first step of the concept contrast")
    top: int = Field(10, ge=1, description="most active concepts of a clip that are contrasted")
    margin: float = Field(1.4, gt=0, description="distance beyond which other videos' features are left alone")
    losses: ConceptLosses = ConceptLosses()
