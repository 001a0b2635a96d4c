"""Every frame that comes back is the frame that was asked for: all real clips against a plain sequential decode."""

import av
import decord
import numpy as np
import pytest
from moving_video import add_track, encode, pictures

from objadapt.data.decode import DecodeError, decode_frames, probe, scan

# Both decoders convert colours with ffmpeg's swscale from the same planes. Across all 127 files the frames are in
# fact identical; the tolerance leaves room for another ffmpeg's rounding and is far below the difference of two
# neighbouring frames of a moving scene.
MEAN_TOLERANCE, MAX_TOLERANCE = 1.0, 24


def sequential(path, keep=lambda i: True) -> list[np.ndarray | None]:
    """The reference: every frame in turn, uint8 [H, W, 3], upright; None where `keep(i)` is false."""
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for i, frame in enumerate(container.decode(stream)):
            turned = frame.to_ndarray(format="rgb24") if keep(i) else None
            for _ in range(round(frame.rotation / 90) % 4 if keep(i) else 0):
                turned = turned.transpose(1, 0, 2)[::-1]  # one quarter turn anticlockwise
            frames.append(turned)
    return frames


def videos(shared, *folders):
    return sorted(
        p for folder in folders for p in (shared / "clips" / folder).rglob("*") if p.suffix not in (".csv", "")
    )


def assert_same(got: np.ndarray, reference: list[np.ndarray | None], index) -> None:
    assert got.dtype == np.uint8 and got.shape == (len(index), *reference[index[0]].shape)
    for frame, i in zip(got, index, strict=True):
        if (frame == reference[i]).all():
            continue
        difference = np.abs(frame.astype(np.int16) - reference[i])
        assert difference.mean() < MEAN_TOLERANCE and difference.max() <= MAX_TOLERANCE, f"frame {i}"
        for j in (i - 1, i + 1):
            if 0 <= j < len(reference) and (reference[j] != reference[i]).any():
                assert difference.sum() < np.abs(frame.astype(np.int16) - reference[j]).sum(), (
                    f"frame {j} passes for {i}"
                )


def check_video(path) -> None:
    """8 centred frames, and a few in the second half alone, out of order and repeated."""
    info = probe(str(path))
    n = info.num_frames
    centred = ((np.arange(8) + 0.5) * n / 8).astype(int)
    late = np.array([n - 1, (3 * n) // 4, n // 2, n - 1])
    needed = {int(i) + step for i in (*centred, *late) for step in (-1, 0, 1)}
    reference = sequential(path, needed.__contains__)
    assert len(reference) == n and (info.height, info.width) == reference[n - 1].shape[:2]
    assert (np.diff(info.pts_s) > 0).all() and info.pts_s.dtype == np.float64
    for way in ("auto", "decord"):
        for index in (centred, late):
            frames, decoder = decode_frames(str(path), index, info, way)
            assert_same(frames, reference, index)
        assert decoder == ("pyav" if way == "auto" else info.decoder)
    assert (info.why_pyav is None) == (decoder == "decord")


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["misc", "variants", "ut_interaction"])
def test_frames_are_those_of_a_sequential_decode(shared, folder):
    paths = videos(shared, folder)
    assert len(paths) == {"misc": 29, "variants": 20, "ut_interaction": 78}[folder]
    for path in paths:
        try:
            check_video(path)
        except (AssertionError, DecodeError) as error:
            raise AssertionError(f"{path.name}: {error}") from error


def test_decord_may_read_plain_h264(shared):
    plain = 0
    for path in videos(shared, "misc", "variants"):
        info = probe(str(path))
        if path.suffix in (".mp4", ".mkv", ".mov") and info.codec == "h264" and info.pix_fmt in ("yuv420p", "yuvj420p"):
            assert info.decoder == ("pyav" if path.stem in ("h264_editlist", "h264_tiny_16x16") else "decord"), (
                path.name
            )
            plain += 1
    assert plain > 30
    assert probe(str(shared / "clips/misc/imageio_cockatoo_yuv444.mp4")).why_pyav == "pixel format yuv444p"


def test_each_single_frame_of_a_video_with_several_key_frames(shared):
    path = str(shared / "clips/misc/mmaction2_demo.mp4")
    reference = sequential(path)
    for decoder in ("auto", "pyav"):
        for i in range(0, len(reference), 23):
            frames, _ = decode_frames(path, np.array([i]), decoder=decoder)
            assert_same(frames, reference, [i])


@pytest.mark.parametrize(
    "name", ["variants/h264_bframes_longgop.mp4", "variants/h264_editlist.mp4", "variants/mpeg2.ts"]
)
def test_pyav_reads_every_frame(shared, name):
    path = shared / "clips" / name
    reference = sequential(path)
    frames, decoder = decode_frames(str(path), np.arange(len(reference)), decoder="pyav")
    assert decoder == "pyav"
    assert_same(frames, reference, range(len(reference)))


def write_video(path, codec: str, options: dict[str, str], frames: int = 60) -> None:
    """A moving texture with a growing bar: no two frames look alike."""
    texture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.options = 128, 96, "yuv420p", options
        for i in range(frames):
            picture = np.roll(texture, 2 * i, axis=1)
            picture[:20, : i + 1] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("name", "codec", "options", "decoder", "why"),
    [
        ("closed.mp4", "libx264", {"x264-params": "keyint=20:bframes=3:scenecut=0"}, "decord", None),
        ("open.mp4", "libx264", {"x264-params": "open-gop=1:keyint=20:bframes=3:scenecut=0"}, "pyav", "open GOP"),
        ("open.mkv", "libx264", {"x264-params": "open-gop=1:keyint=20:bframes=3:scenecut=0"}, "pyav", "open GOP"),
        ("alt_ref.webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "25", "g": "20"}, "decord", None),
        ("hidden.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "20"}, "pyav", "codec vp8"),
    ],
)
def test_each_frame_alone_of_hard_group_structures(tmp_path, name, codec, options, decoder, why):
    """Open GOPs (x265's default): decord 0.6 gives frames of another time after a seek. VP8 hides packets."""
    path = tmp_path / name
    write_video(path, codec, options)
    reference = sequential(path)
    info = probe(str(path))
    assert (info.num_frames, info.decoder, info.why_pyav) == (len(reference), decoder, why)
    for i in range(len(reference)):
        for way in ("auto", "decord"):
            assert_same(decode_frames(str(path), np.array([i]), info, way)[0], reference, [i])
    spread = np.arange(5, len(reference), 9)
    assert_same(decode_frames(str(path), spread, info, "decord")[0], reference, spread)


def test_rotation_flag_is_applied_once(shared):
    for name, shape, turns in (("rot0", (320, 568), 0), ("rot90", (568, 320), 3), ("rot180", (320, 568), 2)):
        path = shared / f"clips/misc/decord_{name}.mov"
        info = probe(str(path))
        assert (info.height, info.width, info.rotation) == (*shape, turns)
        by_decord, _ = decode_frames(str(path), np.array([0, 2]), info, decoder="decord")
        by_pyav, _ = decode_frames(str(path), np.array([0, 2]), info, decoder="pyav")
        assert by_decord.shape[1:3] == shape and np.abs(by_decord.astype(int) - by_pyav).mean() < MEAN_TOLERANCE


def test_time_stamps_of_a_variable_frame_rate(shared):
    """Every 3rd and 4th frame of 30 fps was dropped, so gaps are 1/30 s and 3/30 s in turn."""
    pts = probe(str(shared / "clips/variants/h264_vfr.mp4")).pts_s
    assert {round(gap * 30) for gap in np.diff(pts)} == {1, 3}


def test_time_starts_at_the_container_start(shared):
    for name in ("mpeg2.ts", "h264_fragmented.mp4", "h264_editlist.mp4", "h264_in_avi.avi"):
        assert abs(probe(str(shared / "clips/variants" / name)).pts_s[0]) < 0.5 / 30


def test_urls_are_fetched_and_removed(shared, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = shared / "clips/variants/h264_faststart.mp4"
    direct, _ = decode_frames(str(source), np.array([3, 9]))
    by_url, _ = decode_frames(source.as_uri(), np.array([3, 9]))
    assert (direct == by_url).all() and scan(source.as_uri()) == (30, "pyav")
    assert not list(tmp_path.iterdir())
    with pytest.raises(DecodeError, match="^fetch: "):
        probe("file:///no/such/video.mp4")
    with pytest.raises(DecodeError, match="^fetch: "):
        probe("nonsense://no/such/video.mp4")


def test_frames_that_do_not_exist_are_refused(shared):
    path = str(shared / "clips/variants/h264_faststart.mp4")
    for index in ([30], [-1], []):
        with pytest.raises(DecodeError, match="^sampling: "):
            decode_frames(path, np.array(index, dtype=int))


def test_disagreement_of_decord_falls_back_to_pyav(shared, monkeypatch):
    """A decord that miscounts or fails is not believed."""
    path = str(shared / "clips/variants/h264_faststart.mp4")
    reference = sequential(path)

    class Miscounting(decord.VideoReader):
        def __len__(self):
            return super().__len__() + 1

    def failing(*args, **kwargs):
        raise decord.DECORDError("made to fail")

    for reader in (Miscounting, failing):
        monkeypatch.setattr("objadapt.data.decode.decord.VideoReader", reader)
        frames, decoder = decode_frames(path, np.array([0, 29]), decoder="decord")
        assert decoder == "pyav"
        assert_same(frames, reference, [0, 29])


def test_scan_reads_all_of_every_variant(shared):
    for path in videos(shared, "variants"):
        assert scan(str(path)) == (len(sequential(path)), "pyav"), path.name


def test_colours_of_interlaced_frames_are_the_same_by_both_decoders(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = add_track(container, frames := pictures(12))
        stream.options = {"flags": "+ilme+ildct", "x264-params": "tff=1"}
        encode(container, {stream: frames})
    read = {
        decoder: decode_frames(str(tmp_path / "a.mp4"), np.arange(12), decoder=decoder)[0]
        for decoder in ("auto", "pyav")
    }
    assert (read["auto"] == read["pyav"]).all()
    assert probe(str(tmp_path / "a.mp4")).why_pyav == "interlaced"
