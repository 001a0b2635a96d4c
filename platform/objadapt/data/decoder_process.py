"""Videos decoded frame by frame in another process, which a broken or hostile file may crash, stop or fill.

Nothing but the one frame on its way is in memory, so a video may have any length. The process is kept from video to
video; one that has died is replaced.
"""

from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from time import monotonic

import numpy as np

from .decode import DecodeError, VideoInfo, frames_in_turn, probe
from .limits import MEMORY, bounded_memory

SECONDS = 30.0  # without a sign of life, after which the process is killed
START_SECONDS = 120.0  # the same while the process starts, on a machine that is busy
PULSE = 1.0  # seconds between signs of life


class DecoderProcess:
    """`with DecoderProcess() as decoder:`; one question at a time.

    Args:
        seconds: without a frame or other sign of life, after which a video is given up.
    """

    def __init__(self, seconds: float = SECONDS):
        self.seconds = seconds
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._started = self._asked = False

    def __enter__(self) -> "DecoderProcess":
        return self

    def __exit__(self, *_) -> None:
        self._end()

    def probe(self, path: str) -> VideoInfo:
        """`decode.probe` of a local file.

        Raises:
            DecodeError: its own, or the process crashed, gave no answer, or took too much memory.
        """
        self._ask(("probe", path))
        info = self._answer()
        self._asked = False
        return info

    def frames(self, path: str, wanted: np.ndarray, info: VideoInfo) -> Iterator[np.ndarray]:
        """`decode.frames_in_turn`; errors as of `probe`. What is not taken to its end is given up with its process."""
        self._ask(("frames", path, np.asarray(wanted), info))
        shape = (info.height, info.width, 3)
        for left in reversed(range(len(wanted))):
            frame = np.empty(shape, np.uint8)
            self._answer(memoryview(frame).cast("B"))
            self._asked = left > 0
            yield frame

    def _ask(self, question: tuple) -> None:
        if self._asked or self._process is None or not self._process.is_alive():
            self._end()
            here, there = get_context("spawn").Pipe()
            self._process = get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
            self._process.start()
            there.close()  # else its end of the pipe outlives the process
            self._pipe, self._started = here, False
        self._asked = True
        assert self._pipe is not None, "a process has its pipe"
        self._pipe.send(question)

    def _answer(self, frame: memoryview | None = None):
        """The next thing that the process says, signs of life left out; a frame's bytes go into `frame`."""
        assert self._pipe is not None, "there was a question"
        try:
            while self._pipe.poll(self.seconds if self._started else max(self.seconds, START_SECONDS)):
                kind, content = self._pipe.recv()
                self._started = True
                if kind == "frame" and frame is not None:
                    return self._pipe.recv_bytes_into(frame)
                if kind == "error":
                    self._asked = False
                    raise DecodeError(*content)
                if kind != "alive":
                    return content
        except (EOFError, OSError):
            self._end()
            raise DecodeError("decode", "the decoder crashed") from None
        self._end()
        raise DecodeError("decode", f"no answer within {self.seconds:g} s")

    def _end(self) -> None:
        if self._process is not None and self._pipe is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None
        self._asked = False


def _serve(pipe: Connection) -> None:
    """What the process does: questions in; frames, signs of life and reasons out."""
    try:
        pipe.send(("alive", None))
        while True:
            kind, *arguments = pipe.recv()
            try:
                with bounded_memory():
                    if kind == "probe":
                        pipe.send(("done", probe(*arguments, alive=_pulse(pipe))))
                        continue
                    for frame in frames_in_turn(*arguments, alive=_pulse(pipe)):
                        pipe.send(("frame", None))
                        pipe.send_bytes(memoryview(np.ascontiguousarray(frame)).cast("B"))
            except DecodeError as error:
                pipe.send(("error", (error.stage, error.reason)))
            except MemoryError:
                pipe.send(("error", ("decode", f"takes more than {MEMORY // 2**30} GiB of memory")))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):  # nobody asks any more
        return


def _pulse(pipe: Connection) -> Callable[[], None]:
    last = monotonic()

    def alive() -> None:
        nonlocal last
        if monotonic() - last > PULSE:
            last = monotonic()
            pipe.send(("alive", None))

    return alive
