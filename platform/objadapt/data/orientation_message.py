"""Messages of an H.264 or HEVC stream that ask a player to turn or mirror its pictures (SEI 47, "display orientation").

ffmpeg's decoder turns such a message into a display matrix. It does not say how long the message holds, nor whether a
frame's matrix is the message's or the container's. So the messages are read from the packets here.
"""

from collections.abc import Iterator

import av

SEI, SLICES = {"h264": 6, "hevc": 39}, {"h264": range(1, 6), "hevc": range(32)}  # types of NAL units
DISPLAY_ORIENTATION = 47  # type of the message


def orientation_message(packet: av.Packet) -> bytes | None:
    """Payload of the display orientation message of an H.264 or HEVC packet, or None."""
    codec = packet.stream.codec_context.codec.canonical_name
    if codec not in SEI:
        return None
    for unit in _units(memoryview(packet), _length_size(packet)):
        if _kind(unit, codec) in SLICES[codec]:
            return None
        if _kind(unit, codec) == SEI[codec]:
            for message, payload in _messages(bytes(unit[1 if codec == "h264" else 2 :]).replace(b"\0\0\3", b"\0\0")):
                if message == DISPLAY_ORIENTATION:
                    return payload
    return None


def _kind(unit: memoryview, codec: str) -> int:
    return unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63


def _length_size(packet: av.Packet) -> int:
    """Bytes of the length before each NAL unit, as in MP4 and MKV; 0: start codes stand between them."""
    decoder = packet.stream.codec_context
    extradata, place = decoder.extradata or b"", 4 if decoder.codec.canonical_name == "h264" else 21
    return (extradata[place] & 3) + 1 if extradata[:1] == b"\1" and len(extradata) > place else 0


def _units(data: memoryview, length_size: int) -> Iterator[memoryview]:
    """NAL units of a packet in turn."""
    if length_size:
        start = 0
        while start + length_size < len(data):
            begin = start + length_size
            start = begin + int.from_bytes(data[start:begin], "big")
            if start > begin:
                yield data[begin:start]
        return
    content = bytes(data)
    start = content.find(b"\0\0\1")
    while start >= 0:
        end = content.find(b"\0\0\1", start + 3)
        if unit := data[start + 3 : end if end >= 0 else None]:
            yield unit
        start = end


def _messages(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of the messages of an SEI unit. Type and size are sums of bytes: some of 255 and a last one."""
    place = 0
    while place + 2 < len(content):
        numbers = []
        for _ in range(2):
            number = 0
            while place < len(content) - 1 and content[place] == 255:
                number, place = number + 255, place + 1
            numbers.append(number + content[place])
            place += 1
            if place >= len(content):
                return
        yield numbers[0], content[place : place + numbers[1]]
        place += numbers[1]


def lasts(payload: bytes) -> bool:
    """Whether an H.264 message holds beyond its own picture: its repetition period, an Exp-Golomb code, is not 0.

    The bits before the period: cancelled (1), mirrored left to right (1), upside down (1), angle (16).
    """
    return len(payload) > 2 and not payload[2] & 1 << 4  # bit 19 is the first of the code, which for 0 is a 1


def without_messages(packet: av.Packet) -> bytes:
    """The content of a packet without its SEI units."""
    codec, size = packet.stream.codec_context.codec.canonical_name, _length_size(packet)
    kept = [unit for unit in _units(memoryview(packet), size) if _kind(unit, codec) != SEI[codec]]
    return b"".join((len(unit).to_bytes(size, "big") if size else b"\0\0\1") + bytes(unit) for unit in kept)
