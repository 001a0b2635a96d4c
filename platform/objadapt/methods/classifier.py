"""Methods that learn from labels alone: a video vector, a linear head for each label, cross entropy."""

from abc import abstractmethod

from torch import Tensor, nn

from ..errors import InputError
from .classification import classification_loss
from .method import Method, Output


class Classifier(Method):
    """Base: a subclass says in `video` how a clip becomes a vector.

    Args:
        heads: classes of each head, in the order of the columns of `batch["labels"]`.
        width: of the video vector.
        dropout: share of the vector that the heads do not see in a training step.
    """

    splits_batches = True

    def __init__(self, heads: dict[str, int], width: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, classes in heads.items()})

    @abstractmethod
    def video(self, batch: dict[str, Tensor]) -> Tensor:
        """A batch of clips -> float [B, width]."""

    def forward(self, batch: dict[str, Tensor]) -> Output:
        """Classify clips by their `video`."""
        video = self.video(batch)
        seen = self.dropout(video)
        return Output({name: head(seen) for name, head in self.heads.items()}, video=video)

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Cross entropy, in float32 whatever autocast made of the scores."""
        logits = {name: scores.to(self.dtype) for name, scores in output.logits.items()}
        labelled = None if counts is None else counts["labelled"]
        loss = classification_loss(logits, batch["labels"], batch["valid"], labelled)
        return {"classification": loss, "total": loss}


def check_heads(heads: int, width: int) -> None:
    """InputError where the attention heads of a method do not divide its width."""
    if width % heads:
        raise InputError(f"method.heads: {heads} does not divide the joint width {width}; use a divisor of it")
