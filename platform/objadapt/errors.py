"""What is not our code's fault: input that is wrong, and a disk that is full."""

import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
# of terminals: ESC [ ... letter (colours, cursor), ESC ] ... BEL (title, links), ESC and a letter;
# also in their one-byte forms
_TERMINAL_CODE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]).*?(?:\x07|\x9c|\x1b\\|$)|\x1b[ -/]*[0-~]",
    re.DOTALL,
)


def printable(text: str) -> str:
    """Names and contents of files as a terminal, a log or a page may show them: on one line, terminal codes taken out.

    Every other character that does not print (controls, direction marks, halves of characters) becomes a space or
    U+FFFD.
    """
    return "".join(
        one if one.isprintable() else " " if one.isspace() else "\ufffd" for one in _TERMINAL_CODE.sub("", text)
    )


class InputError(ValueError):
    """Bad input from the user: a config key, a file, a command-line argument.

    The message is one line: which field or file, what is wrong, what to do. Jobs
    print it and end with exit code 2; it never comes with a traceback. What it quotes of
    a file is made `printable` here.
    """

    def __init__(self, message: str):
        super().__init__(printable(str(message)))


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`did you mean losses? `, or nothing where no known word is close."""
    close = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {close[0]}? " if close else ""


class FullDisk(Exception):
    """A disk, or a quota, is full. The first line of the message names the file; Ray Data adds lines of its own."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """A full disk met inside becomes a `FullDisk` that names this file, which gets through Ray as it is."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise FullDisk(f"{error.filename or path}: {os.strerror(error.errno)}") from error


def unfit_path(error: BaseException) -> str | None:
    """Why a path can be no file's, as one line: a name that is too long, a link that leads to itself; else None."""
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else ""
        return f"{name[:80]}{'...' * (len(name) > 80)}: {os.strerror(error.errno)}; give another path"
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # of `Path.resolve`
        return f"{error}; give another path"
    return None


def full_disk(error: BaseException) -> str | None:
    """The full disk behind an exception, however many times Ray has wrapped it, as one line; None where it is none."""
    seen, waiting = [], [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or one in seen:
            continue
        seen.append(one)
        waiting += [one.__cause__, one.__context__, getattr(one, "cause", None)]
        waiting += (getattr(one, "worker_failures", None) or {}).values()  # of Ray Train
    for one in reversed(seen):  # the innermost knows best
        if type(one) is FullDisk:
            return str(one).splitlines()[0]
    return next((os.strerror(one.errno) for one in seen if isinstance(one, OSError) and one.errno in FULL), None)
