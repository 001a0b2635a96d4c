"""Linear probe: the mean of the frames' cls tokens and a linear classifier,
the baseline that every table should have.
"""

from torch import Tensor

from .classifier import Classifier


class LinearProbeMethod(Classifier):
    """What the frozen backbone knows of a clip without regard to the order of its frames.

    Args:
        heads: classes of each head, in the order of the columns of `batch["labels"]`.
        joint_width: J, width of `cls`.
    """

    def __init__(self, heads: dict[str, int], joint_width: int):
        super().__init__(heads, joint_width)

    def video(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean of `batch["cls"]` [B, T, J]."""
        return batch["cls"].to(self.dtype).mean(dim=1)  # [B, J]
