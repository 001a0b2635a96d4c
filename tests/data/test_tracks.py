"""The video is the default track, else the best one.

Never a picture that is attached to it; the same one by both decoders.
"""

import io
import itertools

import av
import numpy as np
import pytest
from av.stream import Disposition
from moving_video import add_track, coded, encode, pictures
from PIL import Image

from objadapt.data.decode import DecodeError, decode_frames, scan

MAIN, PREVIEW = pictures(30), pictures(30, seed=1, size=(48, 64))
COVER = pictures(1, seed=2, size=(64, 64))
NONE = Disposition(0)


def write(path, *tracks: tuple) -> None:
    """Tracks (frames, codec, disposition) in this order; a track whose frames are None is one second of sound."""
    with av.open(str(path), "w") as container:
        made, sound = {}, None
        for frames, codec, disposition in tracks:
            if frames is None:
                sound = container.add_stream(codec, rate=16000, layout="mono")
            else:
                made[add_track(container, frames, codec, disposition)] = frames
        if sound:
            for start in range(0, 16000, 1000):
                samples = np.random.default_rng(start).normal(0, 0.1, (1, 1000)).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16000, start
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
        encode(container, made)


def taken(path) -> int:
    """Number of the video track that is read, by both decoders and the scan, whole and frame by frame."""
    found = set()
    with av.open(str(path)) as container:
        tracks = len(container.streams.video)
    references = {track: coded(path, track) for track in range(tracks)}
    for decoder in ("auto", "pyav"):
        count = scan(str(path))[0]
        frames, _ = decode_frames(str(path), np.arange(count), decoder=decoder)
        alone, _ = decode_frames(str(path), np.array([count - 1]), decoder=decoder)
        [track] = [track for track, one in references.items() if one.shape == frames.shape and (one == frames).all()]
        assert (alone[0] == frames[-1]).all()
        found.add(track)
    assert len(found) == 1
    return found.pop()


H264 = "libx264"


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize(
    ("tracks", "right"),
    [
        ([(PREVIEW, H264, NONE), (MAIN, H264, Disposition.default)], 1),
        ([(MAIN, H264, NONE), (PREVIEW, H264, Disposition.default)], 1),
        ([(PREVIEW, H264, Disposition.default), (MAIN, H264, NONE)], 0),
        ([(PREVIEW, H264, Disposition.default), (MAIN, H264, Disposition.default)], 1),
        ([(None, "aac", None), (PREVIEW, H264, NONE), (MAIN, H264, Disposition.default)], 1),
        ([(None, "aac", None), (MAIN, H264, Disposition.default)], 0),
        ([(PREVIEW, H264, NONE), (MAIN, H264, Disposition.default), (PREVIEW[::-1], H264, NONE)], 1),
        ([(MAIN, "mpeg4", NONE), (MAIN, H264, Disposition.default)], 1),
        ([(MAIN, H264, NONE), (MAIN, "mpeg4", Disposition.default)], 1),
    ],
)
def test_the_default_track_else_the_largest(tmp_path, name, tracks, right):
    write(tmp_path / name, *tracks)
    assert taken(tmp_path / name) == right


ATTACHED = Disposition.attached_pic


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("name", "picture", "disposition"),
    [
        (name, *rest)
        for name in ("a.mp4", "a.mov")
        for rest in itertools.product(("mjpeg", "png"), (ATTACHED, ATTACHED | 1, Disposition(1)))
    ]
    + [("a.mkv", "mjpeg", Disposition.default), ("a.avi", "mjpeg", Disposition.default)]
    + [(name, "mpeg4", Disposition.default) for name in ("a.mkv", "a.mp4", "a.mov")],
)
def test_a_cover_is_no_video(tmp_path, name, picture, disposition, first):
    """Marked as attached, or just a track of one frame, as writers of old have it; even where it is the default (1)."""
    cover = np.tile(COVER, (1, 4, 4, 1))  # larger than the video
    tracks = [(cover, picture, disposition), (MAIN, H264, NONE)]
    write(tmp_path / name, *(tracks if first else tracks[::-1]))
    with av.open(str(tmp_path / name)) as container:
        videos = [i for i, track in enumerate(container.streams.video) if track.codec_context.name == "h264"]
    assert [taken(tmp_path / name)] == videos


def test_an_attached_cover_of_matroska(tmp_path):
    jpeg = io.BytesIO()
    Image.fromarray(COVER[0]).save(jpeg, "jpeg")
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        container.add_attachment("cover.jpg", "image/jpeg", jpeg.getvalue())
        encode(container, {add_track(container, MAIN): MAIN})
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert len(container.streams.video) == 2, "FFmpeg shows the cover as a video track"
    assert scan(str(tmp_path / "a.mkv")) == (30, "pyav")


def test_nothing_but_a_cover(tmp_path):
    write(tmp_path / "a.mp4", (None, "aac", None), (COVER, "mjpeg", Disposition.attached_pic))
    for read in (scan, lambda path: decode_frames(path, np.array([0]))):
        with pytest.raises(DecodeError, match="^open: no video stream, only a cover picture$"):
            read(str(tmp_path / "a.mp4"))


def test_a_video_of_one_frame_alone_is_one(tmp_path):
    write(tmp_path / "a.mp4", (COVER, H264, Disposition.default))
    assert scan(str(tmp_path / "a.mp4"))[0] == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_several_tracks_of_a_transport_stream(tmp_path, order):
    """Without a default: the one of the most pixels, wherever it comes."""
    tracks = [(PREVIEW, "mpeg2video", None), (MAIN, "mpeg2video", None)]
    write(tmp_path / "a.ts", *(tracks[i] for i in order))
    assert taken(tmp_path / "a.ts") == order.index(1)


def test_a_default_track_that_cannot_be_decoded_is_named(tmp_path):
    """Not another one in silence."""
    path = tmp_path / "a.mp4"
    write(path, (MAIN, H264, Disposition.default), (PREVIEW, H264, NONE))
    content = path.read_bytes()
    assert content.count(b"avc1") >= 2
    at = content.rindex(b"stsd", 0, content.index(b"avc1", content.index(b"stsd")) + 4)
    unknown = content.index(b"avc1", at)
    path.write_bytes(content[:unknown] + b"zzz9" + content[unknown + 4 :])
    for read in (
        scan,
        lambda one: decode_frames(one, np.array([0])),
        lambda one: decode_frames(one, np.array([0]), decoder="pyav"),
    ):
        with pytest.raises(DecodeError, match="^open: no decoder for the codec of video track 0$"):
            read(str(path))


def test_a_track_without_frames_is_passed_over(tmp_path):
    path = tmp_path / "a.mp4"
    write(path, (PREVIEW, H264, Disposition.default), (MAIN, H264, NONE))
    content = bytearray(path.read_bytes())
    for box in (b"stsz", b"stts", b"stsc", b"stco", b"stss", b"ctts"):  # of the first track: no sample, no chunk
        at = content.index(box)
        count = at + (12 if box == b"stsz" else 8)
        content[count : count + 4] = bytes(4)
    path.write_bytes(content)
    assert scan(str(path))[0] == 30
    assert decode_frames(str(path), np.array([0]))[0].shape[1:3] == MAIN.shape[1:3]
