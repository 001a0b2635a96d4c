"""A method as a user would bring it: a bias that learns before each block of a frozen ViT, from frames."""

import torch
from torch import Tensor, nn

from objadapt.backbone import Encoder, build_backbone
from objadapt.config import Experiment
from objadapt.config_where import Section
from objadapt.data.transforms import normalise
from objadapt.methods.classification import classification_loss
from objadapt.methods.method import Method, Output


class Settings(Section):
    """Share of the bias that a step leaves out."""

    dropout: float = 0.0


class BiasedViT(Method):
    """Mean over the frames of cls, of a ViT in which a bias learns before each block.

    Dropout leaves it out at random places.
    """

    inputs = "frames"
    splits_batches = True

    def __init__(self, encoder: Encoder, heads: dict[str, int], dropout: float):
        super().__init__()
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        self.biases = nn.ParameterList(torch.zeros(encoder.joint_width) for _ in encoder.blocks)  # each [D]
        self.heads = nn.ModuleDict({name: nn.Linear(encoder.joint_width, classes) for name, classes in heads.items()})

    def forward(self, batch: dict[str, Tensor]) -> Output:
        frames = batch["frames"]  # uint8 [B, T, S, S, 3]
        tokens = self.encoder.embed(normalise(frames.flatten(0, 1), self.encoder.mean, self.encoder.std))
        for block, bias in zip(self.encoder.blocks, self.biases, strict=True):
            tokens = block(tokens + self.dropout(bias.to(tokens.dtype).expand_as(tokens)))  # [B*T, 1 + N, D]
        _, cls = self.encoder.finish(tokens)
        video = cls.float().unflatten(0, frames.shape[:2]).mean(dim=1)  # [B, J]
        logits = {name: head(video) for name, head in self.heads.items()}
        return Output(logits, video=video)

    def losses(self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor]) -> dict:
        loss = classification_loss(output.logits, batch["labels"], batch["valid"], counts["labelled"])
        return {"classification": loss, "total": loss}


def build(settings: Settings, config: Experiment, heads: dict[str, int], joint_width: int) -> BiasedViT:
    """Its initial weights depend on the seed alone, by which objadapt has set torch's generator."""
    return BiasedViT(build_backbone(config.backbone), heads, settings.dropout)
