"""What the platform asks of a method: a module from a batch to class scores, with losses of its own.

The trainer, the pipeline and the accounting know methods by this file alone; `build.py` is the only place that knows
them by name.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..config import Training
from ..errors import InputError

INPUTS = {"features": ("patches", "cls"), "frames": ("frames",)}  # inputs of a method -> tensors of its batches


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
    change_frames: Tensor | None = None  # int64 [2, V], the frames t and t' of each state change
    video: Tensor | None = None  # [B, d], or of another width where the readout keeps slots apart
    beside: dict[str, Tensor] | None = None  # head -> [B, C]: a second answer, with a cross entropy of its own


class Grouping(nn.Module):
    """What groups a frame's patches: [b, N, J] -> (objects [b, K, d], A [b, K, N]); `num_slots` is K."""

    num_slots: int


class Method(nn.Module, ABC):
    """Base of all methods.

    Attributes:
        inputs: what the pipeline delivers: "features" (`patches` [B, T, N, J] and `cls` [B, T, J] of the frozen
            backbone) or "frames" (`frames` uint8 [B, T, S, S, 3]).
        training_only: children that inference never runs; left out of the accounting.
        splits_batches: whether each loss is a sum over clips divided by `counts`, so that parts of a batch, one after
            the other, have the gradient of the whole. False where a loss compares the clips of a batch.
        losses_once: whether `losses` moves something on, such as a queue or a teacher, so that it is called once a step
            and clips are not mixed.
        kept: names, beside those of the parameters that ask for a gradient, of what a checkpoint must hold: buffers
            that training changes, and parameters that `begin` sets and that stay as they are.
        first_clips: training clips whose tokens `begin` wants to see; 0: none.
    """

    inputs: ClassVar[Literal["features", "frames"]] = "features"
    training_only: ClassVar[tuple[str, ...]] = ()
    splits_batches: ClassVar[bool] = False
    losses_once: ClassVar[bool] = False
    kept: tuple[str, ...] = ()
    first_clips: int = 0

    @classmethod
    def check(cls, training: Training) -> None:
        """Refuse a training that this method cannot have.

        Raises:
            InputError: it asks for parts of batches, and the method does not split them.
        """
        if training.micro_batch and not cls.splits_batches:
            why = "a loss of this method compares the clips of a batch, so they must be computed at once"
            raise InputError(f"training.micro_batch: {why}; leave it out, or lower training.batch_size")

    @abstractmethod
    def forward(self, batch: dict[str, Tensor]) -> Output:
        """Answer to a batch of clips; reads the keys that `inputs` names and nothing of the labels."""

    @abstractmethod
    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """This worker's share of every loss; the sum over workers is the loss of the global batch.

        Args:
            output: of `forward(batch)`.
            batch: `labels` int64 [B, heads] (-1: none) and `valid` bool [B] beside the inputs.
            step: with the seed, all that whatever is drawn may depend on, so that all workers draw alike.
            counts: int64 sums over the global batch, of which `batch` may be a part: "valid" [], clips that count, and
                "labelled" [heads], those with a label. None: `batch` is this worker's whole share.

        Returns:
            Scalars: "total", which is learned from, its terms, and detached counts with a "/" in the key.
        """

    def begin(self, tokens: Tensor) -> None:
        """Set what depends on the data before the first step; called once, if `first_clips` is above 0.

        Args:
            tokens: float16 or float32 [f, N, J], the patch tokens of one frame of each of the first `first_clips`
                training clips; the same for any number of workers.
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

    def parameter_groups(self, training: Training) -> list[dict]:
        """What learns, as torch's optimisers take it: weight decay on matrices only, none on biases,
        norms and queries.

        A group's `pace`, 1 where there is none, is its learning rate as a multiple of `training.lr`. Groups that are
        `apart` are not clipped by the norm of the others, but by their own.
        """
        return groups_of(dict(self.named_parameters()), training)

    def learned_state(self) -> dict[str, Tensor]:
        """What a checkpoint holds: the parameters that ask for a gradient and those `kept`,
        never the frozen backbone.
        """
        names = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        names |= set(self.kept)
        return {name: value for name, value in self.state_dict().items() if name in names}

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `learned_state` gave.

        Raises:
            RuntimeError: names or shapes are not those of this method.
        """
        own = self.learned_state().keys()
        if own != state.keys():
            lacking, foreign = (
                ", ".join(sorted(names)) or "none" for names in (own - state.keys(), state.keys() - own)
            )
            raise RuntimeError(f"missing: {lacking}; unexpected: {foreign}")
        self.load_state_dict(state, strict=False)


def groups_of(
    parameters: dict[str, nn.Parameter], training: Training, pace: float = 1.0, apart: bool = False
) -> list[dict]:
    """Groups of named parameters, frozen ones left out, that learn at `pace` times the learning rate."""
    decayed, plain = [], []
    for name, parameter in parameters.items():
        if parameter.requires_grad:
            (plain if parameter.ndim < 2 or name.endswith("queries") else decayed).append(parameter)
    common = ({} if pace == 1 else {"pace": pace}) | ({"apart": True} if apart else {})
    groups = [{"params": decayed, "weight_decay": training.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group | common for group in groups if group["params"]]
