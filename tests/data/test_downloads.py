"""Downloads of a node: within their bound, whole or not there, for many processes at once, whatever is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from objadapt.data import downloads as downloads_module
from objadapt.data.downloads import LOCKS, Downloads
from objadapt.errors import FullDisk, InputError


def writing(content: bytes, asked: list | None = None):
    def fetch(to: Path) -> None:
        if asked is not None:
            asked.append(content)
        to.write_bytes(content)

    return fetch


def get(kept: Downloads, key: str, size: int = 10) -> bool:
    """Whether a file had to be fetched; its content is right."""
    content = key.encode().ljust(size, b".")
    with kept.file(key, size, writing(content)) as (path, fetched):
        assert Path(path).read_bytes() == content
    return fetched


def kept_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != LOCKS]


def test_a_file_is_fetched_once(tmp_path):
    kept = Downloads(tmp_path / "new", 100)
    assert [get(kept, "a"), get(kept, "a"), get(kept, "b"), get(kept, "a")] == [True, False, True, False]


def test_what_was_not_used_for_longest_goes(tmp_path):
    kept = Downloads(tmp_path, 30)
    for key in "abc":
        assert get(kept, key)
    assert not get(kept, "a")
    assert get(kept, "d")  # b goes, and c: a tenth of the bound is left free for more
    assert sum(path.stat().st_size for path in kept_files(tmp_path)) <= 30
    assert not get(kept, "a") and not get(kept, "d") and get(kept, "b")


def test_what_is_being_read_stays_however_small_the_bound(tmp_path):
    kept = Downloads(tmp_path, 10)
    with kept.file("a", 10, writing(b"a" * 10)) as (first, _):
        for key in "bcd":
            with kept.file(key, 10, writing(key.encode() * 10)) as (path, _):
                assert Path(first).read_bytes() == b"a" * 10 and Path(path).read_bytes() == key.encode() * 10
    with kept.file("larger than all", 50, writing(b"x" * 50)) as (path, _):
        assert os.path.getsize(path) == 50


def test_other_files_of_the_folder_are_nobodys_business(tmp_path):
    for name in ("film.mp4", "0123456789abcdef0123456789abcdef", ".hidden.part"):
        (tmp_path / name).write_bytes(b"mine" * 100)
    kept = Downloads(tmp_path, 20)
    for key in "abcdefgh":
        get(kept, key)
    assert all((tmp_path / name).exists() for name in ("film.mp4", "0123456789abcdef0123456789abcdef", ".hidden.part"))


def test_a_failed_download_leaves_nothing_and_is_made_again(tmp_path):
    kept = Downloads(tmp_path, 100)

    def fails(to: Path) -> None:
        to.write_bytes(b"half")
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError), kept.file("a", 10, fails):
        pass
    assert not kept_files(tmp_path) and get(kept, "a")


def test_a_file_that_is_not_whole_is_none(tmp_path):
    kept = Downloads(tmp_path, 100)
    get(kept, "a")
    [file] = kept_files(tmp_path)
    for damaged in (b"", b"short", b"a file of another length"):  # as a power failure leaves one
        file.write_bytes(damaged)
        assert get(kept, "a")
    (tmp_path / LOCKS / "used").write_text("no number")
    assert not get(kept, "a") and get(kept, "b")


CHILD = """
import sys, time
from pathlib import Path
from objadapt.data.downloads import Downloads
folder, key, seconds, most = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])

def fetch(to):
    (folder.parent / "asked").open("a").write(key + "\\n")
    with to.open("wb") as file:
        for _ in range(10):
            file.write(key.encode()[:1])
            file.flush()
            time.sleep(seconds / 10)

for _ in range(int(sys.argv[5])):
    for name in key.split(","):
        key = name
        with Downloads(folder, most).file(name, 10, fetch) as (path, _):
            assert Path(path).read_bytes() == name.encode()[:1] * 10, path
            time.sleep(0.001)
            assert Path(path).read_bytes() == name.encode()[:1] * 10, path
"""


def child(folder: Path, key: str, seconds: float, most: int = 1000, rounds: int = 1) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(folder), key, str(seconds), str(most), str(rounds)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "platform")})


def test_processes_that_want_the_same_file_fetch_it_once(tmp_path):
    children = [child(tmp_path / "kept", "a", 1.0) for _ in range(3)]
    assert [one.wait(60) for one in children] == [0, 0, 0]
    assert (tmp_path / "asked").read_text().split() == ["a"]


def test_processes_that_push_each_others_files_out_never_lose_one_in_use(tmp_path):
    children = [child(tmp_path / "kept", names, 0.0, 30, 30) for names in ("a,b,c,d,e", "e,d,c,b,a", "c,a,e,b,d")]
    assert [one.wait(120) for one in children] == [0, 0, 0]
    assert sum(path.stat().st_size for path in kept_files(tmp_path / "kept")) <= 60  # two others were in use


def test_a_process_killed_half_way_through_a_download_hinders_nobody(tmp_path):
    folder = tmp_path / "kept"
    killed = child(folder, "a", 60)
    until = time.monotonic() + 300
    while not any(path.suffix == ".part" and path.stat().st_size for path in folder.glob(".*")):
        assert time.monotonic() < until and killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    [part] = kept_files(folder)
    kept = Downloads(folder, 25)
    assert get(kept, "a") and part.exists()  # not taken for the file
    assert get(kept, "b") and get(kept, "c")
    assert not part.exists()  # cleared away with the first that were too many


def test_a_full_disk_is_told_by_name(small_disk):
    with pytest.raises(FullDisk, match="No space left"):
        with Downloads(small_disk / "kept", 10**9).file("a", 10**6, writing(b"x" * 10**6)):
            pass
    assert not kept_files(small_disk / "kept")


def test_at_most_half_of_the_free_disk_is_taken(small_disk):
    kept = Downloads(small_disk / "kept", 10**9)
    for key in "abcdefgh":
        get(kept, key, 30_000)
    assert 30_000 <= sum(path.stat().st_size for path in kept_files(small_disk / "kept")) <= 120_000


def test_a_folder_that_cannot_be_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="^stream.download_cache: cannot make"),
        Downloads(tmp_path / "file" / "x", 10).file("a", 1, writing(b"a")),
    ):
        pass
    monkeypatch.setattr(downloads_module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(downloads_module.os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(InputError, match="belongs to somebody else"), Downloads(None, 10).file("a", 1, writing(b"a")):
        pass
