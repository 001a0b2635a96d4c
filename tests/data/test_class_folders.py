"""Videos sorted into class folders."""

import os

import pytest

from objadapt.config import Data
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError


def test_class_folders(tmp_path, video):
    for name in ("train/run/a.mp4", "train/run/b.avi", "train/jump high/a.mp4", "val/run/a.mp4", "test/run/x.mp4"):
        video(tmp_path / name)
    (tmp_path / "train/run/notes.txt").write_text("not a video")
    data = Data(format="class_folders", root=str(tmp_path))
    manifest = build_manifest(data, 0)
    assert manifest.classes == {"label": ["jump high", "run"]}
    assert manifest.table.set_index("clip_id")["label"].to_dict() == {
        "train/jump high/a.mp4": 0,
        "train/run/a.mp4": 1,
        "train/run/b.avi": 1,
        "val/run/a.mp4": 1,
        "test/run/x.mp4": 1,
    }
    by_url = build_manifest(data.model_copy(update={"root": tmp_path.as_uri()}), 0)
    assert by_url.content_hash() == manifest.content_hash() and by_url.table["path"].str.startswith("file://").all()
    video(tmp_path / "val/swim/a.mp4")
    with pytest.raises(InputError, match="class 'swim' is not among the 2 training classes"):
        build_manifest(data, 0)


def test_classes_that_look_alike_are_named(tmp_path, video, caplog):
    for name in ("Jump high", "jump_high", "caf\u00e9", "cafe\u0301", "run", "ru\u200bn", "sit"):
        path = tmp_path / "train" / name / "a.mp4"
        video(path)
        path.write_bytes(path.read_bytes() + name.encode())  # copies of one video would be told of as well
    build_manifest(Data(format="class_folders", root=str(tmp_path), holdout=0.5), 0)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3 and all("look alike: are they one, written in two ways?" in one for one in told)
    assert any("'Jump high' and 'jump_high'" in one for one in told) and not any("sit" in one for one in told)


def test_class_folders_without_splits_says_what_to_do(tmp_path, video):
    video(tmp_path / "run/a.mp4")
    with pytest.raises(InputError, match="no train folder .* sort the classes into train/<class> .* use format csv"):
        build_manifest(Data(format="class_folders", root=str(tmp_path)), 0)
    video(tmp_path / "train/a.mp4")
    video(tmp_path / "val/run/a.mp4")
    with pytest.raises(InputError, match="video a.mp4 is in no class folder"):
        build_manifest(Data(format="class_folders", root=str(tmp_path)), 0)


def test_names_that_are_no_utf8_are_refused_by_name(tmp_path):
    """As an archive of another time leaves them."""
    (tmp_path / "train" / "run").mkdir(parents=True)
    wrong = os.fsencode(tmp_path / "train" / "run") + b"/caf\xe9.mp4"
    with open(wrong, "wb"):
        pass
    with pytest.raises(InputError, match="run/caf.\\.mp4: its name is not UTF-8; rename it"):
        build_manifest(Data(format="class_folders", root=str(tmp_path), holdout=0.5), 0)
    os.unlink(wrong)
    os.mkdir(os.fsencode(tmp_path / "train") + b"/caf\xe9")
    with pytest.raises(InputError, match="its name is not UTF-8; rename it"):
        build_manifest(Data(format="class_folders", root=str(tmp_path), holdout=0.5), 0)
