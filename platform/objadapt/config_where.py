"""The sections of a config that say where a run is computed and kept, and what every section is made of.

Placement and places never change a result. Which views are stored, and how, does: `Experiment.content_hash` has those.
"""

import math
import os
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

AUTO = 0  # "auto", of a number that follows from the clips when a run is planned (pipeline/fitting.py)


def at_home(place: str) -> str:
    """A path, or an SQLite URI, with a leading `~` or `~user` spelled out.

    ValueError where nobody of that name has a home.

    Every path of a config and of a job's command line goes through here once; what is inside of data files does not.
    """
    before, scheme, path = place.rpartition("sqlite:///")
    if not path.startswith("~"):
        return place
    if (found := os.path.expanduser(path)).startswith("~"):
        raise ValueError(f"{place!r}: no home of {path.partition('/')[0]!r}; write ./{path} for a file of that name")
    return before + scheme + found


def _auto(value: object, number: ValidatorFunctionWrapHandler) -> int:
    if isinstance(value, str) and value != "auto":
        raise ValueError(f"{value!r} is neither a whole number nor auto")
    return AUTO if value == "auto" else number(value)


Count = Annotated[int, WrapValidator(_auto), PlainSerializer(lambda value: "auto" if value == AUTO else value)]
Place = Annotated[str, AfterValidator(at_home)]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, no silent type conversion, numbers are finite, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Stream(Section):
    """Ray Data and Ray Train placement.

    Not part of the content hash, save for which views are seen and how they are stored.

    What is "auto" becomes a number when a run is planned, by the nodes of the cluster (pipeline/automatic.py).
    """

    num_workers: int | str = Field(
        "auto",
        description="training workers; 0: in the driver's process; '1-4': as many of 1 to 4 as there is room for; auto:"
        " one, or, where"
        " the features are encoded before or the method takes frames, one a GPU",
    )
    trainer_cpus: float = Field(0.5, gt=0, description="CPUs of each training worker")
    trainer_gpus: float | str = Field("auto", description="GPUs of each training worker")
    encoders: int | str = Field(
        "auto",
        description="backbone actors; auto: one a GPU; without GPUs one, or one a core where nothing trains meanwhile;"
        " none where the method takes frames",
    )
    encoder_cpus: float = Field(0.5, gt=0, description="CPUs of each backbone actor")
    encoder_gpus: float | str = Field(
        "auto", description="GPUs of each backbone actor; encoders come first where GPUs are few"
    )
    decode_cpus: float = Field(
        0.5, gt=0, description="CPUs that one decode task occupies; below 1, cores need not wait for Ray Data"
    )
    clips_per_task: int = Field(
        32, ge=1, description="at most so many clips a decode task and a forward of the backbone"
    )
    prefetch_batches: int = Field(2, ge=0, description="batches that a training worker fetches ahead")
    checkpoint_minutes: float = Field(10, gt=0, description="a checkpoint at the least so often; and after every epoch")
    hold: bool | Literal["auto"] = Field(
        False,
        description="without a cache: encode each (clip, view) once and hold the features in Ray's object store;"
        " auto: where they are few; a cache below `output` where they are more",
    )
    cache: Place | None = Field(
        None, description="folder of feature caches: train from what python jobs/extract_features.py has put there"
    )
    storage: Literal["float16", "int8"] = Field("float16", description="cache only: how features are stored")
    download_cache: Place | None = Field(
        None,
        description="folder of each node that keeps what is downloaded of data by URL; default: objadapt-downloads-UID"
        " in the system's temporary folder",
    )
    download_gb: float = Field(
        10, ge=0, description="GB that it holds at the most; what was not used for longest goes; 0: nothing is kept"
    )
    views: int = Field(2, ge=1, description="hold and cache only: augmented views a training clip")

    @field_validator("trainer_gpus", "encoders", "encoder_gpus")
    @classmethod
    def _number_or_auto(cls, value: float | str, info: ValidationInfo) -> float | str:
        least = 1 if info.field_name == "encoders" else 0
        if value == "auto" or not isinstance(value, str) and math.isfinite(value) and value >= least:
            if isinstance(value, float) and value > 1 and value % 1:
                raise ValueError(
                    f"{value:g} is no share of one GPU, and no number of whole ones; use at most 1, or a whole number"
                )
            return value
        raise ValueError(f"{value!r} is neither a number of at least {least} nor auto")

    @field_validator("num_workers")
    @classmethod
    def _number_or_range(cls, value: int | str) -> int | str:
        if isinstance(value, str) and value != "auto":
            least, _, most = value.partition("-")
            if not (least.isdecimal() and most.isdecimal() and 1 <= int(least) < int(most)):
                raise ValueError(f"{value!r} is neither a number, nor a range such as '1-4', nor auto")
        elif value != "auto" and value < 0:
            raise ValueError("must be at least 0, or a range such as '1-4', or auto")
        return value

    @property
    def worker_range(self) -> tuple[int, int]:
        """Least and greatest number of training workers.

        One in the driver's process counts as one, and so does auto.
        """
        if self.num_workers == "auto":
            return 1, 1
        least, _, most = str(self.num_workers).partition("-")
        return max(1, int(least)), max(1, int(most or least))

    @property
    def number_of_encoders(self) -> int:
        """`encoders` of a stream that is placed, or that sets a number."""
        assert not isinstance(self.encoders, str), "stream.encoders: not placed yet"
        return self.encoders

    @property
    def gpus_of_encoder(self) -> float:
        """`encoder_gpus` of a stream that is placed, or that sets a number."""
        assert not isinstance(self.encoder_gpus, str), "stream.encoder_gpus: not placed yet"
        return self.encoder_gpus

    @property
    def gpus_of_trainer(self) -> float:
        """`trainer_gpus` of a stream that is placed, or that sets a number."""
        assert not isinstance(self.trainer_gpus, str), "stream.trainer_gpus: not placed yet"
        return self.trainer_gpus


class Tracking(Section):
    """MLflow. Not part of the content hash."""

    uri: Place | None = Field(None, description="MLflow store; default: sqlite file in `output`")
    experiment: str = Field("objadapt", description="MLflow experiment that the runs are logged to")
