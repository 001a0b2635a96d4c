"""An exponential moving average of what a method learns."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..methods.method import Method


class Average:
    """w <- decay w + (1 - decay) v at each step, of all that a checkpoint holds; v: the weights that learn.

    It begins as the weights before the first step. Buffers of whole numbers are those of the last step.
    """

    def __init__(self, method: Method, decay: float):
        self.decay = decay
        self.weights: dict[str, Tensor] = {}
        self.begin(method)

    def begin(self, method: Method) -> None:
        """Be the weights that the method has now."""
        self.weights = {name: value.detach().clone() for name, value in method.learned_state().items()}

    @torch.no_grad()
    def update(self, method: Method) -> None:
        """A step is done."""
        for name, value in method.learned_state().items():
            mine = self.weights[name]
            if mine.is_floating_point():
                mine.mul_(self.decay).add_(value, alpha=1 - self.decay)
            else:
                mine.copy_(value)

    @contextmanager
    def inside(self, method: Method) -> Iterator[None]:
        """While inside, the method has the averaged weights; then its own again."""
        own = {name: value.detach().clone() for name, value in method.learned_state().items()}
        method.load_learned_state(self.weights)
        try:
            yield
        finally:
            method.load_learned_state(own)
