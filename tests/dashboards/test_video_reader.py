"""A clip read in a process of its own: the same frames; a decoder that crashes, hangs or eats memory ends it alone."""

import math
import signal
import threading
import time

import numpy as np
import psutil
import pytest
import ray  # noqa: F401  (brings psutil)

from dashboards import video_reader
from dashboards.video_reader import reading
from objadapt.data.decode import decode_frames
from objadapt.data.probe import DecodeError, probe
from objadapt.evaluation.mask_video import write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> str:
    """30 frames of noise, 64 x 48, at 10 frames a second."""
    path = tmp_path_factory.mktemp("video") / "noise.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), dtype=np.uint8), 10)
    return str(path)


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if video_reader.__name__ in one.cmdline()]


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not children()


@pytest.mark.parametrize(
    "start, end, first, stop", [(math.nan, math.nan, 0, 30), (1.0, 2.0, 10, 20), (2.5, math.nan, 25, 30)]
)
def test_frames_are_those_of_the_span(video, start, end, first, stop):
    with reading(video, start, end) as reader:
        seconds = probe(video).pts_s[first:stop]
        assert (reader.times == seconds - seconds[0]).all() and (reader.height, reader.width) == (48, 64)
        for places in ([0], [4, 1, 1, 3], range(stop - first)):
            expected = decode_frames(video, np.array(places) + first)[0]
            assert (reader.read(np.array(places)) == expected).all()
        with pytest.raises(DecodeError, match="sampling"):
            reader.read(np.array([10**6]))
        assert len(reader.read(np.array([0]))) == 1, "a refusal does not end the process"


def as_it_begins(number: int) -> None:
    """Send the next child a signal long before it can answer: it has numpy and FFmpeg to import."""

    def send() -> None:
        while not (found := children()):
            time.sleep(0.05)
        found[0].send_signal(number)

    threading.Thread(target=send, daemon=True).start()


def test_a_decoder_that_hangs_is_ended(video, monkeypatch):
    monkeypatch.setattr(video_reader, "SECONDS", 3)
    as_it_begins(signal.SIGSTOP)
    with pytest.raises(TimeoutError, match="no answer within 3 s"):
        with reading(video, math.nan, math.nan):
            pass


def test_a_decoder_that_crashes_is_told(video):
    as_it_begins(signal.SIGSEGV)
    with pytest.raises(DecodeError, match="decode: the decoder crashed"):
        with reading(video, math.nan, math.nan):
            pass


def test_a_crash_between_two_readings(video):
    with reading(video, math.nan, math.nan) as reader:
        children()[0].send_signal(signal.SIGSEGV)
        for _ in range(2):
            with pytest.raises(DecodeError, match="decode: the decoder crashed"):
                reader.read(np.array([0]))


def test_memory_is_bounded(video, monkeypatch):
    monkeypatch.setattr(video_reader, "MEMORY", 2**29)
    with reading(video, math.nan, math.nan) as reader:
        with pytest.raises(DecodeError, match="decode: takes more than 0.5 GiB of memory"):
            reader.read(np.zeros(10**5, int))  # 0.9 GB
        assert len(reader.read(np.array([0]))) == 1
