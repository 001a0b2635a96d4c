"""Folders of videos: what is listed, what is hidden, what is left out and named, and files of one name."""

import logging
import os

import pytest

from objadapt.config import Data
from objadapt.data.manifest import build_manifest
from objadapt.data.video_files import find_by_name, is_hidden, list_folder
from objadapt.errors import InputError

HIDDEN = [
    "._a.mp4",
    ".a.mp4",
    ".DS_Store",
    ".ipynb_checkpoints/a-checkpoint.mp4",
    "__MACOSX/run/._a.mp4",
    "run/@eaDir/a.mp4/a.mp4",
    ".Trash-1000/files/a.mp4",
    "run/.git/x",
    "Thumbs.db",
    "run/desktop.ini",
    "#recycle/a.mp4",
    "lost+found/a.mp4",
    "run/@Recently-Snapshot/a.mp4",
    "#snapshot/a.mp4",
    "~snapshot/a.mp4",
    "run/__pycache__/a.pyc",
    "Network Trash Folder/a.mp4",
    "run/Icon\r",
]
SEEN = ["a.MP4", "run/a.mp4", "run/deep/b.3gp", "run/c.webm"]
OTHERS = ["notes.txt", "run/a.mxf", "run/a.mp4.part", "run/no_suffix"]


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize("as_url", [False, True])
def test_what_a_folder_holds(tmp_path, as_url):
    root = tmp_path / ".hidden" / "data"  # the folder itself may be hidden
    touch(root, *HIDDEN, *SEEN, *OTHERS)
    place = root.as_uri() if as_url else str(root)
    listed = list_folder(place)
    assert listed.videos == sorted(f"{place}/{name}" for name in SEEN)
    assert listed.left_out == sorted(f"{place}/{name}" for name in OTHERS)
    assert listed.hidden == len(HIDDEN) and listed.folders == ["run"]
    assert all(map(is_hidden, HIDDEN)) and not any(map(is_hidden, [*SEEN, *OTHERS, "./a.mp4", "../a.mp4"]))


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    touch(tmp_path, "file")
    for place in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(InputError, match=f"{place}: cannot be listed .*; give a folder") as error:
            list_folder(str(place))
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="cannot be listed"):
        list_folder("nosuchprotocol://bucket/videos")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_the_right_to_read_does_not_vanish(tmp_path):
    touch(tmp_path, "a/x.mp4", "b/y.mp4")
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(InputError, match=f"{tmp_path}/b: cannot be listed"):
            list_folder(str(tmp_path))
    finally:
        (tmp_path / "b").chmod(0o700)


def test_files_are_found_by_their_whole_name_alone(tmp_path):
    touch(tmp_path, "1.webm", "11.webm", "a/2.mp4", "01.mp4", "2.f137.mp4", "3 (1).mp4", "x1.mp4")
    names = ["1", "2", "3", "11", "111", "2.f137", "1.webm", ""]
    found = find_by_name(names, list_folder(str(tmp_path)))
    places = ["1.webm", "a/2.mp4", None, "11.webm", None, "2.f137.mp4", None, None]
    assert found == [name and f"{tmp_path}/{name}" for name in places]


def test_a_file_under_a_name_of_an_unfinished_download_is_named(tmp_path, caplog):
    touch(tmp_path, "1.webm.part", "2.mp4.crdownload", "3.rmvb", "4.mp4", "5.webm.part")
    with caplog.at_level(logging.WARNING):
        assert find_by_name(["1", "2", "3"], list_folder(str(tmp_path))) == [None, None, None]
    assert (
        "3 clips are missing: their files are not videos by their suffix: 1.webm.part, 2.mp4.crdownload, 3.rmvb"
        in caplog.text
    )


def test_two_files_of_one_name_are_both_named_where_it_is_asked_for(tmp_path):
    touch(tmp_path, "1.webm", "1.mp4", "2.mp4", "a/2.mp4", "3.mp4")
    listed = list_folder(str(tmp_path))
    assert find_by_name(["3"], listed) == [f"{tmp_path}/3.mp4"]
    with pytest.raises(InputError) as error:
        find_by_name(["3", "2", "1", "1"], listed)
    message = str(error.value)
    assert f"{tmp_path}/2.mp4 and {tmp_path}/a/2.mp4: files of one name (and so is 1 more: " in message
    assert f"more: '{tmp_path}/1.mp4')" in message
    assert "move the other out of the folder" in message and "\n" not in message


# --- class folders ----------------------------------------------------------------------------------------------------


def class_folders(root) -> Data:
    touch(
        root,
        *(f"{split}/{label}/{name}.mp4" for split in ("train", "val") for label in ("run", "walk") for name in "ab"),
    )
    return Data(format="class_folders", root=str(root))


def test_files_that_are_left_out_are_counted_and_named(tmp_path, caplog):
    data = class_folders(tmp_path)
    touch(tmp_path, "train/readme.txt", "train/run/c.mxf", *(f"val/walk/{number:02d}.jpg" for number in range(12)))
    with caplog.at_level(logging.WARNING):
        manifest = build_manifest(data, 0)
    assert manifest.coverage == {"train": {"found": 4, "listed": 4}, "val": {"found": 4, "listed": 4}}
    assert f"{tmp_path}/train: 2 files are no videos by their suffix: readme.txt, run/c.mxf" in caplog.text
    assert (
        f"{tmp_path}/val: 12 files are no videos by their suffix: walk/00.jpg, " in caplog.text
        and "and 2 more" in caplog.text
    )


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("holds", ["a.mxf", "deep/a.rmvb", None])
def test_a_class_that_would_disappear_is_an_error(tmp_path, split, holds):
    data = class_folders(tmp_path)
    (tmp_path / split / "jump").mkdir()
    if holds:
        touch(tmp_path, f"{split}/jump/{holds}")
    said = f"only files that are no videos by their suffix .jump/{holds}." if holds else "no file"
    with pytest.raises(InputError, match=f"{tmp_path}/{split}/jump: the class folder holds {said}"):
        build_manifest(data, 0)


def test_hidden_folders_are_no_classes(tmp_path):
    data = class_folders(tmp_path)
    touch(
        tmp_path,
        "train/.ipynb_checkpoints/a.mp4",
        "val/__MACOSX/run/._a.mp4",
        "train/run/@eaDir/a.mp4/b.mp4",
        "train/.DS_Store",
    )
    (tmp_path / "train/@eaDir").mkdir()
    manifest = build_manifest(data, 0)
    assert manifest.classes == {"label": ["run", "walk"]} and len(manifest.table) == 8
