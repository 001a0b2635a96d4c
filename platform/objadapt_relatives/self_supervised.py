"""What DCLR and the concepts have in common: an encoder that learns without labels, a linear classifier beside it,
and the stages of their use.
"""

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from objadapt.config import Experiment, Training
from objadapt.config_where import Place, Section
from objadapt.errors import InputError
from objadapt.methods.classification import classification_loss
from objadapt.methods.distributed import sum_over_workers
from objadapt.methods.method import Method, Output, groups_of

from .map_encoder import MapEncoder, pooled
from .pretrained import load_part
from .views import two_clips


class EncoderSettings(Section):
    """What the settings of such a method have, among others."""

    width: int = Field(128, ge=1, description="channels of the encoder's maps")
    layers: int = Field(2, ge=1, description="space-time blocks of the encoder")
    stage: Literal["pretrain", "probe", "finetune"] = Field(
        "pretrain", description="what the encoder learns from: the method's own losses, nothing more, or the labels"
    )
    encoder: Place | None = Field(None, description="checkpoint (outputs/runs/RUN/last) whose encoder it begins with")
    probe_learning_rate: float = Field(10.0, gt=0, description="of the linear classifier, x training.lr")

    @model_validator(mode="after")
    def _something_to_probe(self):
        if self.stage == "probe" and self.encoder is None:
            raise ValueError("stage: a probe needs `encoder`, the checkpoint of a pretraining")
        return self


class SelfSupervised(Method):
    """An encoder and a linear classifier that teaches it nothing; a subclass has the losses that do.

    In the stage "finetune" the labels teach the encoder, in "probe" nothing does.

    Args:
        heads: classes of each head.
        joint_width: J.

    Raises:
        InputError: `settings.encoder` is not to be had.
    """

    losses_once = True  # each call moves a queue or a momentum encoder on, so clips are not mixed

    def __init__(self, settings: EncoderSettings, heads: dict[str, int], joint_width: int):
        super().__init__()
        self.stage, self.pace = settings.stage, settings.probe_learning_rate
        self.encoder = MapEncoder(joint_width, settings.width, settings.layers)
        if settings.encoder:
            load_part(settings.encoder, "encoder", self.encoder)
        self.encoder.requires_grad_(settings.stage != "probe")
        self.norm = nn.LayerNorm(settings.width, elementwise_affine=False)
        self.heads = nn.ModuleDict({name: nn.Linear(settings.width, classes) for name, classes in heads.items()})
        if settings.stage == "probe":
            self.kept = names_of(self, "encoder")

    @abstractmethod
    def contrasts(self, patches: Tensor, valid: Tensor, rows: Tensor, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """The losses of a pretraining by name, this worker's shares, and their weighted sum.

        Args:
            patches: [B, T, N, J].
            valid: bool [B].
            rows: int64 [B], which clip each is; one may come twice in a batch.
        """

    def parameter_groups(self, training: Training) -> list[dict]:
        """As of any method; the classifier learns at a pace of its own."""
        of_heads = {name: value for name, value in self.named_parameters() if name.startswith("heads.")}
        others = {name: value for name, value in self.named_parameters() if name not in of_heads}
        return groups_of(others, training) + groups_of(of_heads, training, self.pace, apart=self.stage == "pretrain")

    def forward(self, batch: dict[str, Tensor]) -> Output:
        """Classify `batch["patches"]` [B, T, N, J] by the mean of its two clips' features, `Output.video` [B, d]."""
        clips = two_clips(batch["patches"].to(self.dtype))
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.stage == "finetune"):
            video = torch.stack([pooled(self.encoder(clip)) for clip in clips]).mean(dim=0)
        return Output({name: head(self.norm(video)) for name, head in self.heads.items()}, video=video)

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The classifier's cross entropy, and in a pretraining what teaches the encoder."""
        logits = {name: scores.to(self.dtype) for name, scores in output.logits.items()}
        labelled = None if counts is None else counts["labelled"]
        found = {"classification": classification_loss(logits, batch["labels"], batch["valid"], labelled)}
        total = found["classification"]
        if self.stage == "pretrain":
            terms, learned = self.contrasts(batch["patches"].to(self.dtype), batch["valid"], batch["row"], step)
            found, total = found | terms, total + learned
        return found | {"total": total}


def share(each: Tensor, valid: Tensor) -> Tensor:
    """This worker's share of the mean of a loss [B] over the valid clips of all workers."""
    return each[valid].sum() / sum_over_workers(valid.sum()).clamp(min=1)


def names_of(method: Method, part: str) -> tuple[str, ...]:
    """Names of all weights of a part, for `Method.kept`."""
    return tuple(f"{part}.{name}" for name in getattr(method, part).state_dict())


def check_frames(config: Experiment) -> None:
    """InputError where the frames make no two clips of at least two frames."""
    frames = config.sampling.frames
    if frames % 2 or frames < 4:
        raise InputError(f"sampling.frames: {frames}; a video is parted into two clips: give an even number from 4 on")
