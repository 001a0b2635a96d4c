"""What a player shows, by both decoders: turned and mirrored as the container or the stream asks;
else refused with the reason.
"""

from pathlib import Path

import numpy as np
import pytest
from moving_video import coded, copy_packets, pictures, write_video

from objadapt.data.decode import DecodeError, decode_frames, probe, scan
from objadapt.data.orientation_message import _messages

ONE = 1 << 16

# matrix (a, b, c, d) of FFmpeg's display matrix -> what it makes of a picture, written out: a point (x right, y down)
# goes to (a x + c y, b x + d y), so (0, 1, -1, 0) takes the upper left corner to the upper right one, a quarter turn
# clockwise
EIGHT = {
    (1, 0, 0, 1): lambda p: p,
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
    (0, 1, -1, 0): lambda p: p.swapaxes(0, 1)[:, ::-1],
    (0, -1, 1, 0): lambda p: p.swapaxes(0, 1)[::-1],
    (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, -1, -1, 0): lambda p: p.swapaxes(0, 1)[::-1, ::-1],
}


def matrix(a, b, c, d, u=0, v=0) -> list[int]:
    return [
        round(a * ONE),
        round(b * ONE),
        round(u * 2**30),
        round(c * ONE),
        round(d * ONE),
        round(v * 2**30),
        0,
        0,
        1 << 30,
    ]


def shown(path: Path, expected: np.ndarray) -> None:
    """Each frame, from a whole read and alone, by either decoder."""
    assert scan(str(path))[0] == len(expected)
    for decoder in ("auto", "pyav"):
        frames, _ = decode_frames(str(path), np.arange(len(expected)), decoder=decoder)
        assert frames.shape == expected.shape and (frames == expected).all(), decoder
        for number in (len(expected) - 1, 3):
            assert (decode_frames(str(path), np.array([number]), decoder=decoder)[0][0] == expected[number]).all(), (
                decoder,
                number,
            )


def refused(path: Path, match: str) -> None:
    """By the scan and by both decoders, for the same reason."""
    reasons = set()
    for read in (
        scan,
        lambda p: decode_frames(p, np.array([0, 15])),
        lambda p: decode_frames(p, np.array([0, 15]), decoder="pyav"),
    ):
        with pytest.raises(DecodeError, match=match) as caught:
            read(str(path))
        reasons.add(str(caught.value))
    assert len(reasons) == 1


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "hevc.mp4", "hevc.mkv"])
@pytest.mark.parametrize("asked", EIGHT)
def test_all_eight_matrices(tmp_path, name, asked):
    path = tmp_path / name
    codec = {"hevc.mp4": "libx265", "hevc.mkv": "libx265", "a.webm": "libvpx-vp9"}.get(name, "libx264")
    write_video(path, pictures(22), codec, matrix=matrix(*asked))
    shown(path, np.stack([EIGHT[asked](picture) for picture in coded(path)]))


def test_decord_reads_only_what_it_turns_as_we_do(tmp_path):
    by = {}
    for asked in EIGHT:
        for name in ("a.mp4", "a.mkv"):
            write_video(tmp_path / name, pictures(4), matrix=matrix(*asked))
            by[asked, name] = probe(str(tmp_path / name)).decoder
    turns = [(1, 0, 0, 1), (-1, 0, 0, -1), (0, 1, -1, 0), (0, -1, 1, 0)]
    assert [key for key, decoder in by.items() if decoder == "decord"] == [
        (asked, name)
        for asked in EIGHT
        for name in ("a.mp4", "a.mkv")
        if asked in turns and (name == "a.mp4" or asked == turns[0])
    ]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (matrix(0.7071, 0.7071, -0.7071, 0.7071), "asks for a turn of 315 degrees;"),
        (matrix(0.985, -0.174, 0.174, 0.985), "asks for a turn of 10 degrees;"),
        (matrix(1, 0.5, 0, 1), "shear"),
        (matrix(2, 0, 0, 1), "asks for a stretch;"),
        (matrix(0, 1, -1.3333, 0), "asks for a stretch;"),
        (matrix(1, 0, 0, 1, u=0.25), "shear"),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_what_no_quarter_turn_shows_is_refused(tmp_path, name, asked, why):
    write_video(tmp_path / name, pictures(20), matrix=asked)
    refused(tmp_path / name, why)


@pytest.mark.parametrize("asked", [matrix(2, 0, 0, 2), matrix(0.9999, 0.005, -0.005, 0.9999), [0] * 9])
def test_a_matrix_that_turns_nothing_is_none(tmp_path, asked):
    write_video(tmp_path / "a.mp4", pictures(20), matrix=asked)
    shown(tmp_path / "a.mp4", coded(tmp_path / "a.mp4"))


def test_the_old_rotate_tag_turns_nothing(tmp_path):
    """FFmpeg 4, which decord holds, turned pictures by it; players of today do not."""
    write_video(tmp_path / "a.mkv", pictures(20), metadata={"rotate": "90"})
    shown(tmp_path / "a.mkv", coded(tmp_path / "a.mkv"))


# ---- messages in the stream


def message(codec: str, hflip: int, vflip: int, quarters: int, lasts: bool = True) -> bytes:
    """NAL unit with a display orientation message: mirrored first, then turned anticlockwise."""
    bits = f"0{hflip}{vflip}{quarters * 0x4000:016b}" + (
        ("010" if lasts else "1") + "0" if codec == "libx264" else f"{lasts:d}"
    )
    bits += "1" + "0" * (-len(bits) % 8 - 1 if len(bits) % 8 else 7)
    content = bytes([47, len(bits) // 8, *(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)), 0x80])
    return (b"\x06" if codec == "libx264" else b"\x4e\x01") + content.replace(b"\0\0\0", b"\0\0\3\0").replace(
        b"\0\0\1", b"\0\0\3\1"
    )


def with_messages(
    tmp_path, codec: str, name: str, unit: bytes, wanted=lambda number, packet: packet.is_keyframe, **more
) -> Path:
    """A video with `unit` before the packets that are `wanted`.

    MPEG-TS and AVI make start codes of the lengths by themselves.
    """
    plain = tmp_path / "plain.mp4"
    write_video(plain, pictures(22), codec)

    def add(number, packet):
        return (len(unit).to_bytes(4, "big") + unit if wanted(number, packet) else b"") + bytes(packet)

    copy_packets(plain, tmp_path / name, add, **more)
    return tmp_path / name


@pytest.mark.parametrize(
    ("codec", "name"),
    [("libx264", "a.mp4"), ("libx264", "a.mkv"), ("libx264", "a.ts"), ("libx265", "a.mp4"), ("libx265", "a.mkv")],
)
@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize(("hflip", "vflip"), [(0, 0), (1, 0), (0, 1)])
def test_messages_turn_the_frames_behind_them_too(tmp_path, codec, name, quarters, hflip, vflip):
    """H.264's stands before key frames alone, as its repetition period says that it holds."""
    path = with_messages(tmp_path, codec, name, message(codec, hflip, vflip, quarters))
    pictures_coded = coded(path)
    mirrored = pictures_coded[:, :, ::-1] if hflip else pictures_coded[:, ::-1] if vflip else pictures_coded
    shown(path, np.rot90(mirrored, quarters, axes=(1, 2)))


def test_a_message_for_single_pictures(tmp_path):
    unit = message("libx264", 0, 0, 2, lasts=False)
    refused(with_messages(tmp_path, "libx264", "a.mp4", unit), "the orientation changes at frame 1")
    every = with_messages(tmp_path, "libx264", "b.mp4", unit, wanted=lambda number, packet: True)
    shown(every, coded(every)[:, ::-1, ::-1])


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_an_orientation_that_changes_on_the_way_is_refused(tmp_path, codec):
    late = with_messages(
        tmp_path, codec, "a.mp4", message(codec, 0, 0, 2), lambda number, packet: packet.is_keyframe and number > 5
    )
    refused(late, "the orientation changes at frame (9|10)")


def test_a_message_and_a_matrix(tmp_path):
    unit = message("libx264", 0, 0, 2)
    refused(with_messages(tmp_path, "libx264", "a.mp4", unit, matrix=matrix(0, 1, -1, 0)), "different orientations")
    alike = with_messages(tmp_path, "libx264", "b.mp4", unit, matrix=matrix(-1, 0, 0, -1))
    shown(alike, coded(alike)[:, ::-1, ::-1])


def test_a_message_of_another_angle_is_refused(tmp_path):
    unit = b"\x06\x2f\x03\x04\x00\x09\x80"  # 45 degrees
    refused(with_messages(tmp_path, "libx264", "a.mp4", unit), "turn of 45 degrees")


def test_random_units_are_taken_apart_without_an_error():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        content = rng.integers(0, 256, rng.integers(0, 40), dtype=np.uint8).tobytes()
        assert all(len(payload) <= len(content) for _, payload in _messages(content))
