"""Folders of numbered pictures as videos: exactly the frames asked for, in the order of their numbers, or a reason."""

import random
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from objadapt.commands import check_videos, segment
from objadapt.commands.predict import videos_of
from objadapt.config import Data, Sampling
from objadapt.data.clip import read_clip
from objadapt.data.decode import DecodeError, decode_frames, frames_in_turn, probe, scan
from objadapt.data.frame_names import in_order, looks_like_frames
from objadapt.data.manifest import build_manifest
from objadapt.data.video_files import list_folder
from objadapt.masks.whole_videos import Frames, Video
from objadapt.prediction.windows import windows


def picture(number: int, size=(16, 12)) -> Image.Image:
    """A grey that tells its number."""
    return Image.new("RGB", size, (10 * number,) * 3)


@pytest.fixture
def frames(tmp_path):
    """A function that writes n frames, in any order of writing, by a pattern of names."""

    def write(n=12, pattern="img_{:05d}.jpg", first=1, folder="clip"):
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for number in random.Random(0).sample(range(n), n):
            picture(number).save(place / pattern.format(number + first), quality=95)
        return place

    return write


def test_frames_come_in_turn_as_they_do_at_once(frames):
    """What `predict` reads a video by."""
    path, wanted = str(frames()), np.array([0, 3, 4, 11])
    info = probe(path)
    expected, _ = decode_frames(path, wanted, info)
    assert (np.stack(list(frames_in_turn(path, wanted, info))) == expected).all()
    assert videos_of([path]) == {path: "clip"} and videos_of([str(Path(path).parent)]) == {path: "clip"}
    dense = windows(info, Sampling(mode="dense", frames=4, stride=2), None, None)
    assert [len(set(window.index)) for window in dense] == [4] * len(dense)


PATTERNS = ["img_{:05d}.jpg", "frame_{:010d}.jpg", "{:05d}.png", "img_{}.jpg", "image_{:04d}.JPEG", "7_{:06d}.jpg"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("first", [0, 1])
def test_frames_come_by_their_numbers(frames, pattern, first):
    folder = str(frames(pattern=pattern, first=first))
    info = probe(folder)
    assert (info.num_frames, info.width, info.height) == (12, 16, 12)
    wanted = np.array([11, 0, 9, 10, 0])
    read, decoder = decode_frames(folder, wanted)
    assert decoder == "none" and read.shape == (5, 12, 16, 3) and read.dtype == np.uint8
    assert np.abs(read.mean(axis=(1, 2, 3)) - 10 * wanted).max() < 2
    assert scan(folder) == (12, "none")


def test_the_same_pictures_as_the_video_that_they_are_from(shared, tmp_path):
    video = str(shared / "clips/variants/h264_1fps_5frames.mp4")
    whole, _ = decode_frames(video, np.arange(probe(video).num_frames))
    for number, frame in enumerate(whole, 1):
        Image.fromarray(frame).save(tmp_path / f"img_{number:05d}.png")
    sampling = Sampling(frames=3)
    from_video, from_folder = (read_clip(path, None, None, sampling) for path in (video, str(tmp_path)))
    np.testing.assert_array_equal(from_folder.frames, from_video.frames)
    np.testing.assert_array_equal(from_folder.frame_index, from_video.frame_index)


def test_a_span_counts_frames_and_one_longer_than_the_folder_is_refused(frames):
    folder = str(frames())
    part = read_clip(folder, 3.0, 7.0, Sampling(frames=4))
    assert part.frame_index.tolist() == [3, 4, 5, 6] and not part.short
    assert read_clip(folder, 0.0, 12.0, Sampling(frames=12)).frame_index.tolist() == list(range(12))
    with pytest.raises(DecodeError, match="the list says 13 frames, the folder holds 12"):
        read_clip(folder, 0.0, 13.0, Sampling(frames=4))


TURNED = Image.Exif()
TURNED[0x0112] = 6  # lies on its side: shown turned clockwise by a quarter


def test_pictures_that_lie_on_their_side_are_shown_upright(tmp_path):
    """As videos are by their display matrix. The stored picture is 16 x 12, its left half white."""
    stored = np.zeros((12, 16, 3), np.uint8)
    stored[:, :8] = 255
    for number in (1, 2):
        Image.fromarray(stored).save(tmp_path / f"img_{number:05d}.jpg", exif=TURNED)
    info = probe(str(tmp_path))
    assert (info.width, info.height) == (12, 16)
    read, _ = decode_frames(str(tmp_path), np.array([1, 0]), info)
    assert read.shape == (2, 16, 12, 3) and read[:, :8].min() > 250 and read[:, 8:].max() < 5
    pictures = Frames(Video("a", pictures=(str(tmp_path / "img_00001.jpg"),)))
    assert (next(pictures.pieces()) == read[:1]).all() and (pictures.height, pictures.width) == (16, 12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda place: (place / "img_00004.jpg").unlink(), "missing frames 4 of img_1 to 12"),
        (lambda place: (place / "img_00001.jpg").unlink(), "missing frames 1 of img_2 to 12"),
        (lambda place: picture(3).save(place / "img_3.png"), "frame 3 is there twice: img_00003.jpg and img_3.png"),
        (lambda place: picture(3).save(place / "other_1.png"), "several series of pictures: img_*, other_*"),
        (lambda place: picture(3, (8, 8)).save(place / "img_00012.jpg"), "picture size changes from 16x12 to 8x8"),
        (lambda place: (place / "img_00005.jpg").write_bytes(b"\xff\xd8\xff"), r"frame 4 \(img_00005.jpg\) fails"),
        (lambda place: (place / "img_00005.jpg").write_bytes(b""), r"frame 4 \(img_00005.jpg\) fails"),
        (
            lambda place: (place / "img_00005.jpg").write_bytes((place / "img_00005.jpg").read_bytes()[:-40]),
            r"frame 4 \(img_00005.jpg\) fails: ",
        ),
        (lambda place: picture(1).save(place / "img_00002.jpg", format="BMP"), "neither JPEG nor PNG"),
        (
            lambda place: picture(3).save(place / "img_00003 (1).jpg"),
            r"img_00003 \(1\).jpg among the frames is a frame's",
        ),
        (lambda place: picture(3).save(place / "img_00003 - Copy.jpg"), "img_00003 - Copy.jpg among the frames is a"),
        (lambda place: picture(3).save(place / "img_00003.jpg.jpg"), "img_00003.jpg.jpg among the frames is a"),
        (lambda place: picture(13).save(place / "img_00013.bmp"), "img_00013.bmp among the frames is neither JPEG nor"),
        (lambda place: (place / "img_00013.WEBP").write_bytes(b""), "img_00013.WEBP among the frames is neither JPEG"),
        (lambda place: picture(4).save(place / "img_00004.jpg", exif=TURNED), "size changes from 16x12 to 12x16"),
        (lambda place: [path.unlink() for path in place.iterdir()], "without numbered pictures"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(frames, change, reason):
    place = frames()
    change(place)
    with pytest.raises(DecodeError, match=reason.replace("*", r"\*")):
        scan(str(place))


def test_optical_flow_and_hidden_files_beside_the_frames_are_no_frames(frames):
    place = frames()
    for name in ("flow_x_00001.jpg", "flow_y_00001.jpg", "._img_00001.jpg", "Thumbs.db", "notes.txt"):
        (place / name).write_bytes(b"x")
    assert scan(str(place)) == (12, "none")


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=40, unique=True),
    st.sampled_from(["img_{:05d}.jpg", "{}.png", "f-{:03d}.JPG"]),
    st.randoms(),
)
def test_order_and_gaps_of_any_names(numbers, pattern, chance):
    names = [pattern.format(number) for number in numbers]
    chance.shuffle(names)
    whole = set(numbers) == set(range(1, max(numbers) + 1))
    try:
        assert in_order(names) == [pattern.format(number) for number in sorted(numbers)] and whole
    except DecodeError as error:
        assert not whole and "missing frames" in str(error)


def test_folders_of_frames_are_listed_as_videos(tmp_path, frames):
    frames(folder="train/run/v.1")
    frames(folder="train/run/v.2")
    frames(folder="val/run/v_3", pattern="frame_{:010d}.jpg")
    (tmp_path / "train/run/cover.jpg").touch()
    listed = list_folder(str(tmp_path))
    assert listed.videos == [f"{tmp_path}/{name}" for name in ("train/run/v.1", "train/run/v.2", "val/run/v_3")]
    assert listed.left_out == [f"{tmp_path}/train/run/cover.jpg"]
    manifest = build_manifest(Data(format="class_folders", root=str(tmp_path)), 0)
    assert manifest.table["clip_id"].tolist() == ["train/run/v.1", "train/run/v.2", "val/run/v_3"]
    before = manifest.content_hash()
    frames(13, folder="train/run/v.1")
    assert build_manifest(Data(format="class_folders", root=str(tmp_path)), 0).content_hash() != before
    assert not looks_like_frames(["IMG_1234.jpg", "01.jpg", "cover.png"])


def test_commands_take_a_folder_of_frames_for_a_video(tmp_path, frames):
    place = frames(folder="all/v.1")
    assert check_videos.videos_at(place) == ([str(place)], [], 0)
    for root, name in ((place, "v.1"), (place.parent, "v.1"), (tmp_path, "all/v.1")):
        (video,), _ = segment.listed(Namespace(davis=None, video=str(root)))
        assert (video.name, video.file) == (name, str(place))


@pytest.mark.parametrize("prefix", ["", "img_", "clip2_"])
def test_copies_are_told_from_other_pictures(prefix):
    """A cover or a thumbnail beside the frames is none of them, whatever digits its name has."""
    frames = [f"{prefix}{number:05d}.jpg" for number in (1, 2, 3)]
    assert in_order([*frames, "thumb_320w.jpg", "cover.png"]) == frames
    with pytest.raises(DecodeError, match="among the frames is a frame's name with more behind it"):
        in_order([*frames, f"{prefix}00002 (1).jpg"])
