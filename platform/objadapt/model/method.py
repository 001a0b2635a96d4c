"""What every method is to the platform: which inputs it takes, what of it learns, and whether its batches can be split."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from ..config import Training
from ..errors import InputError

INPUTS = {"features": ("patches", "cls"), "frames": ("frames",)}  # inputs of a method -> tensors of its batches


class Method(nn.Module):
    """Base of all methods: `forward(batch)` -> an output with `logits`, head -> [B, C], and `losses`.

    `losses(output, batch, step, counts)` -> scalars, this worker's share of each loss of the global batch: own sums over
    global counts. "total" is what is minimised; keys with a "/" are counts.
    `counts` are int64 sums over the global batch: "valid", clips that count, and "labelled" [heads], those with a label.

    Attributes:
        inputs: "features": batches have patches [B, T, N, J] and cls [B, T, J], float16, of the frozen backbone;
            "frames": uint8 [B, T, S, S, 3], and the method runs the backbone itself.
        splits_batches: whether each loss is a sum over clips divided by `counts`, so that parts of a batch, one after the
            other, have the gradient of the whole. False where a loss compares the clips of a batch.
        leaves_out: whether some parameters that learn get no gradient in some step.
        learned_buffers: names of buffers that training changes.
    """

    inputs: ClassVar[Literal["features", "frames"]] = "features"
    splits_batches: ClassVar[bool] = False
    learned_buffers: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def check(cls, training: Training) -> None:
        """Refuse a training that this method cannot have.

        Raises:
            InputError: it asks for parts of batches, and the method does not split them.
        """
        if training.micro_batch and not cls.splits_batches:
            why = "a loss of this method compares the clips of a batch, so they must be computed at once"
            raise InputError(f"training.micro_batch: {why}; leave it out, or lower training.batch_size")

    @property
    def leaves_out(self) -> bool:
        """See above."""
        return False

    def parameter_groups(self, training: Training) -> list[dict]:
        """What learns, as torch's optimisers take it: weight decay on matrices only, none on biases, norms and queries."""
        decayed, plain = [], []
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                (plain if parameter.ndim < 2 or name.endswith("queries") else decayed).append(parameter)
        groups = [{"params": decayed, "weight_decay": training.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]

    def learned_state(self) -> dict[str, Tensor]:
        """What a checkpoint holds: the parameters that ask for a gradient and `learned_buffers`, never the frozen backbone."""
        names = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        names |= set(self.learned_buffers)
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
