"""Where files of a data set lie: what is not there is told by field, with what stands there in its place."""

from pathlib import Path

import pytest

from objadapt.config import Data
from objadapt.data.manifest import build_manifest
from objadapt.data.places import data_files
from objadapt.errors import InputError


def folders(root: Path, *names: str) -> Path:
    """Class folders with five videos each, named only: a manifest looks into none."""
    for name in names:
        for kind in ("clap", "wave"):
            (root / name / kind).mkdir(parents=True)
            for number in range(5):
                (root / name / kind / f"{kind}{number}.mp4").touch()
    return root


def data(root: Path, **fields) -> Data:
    return Data(format="class_folders", root=str(root), **fields)


def splits(chosen: Data) -> dict[str, int]:
    return build_manifest(chosen, seed=0).table["split"].value_counts().to_dict()


def test_clips_held_out_need_no_folder_of_validation_clips(tmp_path):
    root = folders(tmp_path, "train")
    assert splits(data(root, holdout=0.2)) == {"train": 8, "val": 2}
    with pytest.raises(InputError, match=r"^data\.val: no val or validation folder in .*; give one, or data\.holdout="):
        splits(data(root))
    with pytest.raises(InputError, match=r"^data\.val: no mine in "):
        splits(data(root, val="mine", holdout=0.2))


def test_class_folders_right_in_the_root(tmp_path):
    root = folders(tmp_path, ".")
    with pytest.raises(InputError, match=r"^data\.root: no train folder .*: data\.train=\. data\.holdout=0\.2$"):
        splits(data(root))
    assert splits(data(root, train=".", holdout=0.2)) == {"train": 8, "val": 2}


def test_a_test_folder_in_the_place_of_val_is_named(tmp_path):
    root = folders(tmp_path, "train", "test")
    with pytest.raises(InputError, match=r"^data\.val: .*; give one, or data\.val=test to validate on the test folder"):
        splits(data(root))
    assert splits(data(root, val="test")) == {"train": 10, "val": 10}  # each clip once
    assert splits(data(root, holdout=0.2)) == {"train": 8, "val": 2, "test": 10}


@pytest.mark.parametrize("val", ["train", "./train/", "link"])
def test_training_clips_are_no_validation_clips(tmp_path, val):
    root = folders(tmp_path, "train")
    (root / "link").symlink_to(root / "train")
    with pytest.raises(InputError, match=r"^data\.val: .* is data\.train, too.*data\.holdout=0\.2$"):
        splits(data(root, val=val))


def test_one_file_for_training_and_validation_is_refused(tmp_path):
    (tmp_path / "all.csv").write_text("path,label\na.mp4,wave\n")
    chosen = Data(format="csv", root=str(tmp_path), train="all.csv", val="./all.csv")
    with pytest.raises(InputError, match=r"^data\.val: .* is data\.train, too"):
        data_files(chosen)


def test_the_order_of_clips_is_that_of_the_splits(tmp_path):
    """The manifest's hash, and so the name of a run, depends on it."""
    root = folders(tmp_path, "train", "val", "test")
    assert list(data_files(data(root))) == ["train", "val", "test"]
    assert list(dict.fromkeys(build_manifest(data(root), seed=0).table["split"])) == ["train", "val", "test"]
