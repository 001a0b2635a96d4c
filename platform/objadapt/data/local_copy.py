"""A video as a local file: the file itself, or a copy of what a URL or a part of an archive holds."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import naming
from .decode_error import DecodeError
from .downloads import Downloads
from .remote import RemoteError, Version, fetch, is_url, known_version, read_range
from .tar_members import BLOCK, Member, TarError, check_header, part_of


@dataclass(frozen=True)
class Copy:
    """A local file that holds a video."""

    path: str
    fetched: int  # bytes read over the network for it
    stays: bool  # under this path, so that what is known of it is worth keeping


@contextmanager
def local_file(path: str, alive: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Local path of a video for the time of the block; `path` itself where it is one. Arguments as of `local_copy`."""
    with local_copy(path, None, alive) as copy:
        yield copy.path


@contextmanager
def local_copy(path: str, downloads: Downloads | None, alive: Callable[[], None] = lambda: None) -> Iterator[Copy]:
    """A video as a local file for the time of the block.

    Args:
        path: a local path, an fsspec URL, or a member of a tar archive (tar_members.py).
        downloads: keeps what is fetched; None: a temporary file, fetched each time.
        alive: called as bytes come in.

    Raises:
        DecodeError: stage "fetch": it cannot be had.
        FullDisk: there is no room for it.
    """
    if not is_url(path):
        yield Copy(path, 0, True)
        return
    with ExitStack() as stack:
        try:
            copy = _copied(path, downloads, alive, stack)
        except (RemoteError, TarError) as error:
            raise DecodeError("fetch", error) from None
        yield copy


def _copied(path: str, downloads: Downloads | None, alive: Callable[[], None], stack: ExitStack) -> Copy:
    part = part_of(path)
    if part is None:
        now = known_version(path)

        def write(to: Path) -> int:
            return fetch(path, to, now.size, alive)
    else:
        member, archive = part
        now = Version(member.size, known_version(archive).tag) if is_url(archive) else Version(None, "")

        def write(to: Path) -> int:
            to.write_bytes(_member(member, archive))
            return member.size if is_url(archive) else 0  # a local archive is no network

    if downloads and now.size is not None:
        kept, fetched = stack.enter_context(downloads.file(f"{path}\0{now.tag}", now.size, write))
        return Copy(kept, now.size if fetched else 0, True)
    to = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="objadapt-"))) / "video"
    with naming(to):
        return Copy(str(to), write(to), False)


def _member(member: Member, archive: str) -> bytes:
    """Its bytes, where the header in front of them still is its own."""
    start, stop = member.start - BLOCK, member.start + member.size
    if is_url(archive):
        data = read_range(archive, start, stop)
    else:
        try:
            with open(archive, "rb") as file:
                file.seek(start)
                data = file.read(stop - start)
        except OSError as error:
            raise TarError(error.strerror) from None
    if len(data) < stop - start:
        raise TarError(f"the archive is cut off: {max(0, len(data) - BLOCK)} of {member.size} bytes are there")
    check_header(data[:BLOCK], member)
    return data[BLOCK:]
