"""Slot attention by projecting slots (ours) against projecting patches (as the paper writes it): one step, in turns.

    python benchmarks/slots_or_patches.py --turns 5

Both give the same numbers; the step is forward and backward of slot attention alone, on random tokens.
"""

import statistics
import sys
import time
from argparse import ArgumentParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "platform"))

import torch
from torch import Tensor

from objadapt.methods.object_centric.slot_attention import SlotAttention

SIZES = {  # frames a step, N, J, d, K, R
    "ViT-S/14, d = 192, R = 1 (jhmdb.yaml)": (256, 256, 384, 192, 8, 1),
    "ViT-B/16, d = 512, R = 3 (kinetics400.yaml)": (64, 196, 512, 512, 8, 3),
    "the same, K = 16": (64, 196, 512, 512, 16, 3),
}


class ProjectedPatches(SlotAttention):
    """The same module with keys and values of every patch."""

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """See `SlotAttention.forward`."""
        patches = self.norm_input(patches)
        k, v = self.to_k(patches), self.to_v(patches)
        slots = queries = self.queries.expand(len(patches), -1, -1)
        for iteration in range(self.iterations):
            if iteration == self.iterations - 1:
                slots = slots.detach() + queries - queries.detach()
            q = self.to_q(self.norm_slots(slots)) * slots.shape[-1] ** -0.5
            attention = (q @ k.transpose(1, 2)).softmax(dim=1)
            updates = attention / (attention.sum(dim=2, keepdim=True) + 1e-8) @ v
            slots = self.gru(updates.flatten(0, 1), slots.flatten(0, 1)).view_as(updates)
        return slots, attention


def seconds(module: SlotAttention, patches: Tensor) -> float:
    """Of one forward and backward."""
    began = time.perf_counter()
    module(patches)[0].sum().backward()
    return time.perf_counter() - began


def main():
    options = ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--turns", type=int, default=5)
    turns = options.parse_args().turns
    for name, (frames, patches, joint_width, width, slots, iterations) in SIZES.items():
        tokens = torch.randn(frames, patches, joint_width)
        ours = SlotAttention(slots, joint_width, width, iterations)
        theirs = ProjectedPatches(slots, joint_width, width, iterations)
        theirs.load_state_dict(ours.state_dict())
        torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-4, atol=1e-5)
        spent = {module: [] for module in (ours, theirs)}
        for module in [ours, theirs] * (turns + 1):
            spent[module].append(seconds(module, tokens))
        one, other = (1000 * statistics.median(spent[module][1:]) / frames for module in (ours, theirs))
        ratios = [b / a for a, b in zip(spent[ours][1:], spent[theirs][1:], strict=True)]
        spread = f"{min(ratios):.1f}-{max(ratios):.1f}"
        print(f"{name}: {one:.2f} ms a frame against {other:.2f}, {other / one:.1f} times less ({spread})")


if __name__ == "__main__":
    main()
