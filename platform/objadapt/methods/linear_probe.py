"""Linear probe: the mean of the frames' cls tokens and a linear classifier,
the baseline that every table should have.
"""

from torch import Tensor

from ..config import Training
from ..config_peers import LinearProbe
from .classifier import Classifier
from .method import groups_of


class LinearProbeMethod(Classifier):
    """What the frozen backbone knows of a clip without regard to the order of its frames.

    Args:
        settings: the pace of learning; a single layer stands ten times the steps that deeper methods do.
        heads: classes of each head, in the order of the columns of `batch["labels"]`.
        joint_width: J, width of `cls`.
    """

    def __init__(self, settings: LinearProbe, heads: dict[str, int], joint_width: int):
        super().__init__(heads, joint_width)
        self.pace = settings.learning_rate

    def parameter_groups(self, training: Training) -> list[dict]:
        """As of any method, at the classifier's own pace."""
        return groups_of(dict(self.named_parameters()), training, self.pace)

    def video(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean of `batch["cls"]` [B, T, J]."""
        return batch["cls"].to(self.dtype).mean(dim=1)  # [B, J]
