"""What is taken from inside Ray, since nothing public says it. Another version of Ray may move these names.

`tests/test_ray_private.py` tries each, so an upgrade that moves one fails there and not in somebody's training.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray._private.worker
from ray._private import ray_constants
from ray._private.resource_and_label_spec import ResourceAndLabelSpec
from ray._private.services import canonicalize_bootstrap_address
from ray._raylet import GcsClient

LEVEL = "RAY_BACKEND_LOG_LEVEL"
# Ray's loggers -> how lines begin that come at every start, or whose matter comes as an exception, too
HUSHED = {
    "ray._private.authentication.authentication_token_setup": ("Token authentication is enabled",),  # docs/security.md
    "ray.data._internal.progress": ("Progress bars",),  # ours are drawn by training/progress.py
    "ray._private.services": ("Failed to start the dashboard", "Error should be written to"),
}


def attempt() -> int:
    """How often the running task was begun before, in processes that died; 0 outside of Ray."""
    if not ray.is_initialized():
        return 0
    return ray._private.worker.global_worker.core_worker.get_current_task_attempt_number()


def resources_here() -> dict[str, float]:
    """Resources that a Ray started on this machine would count."""
    here = ResourceAndLabelSpec()
    here.resolve(is_head=True, node_ip_address="127.0.0.1")
    return here.to_resource_dict()


def address_meant() -> str | None:
    """HOST:PORT of the Ray that `address="auto"` means: RAY_ADDRESS, else the newest here; None: there is none."""
    return canonicalize_bootstrap_address("auto")


def ask_head(address: str) -> None:
    """Greet the head node at HOST:PORT, with this process's token.

    Raises:
        ray.exceptions.AuthenticationError: it takes another token.
    """
    GcsClient(address=address)


@contextmanager
def one_host(only: bool) -> Iterator[None]:
    """While inside, and where `only`, a Ray that is started listens on 127.0.0.1 alone.

    Where RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER is set, Ray takes 127.0.0.1 for the outer address, and listens on all
    interfaces. It reads the variable when it is imported, which may be long ago.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    try:
        ray_constants.ENABLE_RAY_CLUSTER = before and not only
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def quiet_driver() -> Iterator[None]:
    """While inside, the C++ part of this process that joins a Ray is told to log nothing but its own end.

    At each start of encoders it would print, as an error, that actors whose arguments are lost cannot be restarted;
    what becomes of encoders that die is ours to tell. It reads its level from the environment when it is made, and says
    so. The cluster's processes, which are started before, keep theirs.
    """
    connect = ray._private.worker.connect

    def quietly(*arguments, **options):
        if os.environ.get(LEVEL):
            return connect(*arguments, **options)
        os.environ[LEVEL] = "fatal"
        try:
            with _without_lines_of(LEVEL):
                return connect(*arguments, **options)
        finally:
            del os.environ[LEVEL]

    ray._private.worker.connect = quietly
    try:
        yield
    finally:
        ray._private.worker.connect = connect


@contextmanager
def _without_lines_of(word: str) -> Iterator[None]:
    """Hold back what goes to standard error, from C++ too, and write it at the end but for lines with that word."""
    stderr, kept = os.dup(2), os.memfd_create("stderr")
    os.dup2(kept, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        with os.fdopen(kept, "rb") as file:
            file.seek(0)
            os.write(2, b"".join(line for line in file if word.encode() not in line))


@contextmanager
def own_ray() -> Iterator[None]:
    """While inside, what Ray Train starts looks for its actors in this process's Ray.

    Its cleaner would ask the Ray that was last started on the machine, by whomever. A training that is not found there
    is taken for dead, and its workers are ended.
    """
    from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE  # decode tasks, too, import this file

    name = ray_constants.RAY_API_SERVER_ADDRESS_ENVIRONMENT_VARIABLE
    before, told = os.environ.get(name), name in ENV_VARS_TO_PROPAGATE
    os.environ[name] = ray.get_runtime_context().gcs_address
    ENV_VARS_TO_PROPAGATE.add(name)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
        if not told:
            ENV_VARS_TO_PROPAGATE.discard(name)


def hush() -> None:
    """Keep the lines of `HUSHED` from this process's terminal."""
    for name, begins in HUSHED.items():
        logging.getLogger(name).addFilter(lambda record, begins=begins: not record.getMessage().startswith(begins))
