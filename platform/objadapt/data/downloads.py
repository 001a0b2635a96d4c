"""Downloaded files kept on a node, within a bound of bytes, for all processes of the node.

    FOLDER/<hash of URL and version>.<bytes>      a whole file; its time of access is when it was last used
    FOLDER/.<the same>.<random>.part              a download that is being made, or whose process was killed
    FOLDER/locks/used                             bytes of all files, as last counted
    FOLDER/locks/<2 hex digits>                   whoever holds it downloads one of the files that begin so

A file is used under a shared lock and removed under an exclusive one, so nobody loses what is being read. The kernel
takes back the locks of a process that is killed. A part is renamed once it is whole, and a file whose size is not the
one in its name is none (a power failure), so that nothing is ever taken for more than it is.
"""

import fcntl
import hashlib
import os
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, naming

KEPT = 0.9  # of the bound, that is left where files are removed: not at every download
LOCKS = "locks"
OURS = re.compile(r"\.?[0-9a-f]{32}\.(\d+)(\.[0-9a-f]{32}\.part)?")


@dataclass(frozen=True)
class Downloads:
    """A folder of downloads.

    Args:
        folder: of each node; None: `objadapt-downloads-UID` in the system's temporary folder.
        most: bytes that it may hold, beside files that are being read. Never more than half of the disk that is free.
    """

    folder: Path | None
    most: int

    @contextmanager
    def file(self, key: str, size: int, fetch: Callable[[Path], object]) -> Iterator[tuple[str, bool]]:
        """(local path of a file, whether it was fetched now); it stays there for the time of the block.

        Args:
            key: names its content: URL and version.
            size: its bytes.
            fetch: writes it to a path.

        Raises:
            FullDisk: there is no room.
            InputError: the folder cannot be made.
        """
        folder = self._made()
        path = folder / f"{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()[:32]}.{size}"
        held, fetched = _hold(path, size), False
        while held is None:
            with _locked(folder / LOCKS / path.name[:2]):  # others that want it wait, and find it
                held = _hold(path, size)
                if held is None:
                    held, fetched = self._fetch(path, size, fetch), True
        try:
            yield str(path), fetched
        finally:
            os.close(held)

    def _made(self) -> Path:
        folder = self.folder or Path(tempfile.gettempdir()) / f"objadapt-downloads-{os.getuid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / LOCKS).mkdir(exist_ok=True, mode=0o700)
            owner = folder.lstat().st_uid
        except OSError as error:
            raise InputError(f"stream.download_cache: cannot make {folder} ({error.strerror}); give a folder") from None
        if not os.access(folder / LOCKS, os.W_OK):
            raise InputError(f"stream.download_cache: {folder} may not be written; give a folder that may be")
        if self.folder is None and owner != os.getuid():  # anybody may make folders in the temporary one
            raise InputError(f"stream.download_cache: {folder} belongs to somebody else; give a folder")
        return folder

    def _fetch(self, path: Path, size: int, fetch: Callable[[Path], object]) -> int | None:
        """Download a file into its place; -> its descriptor under a shared lock, None where it was removed at once."""
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        with naming(path.parent), _locked(path.parent / LOCKS / "used") as used:
            self._make_room(path.parent, size, used)
            held = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(held, fcntl.LOCK_EX)
        try:
            with naming(path):
                fetch(part)
            part.replace(path)
            fcntl.flock(held, fcntl.LOCK_SH)  # `_hold` shares it with this descriptor
            return _hold(path, size)
        finally:
            part.unlink(missing_ok=True)
            os.close(held)

    def _make_room(self, folder: Path, size: int, used: int) -> None:
        """Count `size` bytes more, and remove the files that were not used for longest where they would be too many.

        Args:
            used: descriptor of the file with the number of bytes, which is locked.
        """
        try:
            total = int(os.pread(used, 32, 0))
        except ValueError:  # new, or its writer was killed
            total = _remove(folder, self.most)
        disk = os.statvfs(folder)
        room = min(self.most, (total + disk.f_bavail * disk.f_frsize) // 2)
        if total + size > room:
            total = _remove(folder, int(KEPT * room) - size)
        os.ftruncate(used, 0)
        os.pwrite(used, str(total + size).encode(), 0)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The descriptor of a file, which nobody else has locked."""
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield held
    finally:
        os.close(held)


def _hold(path: Path, size: int) -> int | None:
    """Descriptor of a whole file under a shared lock, which notes its use; None: there is none."""
    try:
        held = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(held, fcntl.LOCK_SH)
    stat = os.fstat(held)
    if stat.st_nlink and stat.st_size == size:
        os.utime(held, ns=(time.time_ns(), stat.st_mtime_ns))  # the time of change is part of what is known of a video
        return held
    os.close(held)
    return None


def _remove(folder: Path, most: int) -> int:
    """Remove dead parts, then the files that were not used for longest, until `most` bytes are left; -> the bytes left.

    What another process reads or downloads stays.
    """
    parts, whole, total = [], [], 0
    for entry in os.scandir(folder):
        if name := OURS.fullmatch(entry.name):  # what else somebody keeps there is not ours to remove
            size = int(name[1])  # of a part: what it will have
            total += size
            (parts if name[2] else whole).append((_last_used(entry), entry.path, size))
    for kind, least in ((parts, 0), (sorted(whole), max(0, most))):
        for _, path, size in kind:
            if total > least and _unlinked(path):
                total -= size
    return total


def _last_used(entry: os.DirEntry) -> int:
    try:
        return entry.stat().st_atime_ns
    except FileNotFoundError:  # a part that has become whole, or failed
        return 0


def _unlinked(path: str) -> bool:
    """Remove a file that nobody holds."""
    try:
        held = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # its download failed meanwhile
        return True
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
        return True
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    finally:
        os.close(held)
