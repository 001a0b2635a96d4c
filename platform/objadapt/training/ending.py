"""SIGTERM, as `ray job stop` sends it: a checkpoint first, then the end that Ctrl-C would bring."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 60.0  # seconds for the checkpoint; none is written while a stream starts or a validation runs


@contextmanager
def checkpoint_on_sigterm(request: Path) -> Iterator[None]:
    """While inside, SIGTERM asks for a checkpoint by the file `request`, which whoever writes it deletes.

    Then SIGINT follows.

    Only in a process's main thread, which alone may take signals; elsewhere (a trial of a sweep) nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def wait() -> None:
        until = time.monotonic() + PATIENCE
        while request.exists() and time.monotonic() < until:
            time.sleep(0.05)
        request.unlink(missing_ok=True)
        os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=wait, daemon=True)  # a thread, since the main one may be the one that trains

    def ask(number: int, frame: object) -> None:
        if waiting.ident is not None:
            return  # it was asked already
        request.touch()
        # as in what a shell starts with `&`, where Ctrl-C is not meant
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        waiting.start()

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, ask)
    try:
        try:
            yield
        finally:
            request.unlink(missing_ok=True)  # nobody is left to write a checkpoint
            if waiting.ident is not None:
                waiting.join()  # here SIGINT comes, if it has not come before
    finally:
        for number, handler in before.items():  # Ray Train leaves its own for SIGINT behind
            signal.signal(number, handler)
