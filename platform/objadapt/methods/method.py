"""What the platform asks of a method: a module from a batch to class scores, with losses of its own.

The trainer, the pipeline and the accounting know methods by this file alone; `build.py` is the only place that knows them
by name.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn


@dataclass
class Output:
    """What a method says about a batch: B clips, T frames, K objects, N patches, V state changes.

    Only `logits` must be there; the others are for methods that have objects.
    """

    logits: dict[str, Tensor]  # head -> [B, C]
    slots: Tensor | None = None  # [B, T, K, d]
    attention: Tensor | None = None  # [B, T, K, N], sums to 1 over K: the object mask candidates
    states: Tensor | None = None  # [B, T, K, d]
    state_changes: Tensor | None = None  # [B, V, K, d]
    video: Tensor | None = None  # [B, d]


class Grouping(nn.Module):
    """What groups a frame's patches: [b, N, J] -> (objects [b, K, d], A [b, K, N]); `num_slots` is K."""

    num_slots: int


class Method(nn.Module, ABC):
    """Base of all methods.

    Attributes:
        inputs: what the pipeline delivers: "features" (`patches` [B, T, N, J] and `cls` [B, T, J] of the frozen backbone)
            or "frames" (`frames` uint8 [B, T, S, S, 3]).
        training_only: children that inference never runs; left out of the accounting.
    """

    inputs: ClassVar[Literal["features", "frames"]] = "features"
    training_only: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, batch: dict[str, Tensor]) -> Output:
        """Answer to a batch of clips; reads the keys that `inputs` names and nothing of the labels."""

    @abstractmethod
    def losses(self, output: Output, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """This worker's share of every loss; the sum over workers is the loss of the global batch.

        Args:
            output: of `forward(batch)`.
            batch: `labels` int64 [B, heads] (-1: none) and `valid` bool [B] beside the inputs.
            step: with the seed, all that whatever is drawn may depend on, so that all workers draw alike.

        Returns:
            Scalars: "total", which is learned from, its terms, and detached counts with a "/" in the key.
        """

    @property
    def grouping(self) -> Grouping | None:
        """The part that makes object masks; None: the method has no objects."""
        return None

    @property
    def leaves_unused(self) -> bool:
        """Whether parameters may get no gradient from the losses, which several workers must know beforehand."""
        return False

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters; inputs and everything a loss is made of are brought to it."""
        return next(self.parameters()).dtype
