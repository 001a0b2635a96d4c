"""What is called in a process of its own: what it gives, what it raises, and what is left when it dies."""

import os
import signal

import numpy as np
import pytest

from objadapt.data.probe import DecodeError
from objadapt.pipeline.apart import apart


def test_what_it_gives_and_raises_is_as_here(local_ray):
    def refuse(number: int):
        raise DecodeError("demux", f"file {number}")

    pid, found = apart(lambda value: (os.getpid(), value + 1), np.arange(3))
    assert pid != os.getpid() and found.tolist() == [1, 2, 3]
    with pytest.raises(DecodeError, match="^demux: file 7$") as caught:
        apart(refuse, 7)
    assert type(caught.value) is DecodeError and (caught.value.stage, caught.value.reason) == ("demux", "file 7")


def test_what_dies_once_is_done_again_and_what_always_dies_is_a_decode_error(local_ray, tmp_path):
    def die(times: int) -> str:
        before = len(list(tmp_path.iterdir()))
        (tmp_path / str(before)).touch()
        if before < times:
            os.kill(os.getpid(), signal.SIGSEGV)
        return "alive"

    assert apart(die, 1) == "alive"
    with pytest.raises(DecodeError) as caught:
        apart(die, 1000)
    assert caught.value.stage == "decode" and "died 3 times" in caught.value.reason
    assert len(list(tmp_path.iterdir())) == 2 + 3
