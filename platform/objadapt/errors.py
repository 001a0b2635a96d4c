"""What is not our code's fault: input that is wrong, and a disk that is full."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Bad input from the user: a config key, a file, a command-line argument.

    The message is one line: which field or file, what is wrong, what to do. Jobs
    print it and end with exit code 2; it never comes with a traceback.
    """


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError from inside says which file it was about; one from a write does not by itself."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def out_of_space(error: BaseException) -> OSError | None:
    """The full disk (or quota) behind an exception, however many times Ray has wrapped it; None where it is something else."""
    seen, waiting = set(), [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or not isinstance(one, BaseException):
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT):
            return one
        waiting += [one.__cause__, one.__context__, getattr(one, "cause", None)]
        waiting += (getattr(one, "worker_failures", None) or {}).values()  # of Ray Train
    return None
