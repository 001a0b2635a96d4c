"""Headers of tar archives: what the standard library writes is found where it lies, and damage is told."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objadapt.data.tar_members import AHEAD, BLOCK, Ahead, Member, TarError, check_header, members, part_of

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def archive(contents: dict[str, bytes], kind: str = "pax", folders: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[kind]) as tar:
        if folders:
            folder = tarfile.TarInfo("folder")
            folder.type = tarfile.DIRTYPE
            link = tarfile.TarInfo("link.mp4")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(folder)
            tar.addfile(link)
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def found(data: bytes) -> dict[str, bytes]:
    reader = Ahead(lambda start, stop: data[start:stop])
    return {one.name: data[one.start : one.start + one.size] for one in members(reader)}


NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/\r\n"), min_size=1, max_size=150)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(NAMES.filter(lambda name: name.strip(".")), st.binary(max_size=1500), max_size=6),
    st.sampled_from(["gnu", "pax"]),
)
def test_every_file_of_a_written_archive_is_found(contents, kind):
    assert found(archive(contents, kind, folders=True)) == contents


@pytest.mark.parametrize("kind", FORMATS)
def test_large_bodies_are_not_read(kind):
    contents = {f"{number:06d}.mp4": bytes([number]) * 1_000_000 for number in range(5)}
    data = archive(contents, kind)
    reader = Ahead(lambda start, stop: data[start:stop])
    listed = list(members(reader))
    assert [one.name for one in listed] == list(contents) and reader.bytes <= 6 * AHEAD
    for one in listed:
        assert data[one.start : one.start + one.size] == contents[one.name]
        check_header(data[one.start - BLOCK : one.start], one)


def test_an_archive_cut_off_anywhere_is_refused():
    data = archive({"a.mp4": b"x" * 1000, "b" * 120 + ".mp4": b"y" * 100})
    whole = data.rstrip(b"\0")
    for end in range(0, len(whole), 100):
        with pytest.raises(TarError, match="cut off|no tar"):
            found(data[:end])


@pytest.mark.parametrize("kind", FORMATS)
def test_two_archives_in_one_file_are_not_read_as_the_first_alone(kind):
    one, other = archive({"a.mp4": b"x" * 1000}, kind), archive({"b.mp4": b"y" * 9000}, kind)
    with pytest.raises(TarError, match=r"goes on behind its end mark at byte \d+, as two archives in one file do"):
        found(one + other)
    assert found(one + bytes(10 * BLOCK)) == found(one) == found(one.rstrip(b"\0") + bytes(2 * BLOCK))


def test_what_is_no_archive_is_refused():
    data = bytearray(archive({"a.mp4": b"x" * 10, "b.mp4": b"y"}))
    data[1024 + 5] ^= 1
    with pytest.raises(TarError, match="damaged at byte 1024"):
        found(bytes(data))
    backwards = tarfile.TarInfo("a.mp4")
    backwards.size = -1024
    with pytest.raises(TarError, match="negative size"):
        found(archive({"a.mp4": b"x"})[:1024] + backwards.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    for other in (b"\x1f\x8b" + b"x" * 600, b"<html>" * 100, b"PK\3\4" + b"\1" * 600):
        with pytest.raises(TarError, match="no tar archive, or a compressed one"):
            found(other)


@pytest.mark.parametrize("name", ["a.mp4", "ä b#1%.mp4", "x::y:z.mp4", "folder/c.mp4", "s3://n.mp4"])
@pytest.mark.parametrize("where", ["/data/x.tar", "s3://bucket/a b::c/x.tar", "http://host:80/%23.tar?x=1"])
def test_a_member_is_named_by_one_path(name, where):
    member = Member(name, 1536, 12)
    assert part_of(member.path(where)) == (member, where) and "://" in member.path(where)
    assert part_of(where) is None


def test_what_somebody_writes_by_hand_is_no_member():
    for path in ("part://0+10/a::/x.tar", "part://-1+1/a::/x.tar", "part://512+9999999999999999/a::/x", "part://x"):
        assert part_of(path) is None


def test_another_archive_in_its_place_is_noticed():
    data = archive({"a.mp4": b"x" * 10, "b.mp4": b"y" * 10})
    first, second = members(Ahead(lambda start, stop: data[start:stop]))
    check_header(data[:BLOCK], first)
    for block, member in ((data[:BLOCK], second), (b"x" * BLOCK, first), (data[:BLOCK], Member("a.mp4", 512, 11))):
        with pytest.raises(TarError, match="manifest"):
            check_header(block, member)
