"""Random weights of timm's test_vit, J = 64, patches of 16 pixels: `python tests/tiny_weights.py FILE`."""

import os
import sys

import torch

from objadapt import torchvision_compat  # noqa: F401

# isort: split
import timm  # behind torchvision_compat


def draw(path: str | os.PathLike) -> None:
    """Write them. MKL draws slightly others on other processors; `MKL_CBWR=COMPATIBLE` makes them the same."""
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), path)


if __name__ == "__main__":
    draw(sys.argv[1])
