"""Decoding in a process of its own: a file that kills it (a segmentation fault, the memory monitor)
takes nothing else along.
"""

from collections.abc import Callable

import ray
from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

from ..data.probe import DecodeError

RETRIES = 2  # it may have died of something else


def apart(call: Callable, *arguments):
    """What `call(*arguments)` returns or raises, in another process of the cluster.

    It asks for no CPU of its own, since the task or actor that waits for it has one.

    Raises:
        DecodeError: the process died every time.
    """
    try:
        return ray.get(_call.remote(call, *arguments))
    except RayTaskError as error:
        raise error.cause from None
    except (WorkerCrashedError, OutOfMemoryError) as error:
        died = f"the decoding process died {1 + RETRIES} times of this clip ({type(error).__name__})"
        raise DecodeError("decode", died) from None


@ray.remote(num_cpus=0, max_retries=RETRIES)
def _call(call: Callable, *arguments):
    return call(*arguments)
