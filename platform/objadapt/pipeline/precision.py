"""What the backbone computes in, by where its encoders are placed."""

import re

from .. import config
from ..backbone.encoder import HALF, say_float32
from .automatic import within_reach
from .placement import Nodes, nodes

# Turing, Volta and older, as Ray names them: they imitate bfloat16
WITHOUT_BFLOAT16 = re.compile(r"(Tesla-)?[KMPVT]\d|.*(GTX|TITAN|RTX-20[678]0)")


def precision(backbone: config.Backbone, placed: config.Stream, there: list[Nodes] | None = None) -> str:
    """What the backbone computes in on encoders (without any, on training workers) that are placed so: float32 on CPUs,
    since anything less is slower there; on GPUs what is configured, and for auto bfloat16, or float16 where one of the
    nodes lacks it.
    """
    if not (placed.encoder_gpus if placed.encoders else placed.trainer_gpus):
        return "float32"
    if backbone.precision != "auto":
        return backbone.precision
    # of those that may be started, names may be missing
    there = [*within_reach(), *nodes()] if there is None else there
    called = [node.gpu for node in there if node.gpus]
    return "float16" if any(WITHOUT_BFLOAT16.match(name) for name in called) else "bfloat16"


def precise(backbone: config.Backbone, placed: config.Stream) -> config.Backbone:
    """The backbone with its `precision` on encoders that are placed so.

    A warning says where it is not the one asked for.
    """
    found = precision(backbone, placed)
    if backbone.precision in HALF and found == "float32":
        say_float32(backbone.precision)
    return backbone.model_copy(update={"precision": found})
