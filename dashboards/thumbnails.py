"""A small picture of each clip, decoded in a process of its own, which a bad video may crash or hang.

The process is this module run as a program. Each line of its standard input is a clip as JSON, each line of its
standard output a picture in base64, or an empty line where there is none. When it dies, the clip that killed it has no
picture, and a new process goes on with the next.
"""

import base64
import io
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
from PIL import Image

from dashboards.clip import Clip
from objadapt.data.clip import span
from objadapt.data.decode import decode_frames
from objadapt.data.limits import MEMORY, bounded_memory
from objadapt.data.local_copy import local_file
from objadapt.data.probe import DecodeError, probe

SECONDS = 20  # for one clip, the start of the process included
SIZE = 240  # pixels of the longer side


def thumbnails(clips: list[Clip]) -> Iterator[bytes | None]:
    """The middle frame of each clip as JPEG; None where it cannot be read."""
    left = list(clips)
    while left:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", __name__]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            while left:
                answer = _asked(process, left.pop(0))
                yield base64.b64decode(answer) or None if answer is not None else None
                if answer is None:
                    break  # it died or was ended
        finally:
            process.kill()
            process.communicate()


def _asked(process: subprocess.Popen, clip: Clip) -> bytes | None:
    """The process's line about a clip; None where it gives none in time."""
    question = {"file": clip.file, "start_s": clip.start_s, "end_s": clip.end_s, "pictures": clip.pictures}
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    try:
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        return None
    finally:
        timer.cancel()
    return line.rstrip() if line.endswith(b"\n") else None


def middle_frame(file: str | None, start_s: float, end_s: float, pictures: list[str]) -> Image.Image:
    """The frame in the middle of a clip."""
    if file is None:
        return Image.open(pictures[len(pictures) // 2]).convert("RGB")
    with local_file(file) as local:
        info = probe(local)
        first, stop = span(info, start_s, end_s)
        frames, _ = decode_frames(local, np.array([(first + stop) // 2]), info)
    return Image.fromarray(frames[0])


def answer() -> None:
    """The program: answers each line of its standard input until that ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that what a library prints is no answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        question, written = json.loads(line), io.BytesIO()
        try:
            with bounded_memory(MEMORY):
                picture = middle_frame(**question)
                picture.thumbnail((SIZE, SIZE))
                picture.save(written, "JPEG", quality=80)
        except (DecodeError, MemoryError, OSError, ValueError):
            written = io.BytesIO()  # Objects says why, when the clip is chosen
        answers.write(base64.b64encode(written.getvalue()) + b"\n")
        answers.flush()


if __name__ == "__main__":
    answer()
