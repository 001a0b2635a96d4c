"""Static and dynamic concepts on frozen features (arXiv 2207.12795): `method.module=objadapt_relatives.concepts`."""

from .method import Concepts, build
from .settings import Settings

__all__ = ["Concepts", "Settings", "build"]
