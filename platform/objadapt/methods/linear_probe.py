"""Linear probe: the mean of the frames' cls tokens and a linear classifier,
the baseline that every table should have.
"""

from torch import Tensor, nn

from .classification import classification_loss
from .method import Method, Output


class LinearProbeMethod(Method):
    """What the frozen backbone knows of a clip without regard to the order of its frames.

    Args:
        heads: classes of each head, in the order of the columns of `batch["labels"]`.
        joint_width: J, width of `cls`.
    """

    splits_batches = True

    def __init__(self, heads: dict[str, int], joint_width: int):
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(joint_width, classes) for name, classes in heads.items()})

    def forward(self, batch: dict[str, Tensor]) -> Output:
        """Classify clips from `batch["cls"]` [B, T, J]."""
        video = batch["cls"].to(self.dtype).mean(dim=1)  # [B, J]
        return Output({name: head(video) for name, head in self.heads.items()}, video=video)

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Cross entropy, in float32 whatever autocast made of the scores."""
        logits = {name: scores.to(self.dtype) for name, scores in output.logits.items()}
        loss = classification_loss(
            logits,
            batch["labels"],
            batch["valid"],
            counts and counts["labelled"],  # pyright: ignore[reportArgumentType]  # never an empty dict
        )
        return {"classification": loss, "total": loss}
