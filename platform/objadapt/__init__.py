"""objadapt: object-centric adaptation of image models to video.

The library side, without Ray: `load` a trained checkpoint, or build a `VideoModel` or `ObjectCentricAdapter` anew.
"""

__version__ = "0.2.0"

from . import nameless_user  # noqa: F401  (first: libraries ask for a name and a home while they are imported)
from .config import Experiment
from .config_file import load_config
from .errors import InputError

__all__ = ["Experiment", "InputError", "ObjectCentricAdapter", "VideoModel", "load", "load_config"]


def __getattr__(name: str):
    """Torch and the backbones' libraries load when first asked for: configs and `--help` stay quick."""
    if name in ("VideoModel", "load"):
        from . import video_model

        return getattr(video_model, name)
    if name == "ObjectCentricAdapter":
        from .methods.object_centric.adapter import ObjectCentricAdapter

        return ObjectCentricAdapter
    raise AttributeError(f"module 'objadapt' has no attribute {name!r}")
