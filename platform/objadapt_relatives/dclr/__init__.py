"""Dual contrastive learning on frozen features (DCLR, arXiv 2207.05340): `method.module=objadapt_relatives.dclr`."""

from .method import DCLR, build
from .settings import Settings

__all__ = ["DCLR", "Settings", "build"]
