"""Videos decoded whole, each in a process that it may crash or stop: what is wrong with each, no other harmed."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from .decode import DecodeError, probe, scan
from .limits import MEMORY, bounded_memory

SECONDS = 30  # that a file may go without a frame
PULSE = 1.0  # seconds between signs of life


def look(path: str, alive: Callable[[], None]) -> dict:
    """Decode one file whole; -> its row of the report. `alive` is called at each frame."""
    return _row(path, lambda: scan(path, alive))


def glance(path: str, alive: Callable[[], None]) -> dict:
    """Open one file, count its frames and decode the first (more where only that counts them); -> as of `look`."""
    return _row(path, lambda: (probe(path, alive).num_frames, None))


def _row(path: str, read: Callable[[], tuple[int, str | None]]) -> dict:
    row = {"path": path, "ok": False, "decoder": None, "frames": None, "reason": None}
    try:
        with bounded_memory():
            frames, decoder = read()
        return row | {"ok": True, "decoder": decoder, "frames": frames}
    except DecodeError as error:
        return row | {"reason": str(error)}
    except MemoryError:
        return row | {"reason": f"decode: takes more than {MEMORY // 2**30} GiB of memory"}


@dataclass
class _Reader:
    """A process that looks at one file after the other, and what it is at."""

    process: BaseProcess
    pipe: Connection
    path: str | None = None
    sign: float = 0.0  # when it last gave one; 0: the process is still starting

    def late(self, seconds: float) -> bool:
        return self.path is not None and self.sign > 0 and time.monotonic() - self.sign > seconds


def check(paths: list[str], examine: Callable[..., dict] = look, seconds: float = SECONDS) -> Iterator[dict]:
    """The row of each file as it is done, by as many processes as there are cores.

    Args:
        examine: (path, alive) -> row, run in a process of its own, so importable; calls `alive()` as it gets on.
        seconds: without a sign of life, from the moment at which a file is begun, after which its process is killed.
    """
    waiting, readers = list(reversed(paths)), []
    try:
        while waiting or readers:
            while waiting and len(readers) < len(os.sched_getaffinity(0)):
                readers.append(_start(examine))
                readers[-1].path = waiting.pop()
                readers[-1].pipe.send(readers[-1].path)
            wait([one.pipe for one in readers], timeout=0.2)
            for reader in list(readers):
                row = _heard(reader, seconds)
                if row is None:
                    continue
                yield row
                reader.path = waiting.pop() if waiting and reader.process.is_alive() else None
                if reader.path is None:
                    _end(reader)
                    readers.remove(reader)
                else:
                    reader.sign = time.monotonic()
                    reader.pipe.send(reader.path)
    finally:
        for reader in readers:
            _end(reader)


def _heard(reader: _Reader, seconds: float) -> dict | None:
    """The row of the file that a reader is at, once there is one; its process is gone where it was the file's fault."""
    try:
        while reader.pipe.poll():
            if (row := reader.pipe.recv()) is not None:
                return row
            reader.sign = time.monotonic()
    except (EOFError, OSError):
        reader.process.join()
        return _broken(reader.path, "the decoder crashed")
    if not reader.late(seconds):
        return None
    reader.process.kill()
    reader.process.join()
    return _broken(reader.path, f"no answer within {seconds:g} s")


def _start(examine: Callable[..., dict]) -> _Reader:
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_read, args=(there, examine), daemon=True)
    process.start()
    there.close()  # else its end of the pipe outlives the process
    return _Reader(process, here)


def _end(reader: _Reader) -> None:
    reader.pipe.close()
    reader.process.kill()
    reader.process.join()


def _read(pipe: Connection, examine: Callable[..., dict]) -> None:
    """What a reader's process does: paths in; signs of life (None) and rows out."""
    last = 0.0

    def alive() -> None:
        nonlocal last
        if time.monotonic() - last > PULSE:
            last = time.monotonic()
            pipe.send(None)

    try:
        while path := pipe.recv():
            last = 0.0
            alive()
            try:
                row = examine(path, alive)
            except Exception as error:  # a bug of the reader, which is told as that file's
                row = _broken(path, f"the decoder failed: {type(error).__name__}: {error}")
            pipe.send(row)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):  # nobody asks any more
        return


def _broken(path: str | None, reason: str) -> dict:
    return {"path": path, "ok": False, "decoder": None, "frames": None, "reason": reason}
