"""Whether torch can use the GPUs that Ray lends: Ray counts devices, whatever build of torch the nodes have."""

import logging
import socket
from functools import lru_cache

import ray
import torch

from ..errors import InputError

log = logging.getLogger(__name__)


def check_gpus(gpus: float, precision: str | None = None) -> None:
    """Look at one GPU of the cluster before work is sent to any; waits for one, as the work itself would.

    Args:
        gpus: that a part of the work asks for; 0: there is nothing to look at.
        precision: what the backbone is to compute in there; a GPU that has to imitate it is warned of.

    Raises:
        InputError: torch cannot use it.
    """
    if gpus:
        _check(precision)


@lru_cache(maxsize=8)  # once is enough
def _check(precision: str | None) -> None:
    node, problem, bfloat16 = ray.get(_look.remote())
    if problem:
        remedy = (
            "install torch's CUDA build and NVIDIA's driver there, or set stream.encoder_gpus=0 stream.trainer_gpus=0"
        )
        raise InputError(f"stream: Ray counts a GPU on {node}, but torch there cannot use it ({problem}); {remedy}")
    if precision == "bfloat16" and not bfloat16:
        log.warning("the GPU of %s has to imitate bfloat16, which is slow; set backbone.precision=float16", node)


def check_own_gpu() -> None:
    """As `check_gpus`, of the GPU that this process is to train on.

    Raises:
        InputError: torch cannot use any here.
    """
    _, problem, _ = _state()
    if problem:
        remedy = "set stream.trainer_gpus=0, or stream.num_workers to 1 or more, which finds a node with one"
        raise InputError(
            f"stream.trainer_gpus: this process is to train on a GPU, and torch cannot use one here ({problem});"
            f" {remedy}"
        )


@ray.remote(num_cpus=0, num_gpus=0.001, max_retries=0)  # beside whatever shares the GPU already
def _look() -> tuple[str, str | None, bool]:
    return _state()


def _state() -> tuple[str, str | None, bool]:
    """Name of this machine, what keeps torch from using a GPU here, and whether the GPU has bfloat16 of its own."""
    if torch.version.cuda is None and torch.version.hip is None:
        return socket.gethostname(), f"torch {torch.__version__} is built without CUDA", False
    if not torch.cuda.is_available():
        return socket.gethostname(), "it sees no CUDA device", False
    return socket.gethostname(), None, torch.cuda.is_bf16_supported(including_emulation=False)
