"""The files in a tar archive by its headers alone: names, places and sizes. Nothing is unpacked.

part://<first byte>+<bytes>/<quoted name>::<path or URL of the archive>     a file in it, as manifests name it
"""

import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

BLOCK = 512  # bytes; everything in an archive begins at a multiple of it
RECORD = 20 * BLOCK  # an archive is filled up with zeros to a multiple of it
AHEAD = 16 * 1024  # bytes read at a time: a few headers, and the labels between them
LONGEST = 2**20  # bytes of a long name or of a pax header; longer ones are damage
EXTENDED, LONG_NAME, LONG_LINK, GLOBAL = b"x", b"L", b"K", b"g"
_PART = re.compile(r"part://(\d{1,15})\+(\d{1,15})/([^:]*)::(.+)", re.DOTALL)


class TarError(Exception):
    """An archive is damaged; the message is one line, which says where."""


@dataclass(frozen=True)
class Member:
    """A file in an archive: its bytes are [start, start + size)."""

    name: str
    start: int
    size: int

    def path(self, archive: str) -> str:
        """How a manifest names it."""
        return f"part://{self.start}+{self.size}/{quote(self.name, errors='surrogateescape')}::{archive}"


def part_of(path: str) -> tuple[Member, str] | None:
    """(member, archive) of a path that `Member.path` made; None for every other path."""
    found = _PART.fullmatch(path) if path.startswith("part://") else None
    if not found or int(found[1]) < BLOCK:  # a header stands in front of every file
        return None
    return Member(unquote(found[3], errors="surrogateescape"), int(found[1]), int(found[2])), found[4]


class Ahead:
    """An archive read by ranges, with what has been read already kept as far as it lies next.

    Args:
        read: (start, stop) -> bytes, fewer at its end.
    """

    def __init__(self, read: Callable[[int, int], bytes]):
        self._read, self._start, self._data = read, 0, b""
        self.bytes = 0  # read so far

    def __call__(self, start: int, size: int) -> bytes:
        """Bytes [start, start + size); fewer at the end of the archive."""
        place = start - self._start
        if not (0 <= place and place + size <= len(self._data)):
            self._start, self._data, place = start, self._read(start, start + max(size, AHEAD)), 0
            self.bytes += len(self._data)
        return self._data[place : place + size]


def members(read: Callable[[int, int], bytes]) -> Iterator[Member]:
    """The files of an archive in their order; folders and links are passed over.

    Args:
        read: (start, size) -> bytes, fewer at the end, as `Ahead`.

    Raises:
        TarError: damaged, compressed or cut off: it has to end with a block of zeros, behind which nothing is left.
    """
    place, name, size = 0, None, None
    while any(block := read(place, BLOCK)):
        header = _header(block, place)
        extra, body = header.type in (EXTENDED, LONG_NAME, LONG_LINK, GLOBAL), place + BLOCK
        wide = header.size if extra or size is None else size
        place = body + -(-wide // BLOCK) * BLOCK
        if extra:
            text = _text(read, body, header.size)
            if header.type == LONG_NAME:
                name = _decoded(text.rstrip(b"\0"))
            elif header.type == EXTENDED:
                given = _pax(text, body)
                name, size = given.get("path", name), int(given["size"]) if "size" in given else size
            continue
        if header.isreg() and not header.issparse():
            yield Member(name if name is not None else header.name, body, wide)
        name = size = None
    if not block:
        raise TarError(f"cut off at byte {place}: it has no end mark")
    if any(read(place, RECORD)):
        raise TarError(
            f"goes on behind its end mark at byte {place}, as two archives in one file do: unpack them apart"
        )


def check_header(block: bytes, member: Member) -> None:
    """TarError where the header in front of a member's bytes is not its own: the archive has been written anew."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise TarError("the archive is not the one that the manifest was made of") from None
    short = member.name.isascii() and len(member.name) < 100
    if header.size != member.size or (short and header.name.removeprefix("./") != member.name.removeprefix("./")):
        raise TarError(f"the archive holds {header.name!r} of {header.size} bytes there: the manifest is of another")


def _header(block: bytes, place: int) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.size < 0:
            raise tarfile.InvalidHeaderError("negative size")
        return header
    except tarfile.TruncatedHeaderError:
        raise TarError(f"cut off at byte {place}, within a header") from None
    except tarfile.HeaderError as error:
        wrong = f"damaged at byte {place} ({error})" if place else "no tar archive, or a compressed one"
        raise TarError(wrong) from None


def _text(read: Callable[[int, int], bytes], start: int, size: int) -> bytes:
    if size > LONGEST:
        raise TarError(f"damaged at byte {start}: a name of {size} bytes")
    if len(text := read(start, size)) < size:
        raise TarError(f"cut off at byte {start + len(text)}")
    return text


def _pax(text: bytes, place: int) -> dict[str, str]:
    """The records `LENGTH KEY=VALUE` of a pax header."""
    found = {}
    while text.strip(b"\0"):
        number, _, _ = text.partition(b" ")
        length = int(number) if number.isdigit() else 0
        key, equals, value = text[len(number) + 1 : length - 1].partition(b"=")
        if not equals or length > len(text) or text[length - 1 : length] != b"\n":
            raise TarError(f"damaged at byte {place}: no pax header")
        found[_decoded(key)], text = _decoded(value), text[length:]
    if not found.get("size", "0").isdecimal():
        raise TarError(f"damaged at byte {place}: no pax header")
    return found


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
