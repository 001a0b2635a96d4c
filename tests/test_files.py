"""A file is there whole or not at all, and a full disk is named with it."""

import os
from pathlib import Path

import pytest

from objadapt.data import toy
from objadapt.errors import FullDisk
from objadapt.files import write_whole


@pytest.mark.parametrize("content", ["état ±\n", b"\x00\xff", memoryview(b"some bytes")], ids=["text", "bytes", "view"])
def test_what_is_written_is_read(tmp_path, content):
    (tmp_path / "x").write_text("before")
    write_whole(tmp_path / "x", content)
    assert (tmp_path / "x").read_bytes() == (content.encode() if isinstance(content, str) else bytes(content))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_on_a_full_disk_the_file_of_before_stays(small_disk):
    write_whole(small_disk / "x", "before")
    with pytest.raises(FullDisk, match=f"^{small_disk}/x: No space left on device$"):
        write_whole(small_disk / "x", bytes(300_000))
    assert (small_disk / "x").read_text() == "before" and os.listdir(small_disk) == ["x"]


def test_other_errors_are_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "x", "text")


def test_toy_data_on_a_full_disk(small_disk):
    options = toy.Options(train=32, validation=16, resolution=64, length=12, davis=0)
    with pytest.raises(FullDisk, match=f"^{small_disk}/toy/videos/.*: No space left on device"):
        list(toy.make(Path(small_disk) / "toy", options, workers=1))
    assert all(path.stat().st_size for path in small_disk.rglob("*.mp4")) and not list(small_disk.rglob("*.part"))
