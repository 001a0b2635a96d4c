"""Files by URL, through fsspec: asked for again where the network fails, and one plain error where that does not help.

Secrets never stand in a URL. Each file system takes them from the environment (docs/security.md).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import fsspec
from fsspec.callbacks import Callback

from ..errors import FULL, printable
from ..passwords import redact
from .html_index import links_of

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt
CONNECT_SECONDS, SILENT_SECONDS = 30, 60  # HTTP: to connect, and without a byte; a download itself may take any time
NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "GoogleAuthError", "NoAuthTokens"}
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it warns of what it mends, and of what RemoteError tells
BEHIND_THE_END = 416  # HTTP status of a range that begins where the file has ended
DEEPEST = 32  # folders within folders; a server that answers everything with one page has no end of them
LATER = {408, 425, 429}  # HTTP's 4xx that ask for another attempt
ABSENT = "no such file"
NO_RANGES = "the server gives no part of a file (no HTTP range requests); use a server that does, or whole files"

T = TypeVar("T")


class RemoteError(Exception):
    """A URL could not be read.

    Args:
        reason: kept as one line without secrets.
        absent: there is no such file.
        tried: another attempt might have helped, and all have been made.
    """

    def __init__(self, reason: object, absent: bool = False, tried: bool = False):
        self.reason = " ".join(redact(printable(str(reason))).split())[:300]
        self.absent, self.tried = absent, tried
        super().__init__(self.reason)


@dataclass(frozen=True)
class Version:
    """Which content a URL has now: its bytes (None: the server does not say) and its ETag, or what is like one."""

    size: int | None
    tag: str


def is_url(path: str) -> bool:
    """Whether a path is a URL; every other path is a local file's."""
    return "://" in path


def is_http(path: str) -> bool:
    """Whether names below a URL are percent-encoded in it, as `#`, `%`, `?` and spaces must be for HTTP."""
    return path.startswith(("http://", "https://"))


def url_below(folder: str, name: str) -> str:
    """URL of the file that bears `name` below a folder's URL."""
    return f"{folder.rstrip('/')}/{quote(name) if is_http(folder) else name}"


def name_below(folder: str, path: str) -> str:
    """Name of a file below a folder, both paths or both URLs: what `url_below` was given."""
    name = path.removeprefix(f"{folder}/")
    return unquote(name) if is_http(folder) else name


def ask(url: str, call: Callable[[fsspec.AbstractFileSystem, str], T]) -> T:
    """What `call(file system, path on it)` gives, tried again `len(WAITS)` times with growing waits.

    Raises:
        RemoteError: every attempt failed, or another one would fail as well (no such file, no permission).
        OSError: the local disk is full.
    """
    for wait in (*WAITS, None):
        try:
            return call(*_opened(url))
        except (RemoteError, MemoryError):
            raise
        # botocore, aiohttp and Google's client have no error in common, and none of it is a bug of ours
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            if _lasting(error):
                raise RemoteError(words := _words(error), absent=words == ABSENT) from None
            if wait is None:
                raise RemoteError(f"{_words(error)}, after {1 + len(WAITS)} attempts", tried=True) from None
        time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


# what tells a file from another of its size, by storage: of content first, then times (WebHDFS, FTP, in memory)
TAGS = (
    *("ETag", "etag", "md5Hash", "Last-Modified", "mtime"),
    *("LastModified", "last_modified", "modificationTime", "modify", "modified", "created"),
)


def version(url: str) -> Version:
    """Size and tag of a remote file now; RemoteError where there is none."""
    info = ask(url, lambda files, path: files.info(path))
    if info.get("type") == "directory":
        raise RemoteError(ABSENT, absent=True)
    tags = (str(info[name]) for name in TAGS if info.get(name))
    return Version(info.get("size"), next(tags, ""))


@lru_cache(maxsize=2**17)
def known_version(url: str) -> Version:
    """`version`, asked for once a process: the clips of a run are taken to stay what they are."""
    return version(url)


def exists(url: str) -> bool:
    """Whether there is a file or folder; RemoteError where it cannot be told."""
    try:
        ask(url, _known_anew)
        return True
    except RemoteError as error:
        if error.absent:
            return False
        raise


def list_names(url: str) -> list[str]:
    """Names, relative to a folder's URL, of all files below it, in no order. Over HTTP by the server's index pages."""
    if is_http(url):
        return _http_names(url.rstrip("/") + "/", "")

    def find(files: fsspec.AbstractFileSystem, path: str) -> list[str]:
        files.invalidate_cache()
        return [name.removeprefix(path).lstrip("/") for name in files.find(path) if not name.endswith("/")]

    return ask(url, find)


def read_bytes(url: str) -> bytes:
    """A whole file, such as a table of annotations."""
    return ask(url, lambda files, path: files.cat_file(path))


def read_range(url: str, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of a file; fewer where it ends before."""

    def read(files: fsspec.AbstractFileSystem, path: str) -> bytes:
        if not is_http(url):
            try:
                return files.cat_file(path, start=start, end=stop)
            except Exception as error:  # as in `ask`; here it is the end of the file
                if _status(error) == BEHIND_THE_END:
                    return b""
                raise
        size = known_version(url).size
        if size is None:
            raise RemoteError(NO_RANGES)
        try:  # `cat_file` would take the whole file for a part of it
            with files.open(path, "rb", cache_type="none", size=size) as file:
                file.seek(min(start, size))
                return file.read(max(0, min(stop, size) - start))
        except ValueError as error:
            raise RemoteError(NO_RANGES if "range" in str(error) else error) from None

    data = ask(url, read)
    if len(data) > stop - start:
        raise RemoteError(NO_RANGES)
    return data


def fetch(url: str, to: Path, size: int | None, alive: Callable[[], None] = lambda: None) -> int:
    """Copy a remote file to a local path; -> its bytes.

    Args:
        size: what it must have; None: unknown.
        alive: called as bytes come in.

    Raises:
        RemoteError: it cannot be read, or is shorter or longer than `size`.
        OSError: the local disk is full.
    """

    def get(files: fsspec.AbstractFileSystem, path: str) -> int:
        files.get_file(path, str(to), callback=_Alive(alive))
        found = to.stat().st_size
        if size is not None and found != size:
            raise OSError(f"{found} bytes came of {size}")
        return found

    return ask(url, get)


class _Alive(Callback):
    """Tells that a download gets on."""

    def __init__(self, alive: Callable[[], None]):
        super().__init__()
        self.alive = alive

    def relative_update(self, inc: int = 1) -> None:
        self.alive()


def _opened(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    if not is_http(url):
        protocol, _, path = url.partition("://")
        if "::" not in path or "::" in protocol:
            return fsspec.core.url_to_fs(url)
        # `url_to_fs` would take the object's name for a chain of file systems, and read what stands before the colons
        kind = fsspec.get_filesystem_class(protocol)
        return kind(**kind._get_kwargs_from_urls(url)), kind._strip_protocol(url)  # as it does for any other name
    import aiohttp  # loaded only where HTTP is asked for

    # aiohttp's own limit of five minutes is for the whole of a download, however well it gets on
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    configured = fsspec.config.conf.get("http", {}).get("client_kwargs", {})
    return fsspec.core.url_to_fs(url, client_kwargs={"timeout": timeout, **configured})


def _known_anew(files: fsspec.AbstractFileSystem, path: str) -> dict:
    files.invalidate_cache()  # the same process may have listed the folder before the file was put there
    return files.info(path)


def _http_names(folder: str, before: str) -> list[str]:
    if before.count("/") > DEEPEST:
        raise RemoteError(f"its folders have no end, such as {before}")
    names = []
    for name in links_of(read_bytes(folder), folder):
        if name.endswith("/"):
            names += _http_names(f"{folder}{quote(name)}", before + name)
        else:
            names.append(before + name)
    return names


def _status(error: BaseException | None) -> int | None:
    """HTTP status behind an error: fsspec tells every failure of HTTP as a missing file, with its cause beside it."""
    while error is not None:
        # what a server answered, in aiohttp's words and in gcsfs's; aiohttp's own `code` is of its parser
        name = "code" if type(error).__module__.startswith("gcsfs") else "status"
        if isinstance(found := getattr(error, name, None), int):
            return found
        answer = getattr(error, "response", None)
        if isinstance(answer, dict):
            return answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        error = error.__cause__
    return None


def _lasting(error: Exception) -> bool:
    """Whether another attempt would fail as well."""
    if (status := _status(error)) is not None:
        return 400 <= status < 500 and status not in LATER
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # the server did not answer
    if isinstance(error, ImportError | ValueError | NotImplementedError | FileNotFoundError | PermissionError):
        return True
    return isinstance(error, IsADirectoryError | NotADirectoryError) or type(error).__name__ in NO_CREDENTIALS


def _words(error: Exception) -> str:
    """The error in words, for a person."""
    status = _status(error)
    if isinstance(error, FileNotFoundError) and (status in (404, 410) or status is None and error.__cause__ is None):
        return ABSENT
    cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ is not None else error
    if status is not None and isinstance(error, FileNotFoundError):
        return f"the server answers {status}"
    return f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
