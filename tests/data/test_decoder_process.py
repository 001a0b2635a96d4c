"""A video that crashes or stops its decoder costs that video alone; frames are those of `decode_frames`, one by one."""

import csv
import os
import signal

import numpy as np
import pytest

from objadapt.data.decode import DecodeError, decode_frames, frames_in_turn, probe
from objadapt.data.decoder_process import DecoderProcess


@pytest.fixture(scope="module")
def decoder():
    with DecoderProcess() as one:
        yield one


@pytest.fixture
def clips(shared) -> list[str]:
    return sorted(str(path) for path in (shared / "clips" / "variants").iterdir() if path.suffix != ".csv")


def test_frames_are_those_of_decode_frames(decoder, clips):
    assert len(clips) == 20
    for path in clips:
        info = decoder.probe(path)
        assert info.pts_s.tolist() == probe(path).pts_s.tolist()
        wanted = np.unique([0, 1, info.num_frames // 2, info.num_frames - 2, info.num_frames - 1])
        expected, _ = decode_frames(path, wanted, info)
        found = list(decoder.frames(path, wanted, info))
        assert len(found) == len(wanted) and (np.stack(found) == expected).all(), path


def test_broken_files_have_the_reasons_of_the_decoder_and_harm_no_other(decoder, shared, clips):
    """The reference reads the same frames in this process."""
    with open(shared / "hostile" / "manifest.csv", newline="") as file:
        paths = [str(shared / "hostile" / row["file"]) for row in csv.DictReader(file)]
    refused = 0
    for path in paths:
        said = []
        for open_file, read in ((probe, frames_in_turn), (decoder.probe, decoder.frames)):
            try:
                info = open_file(path)
                said.append([frame.sum() for frame in read(path, np.arange(info.num_frames), info)])
            except DecodeError as error:
                said.append(str(error))
        assert said[0] == said[1], path
        refused += isinstance(said[1], str)
        assert decoder.probe(clips[0]).num_frames > 1
    assert refused >= 9


def test_a_killed_decoder_is_one_video_s_problem(clips):
    with DecoderProcess() as decoder:
        info = decoder.probe(clips[0])
        frames = decoder.frames(clips[0], np.arange(info.num_frames), info)
        next(frames)
        os.kill(decoder._process.pid, signal.SIGKILL)
        with pytest.raises(DecodeError, match="decode: the decoder crashed"):
            list(frames)
        assert decoder.probe(clips[0]).num_frames == info.num_frames


def test_a_decoder_that_stops_is_given_up(clips):
    with DecoderProcess(seconds=2) as decoder:
        info = decoder.probe(clips[0])
        os.kill(decoder._process.pid, signal.SIGSTOP)
        with pytest.raises(DecodeError, match="decode: no answer within 2 s"):
            list(decoder.frames(clips[0], np.arange(3), info))
        process = decoder._process
        assert process is None, "it is not left behind"


def test_what_is_left_in_the_middle_does_not_disturb_the_next(decoder, clips):
    info = decoder.probe(clips[0])
    everything = decoder.frames(clips[0], np.arange(info.num_frames), info)
    first = next(everything)
    again = list(decoder.frames(clips[0], np.array([0, 2]), info))
    assert len(again) == 2 and (again[0] == first).all()
