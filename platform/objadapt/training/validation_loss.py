"""The loss of validation clips, for methods without a classifier: nothing else says how far they are."""

import torch
from torch import Tensor

from ..methods.distributed import sum_over_workers
from ..methods.method import Method, Output


class WithLoss(Method):
    """A method that notes the loss of every batch that it answers to.

    What a loss draws depends on the number of the batch, so that each validation of a run draws alike.
    """

    def __init__(self, method: Method):
        super().__init__()
        self.method = method
        self.inputs = method.inputs  # pyright: ignore[reportAttributeAccessIssue]  # that of what it holds
        self.sums: list[Tensor] = []  # [loss, clips] of each batch, over all workers

    def forward(self, batch: dict[str, Tensor]) -> Output:
        """The method's own answer."""
        output = self.method(batch)
        clips = sum_over_workers(batch["valid"].sum())
        total = sum_over_workers(self.losses(output, batch, len(self.sums))["total"].float())
        self.sums.append(torch.stack([total.cpu() * clips.cpu(), clips.cpu().float()]))
        return output

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The method's own."""
        return self.method.losses(output, batch, step, counts)

    def mean(self) -> float:
        """Over all clips of all workers; nan without any."""
        if not self.sums:
            return float("nan")
        loss, clips = torch.stack(self.sums).sum(dim=0).tolist()
        return loss / clips if clips else float("nan")
