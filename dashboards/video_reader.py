"""A clip's frames, decoded in a process of its own: a video that crashes or hangs the decoder ends that process alone.

The process is this module run as a program. Each question is a line of JSON on its standard input. The answer on its
standard output is a line of JSON and, for frames, their bytes.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from objadapt.data.clip import span
from objadapt.data.decode import decode_frames
from objadapt.data.limits import MEMORY, bounded_memory
from objadapt.data.local_copy import local_file
from objadapt.data.probe import DecodeError, probe

SECONDS = 60  # a clip's reading may take in all


class Reader:
    """The frames of a clip by their place in it.

    Attributes:
        times: float [n], seconds from the clip's first frame.
        height, width: pixels.
    """

    def __init__(self, process: subprocess.Popen):
        self._process, self._left = process, float(SECONDS)
        about, _ = self._ask(None, 0)
        self.times, self.height, self.width = np.array(about["times"]), about["height"], about["width"]

    def read(self, places: np.ndarray) -> np.ndarray:
        """Frames uint8 [n, H, W, 3].

        Raises:
            DecodeError: the file cannot give exactly these frames, or the process died of it.
            TimeoutError: no answer.
        """
        shape = len(places), self.height, self.width, 3
        return self._ask(np.asarray(places).tolist(), int(np.prod(shape)))[1].reshape(shape)

    def _ask(self, places: list[int] | None, size: int) -> tuple[dict, np.ndarray]:
        """The answer about these places (None: about the clip), and the `size` bytes that follow."""
        late, began, content = threading.Event(), time.monotonic(), np.empty(size, np.uint8)

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(max(0.0, self._left), end)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(places).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            facts = json.loads(line) if line.endswith(b"\n") else {}
            if "error" in facts:
                raise DecodeError(*facts["error"])
            if facts and self._process.stdout.readinto(content) == size:
                return facts, content
        except BrokenPipeError:
            pass  # the process is dead
        finally:
            timer.cancel()
            self._left -= time.monotonic() - began
        if late.is_set():
            raise TimeoutError(f"no answer within {SECONDS:g} s")
        raise DecodeError("decode", "the decoder crashed")


@contextmanager
def reading(path: str, start_s: float, end_s: float) -> Iterator[Reader]:
    """Read the span [start, end) in seconds (nan: open) of a video (path or URL); the process ends with the block.

    Raises:
        DecodeError: unreadable video, empty span, or a decoder that crashed or took too much memory.
        TimeoutError: no answer.
    """
    with local_file(path) as local:
        command = [sys.executable, "-m", __name__, local, str(start_s), str(end_s), str(MEMORY)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            yield Reader(process)
        finally:
            process.kill()
            process.communicate()


def answer(path: str, start_s: float, end_s: float, memory: int) -> None:
    """The program: answers each line of its standard input until that ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that what a library prints is no answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (4 * SECONDS, 4 * SECONDS))  # in case the app is gone
    info = first = None
    for line in sys.stdin.buffer:
        places, frames = json.loads(line), np.empty(0, np.uint8)
        try:
            with bounded_memory(memory):
                if places is None:
                    info = probe(path)
                    first, stop = span(info, start_s, end_s)
                    times = info.pts_s[first:stop] - info.pts_s[first]
                    facts = {"times": times.tolist(), "height": info.height, "width": info.width}
                else:
                    frames, decoder = decode_frames(path, np.array(places) + first, info)
                    facts = {"decoder": decoder}
        except DecodeError as error:
            facts = {"error": [error.stage, error.reason]}
        except MemoryError:
            facts = {"error": ["decode", f"takes more than {memory / 2**30:g} GiB of memory"]}
        answers.write(json.dumps(facts).encode() + b"\n")
        answers.write(np.ascontiguousarray(frames))
        answers.flush()


if __name__ == "__main__":
    answer(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
