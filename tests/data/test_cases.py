"""The inputs that users of video tools have stumbled over (`shared/data/cases`):
each asserts what its README calls right.
"""

import logging
from pathlib import Path

import pytest

from objadapt.config import Data, Experiment
from objadapt.data.manifest import Manifest, build_manifest
from objadapt.errors import InputError
from objadapt.pipeline.decoding import DecodeGrids, Unusable

HOW = {  # the reader of each folder
    "kinetics_two_clips_of_one_video": "kinetics",
    "resource_forks": "class_folders",
    "two_files_of_one_name/k400": "kinetics",
    "two_files_of_one_name/ssv2": "something_something",
    "suffixes": "class_folders",
    "columns/kin": "kinetics",
    "columns/mergek": "kinetics",
    "columns/one": "csv",
    "columns/rows": "csv",
    "cut_off/kin": "kinetics",
    "cut_off/csv": "csv",
    "cut_off/csv2": "csv",
    "cut_off/epic": "epic_kitchens",
    "zero_length": "csv",
}


@pytest.fixture
def cases(shared) -> Path:
    return shared / "cases"


def read(cases: Path, name: str) -> Manifest:
    return build_manifest(Data(format=HOW[name], root=str(cases / name)), 0)


def test_a_missing_clip_is_not_given_another_clips_file(cases):
    manifest = read(cases, "kinetics_two_clips_of_one_video")
    assert manifest.coverage == {"train": {"found": 2, "listed": 2}, "val": {"found": 1, "listed": 2}}
    (row,) = manifest.table[manifest.table["split"] == "val"].itertuples()
    assert row.clip_id == "ccccccccccc_000064_000074" and row.path.endswith("videos/ccccccccccc_000064_000074.mp4")
    assert manifest.classes["label"][row.label] == "cutting apple"


def test_what_macos_and_editors_leave_behind_is_no_clip_and_no_class(cases):
    manifest = read(cases, "resource_forks")
    assert manifest.classes == {"label": ["mountain climber (exercise)", "yoga"]}
    assert manifest.coverage == {"train": {"found": 4, "listed": 4}, "val": {"found": 4, "listed": 4}}
    assert not manifest.table["path"].str.contains("._", regex=False).any()


def test_every_container_is_a_clip(cases):
    manifest = read(cases, "suffixes")
    names = [f"{split}/phone/{name}" for split in ("train", "val") for name in ("a.3gp", "b.mp4")]
    assert manifest.table["clip_id"].tolist() == names
    for row in manifest.table.itertuples():
        assert not isinstance(clip(row), Unusable)


REFUSED = {
    "two_files_of_one_name/k400": [
        "bbbbbbbbbbb_000001_000011.mp4 and ",
        "replacement/replacement_for_corrupted_k400/bbbbbbbbbbb",
    ],
    "two_files_of_one_name/ssv2": ["2.webm and ", "2.wmv"],
    "columns/kin": ["train.csv", "line 2 (row 1)", "time_start '' is empty"],
    "columns/mergek": ["train.csv", "line 2 (row 1)", "6 cells, the header has 5", "in double quotes"],
    "columns/one": ["labels.csv", "line 2 (row 1)", "4 cells, the header has 3", "separator at its end"],
    "columns/rows": ["labels.csv", "line 2 (row 1)", "4 cells, the header has 3", "in double quotes"],
    "cut_off/kin": ["train.csv", "line 3 (row 2)", "cut off", "1 of 5 cells"],
    "cut_off/csv": ["labels.csv", "line 3 (row 2)", "cut off", "2 of 3 cells"],
    "cut_off/csv2": ["labels.csv", "line 3 (row 2)", "cut off", "2 of 3 cells"],
    "cut_off/epic": ["EPIC_100_train.csv", "line 3 (row 2)", "cut off", "4 of 15 cells"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_in_one_line(cases, name):
    with pytest.raises(InputError) as error:
        read(cases, name)
    message = str(error.value)
    assert str(cases / name) in message and "\n" not in message
    assert all(part in message for part in REFUSED[name]), message


def test_a_span_of_no_length_is_quarantined_and_the_rest_is_used(cases):
    manifest = read(cases, "zero_length")
    assert manifest.table["clip_id"].tolist() == ["one", "two", "three", "four"]
    assert manifest.coverage == {"train": {"found": 3, "listed": 3}, "val": {"found": 1, "listed": 1}}
    read_as = {row.clip_id: clip(row) for row in manifest.table.itertuples()}
    assert [name for name, one in read_as.items() if isinstance(one, Unusable)] == ["two"]
    assert read_as["two"].stage == "sampling" and "no frame between 0.0 s and 0.0 s" in read_as["two"].reason


def clip(row):
    """What a decode task makes of a clip: its frames, or why it is quarantined."""
    decoder = DecodeGrids(None, None, Experiment(), (8,), 32, False)
    return decoder.clip(row, 0, 0, False)


def test_the_list_here_has_every_folder_of_annotations(cases):
    files = [path.parent for pattern in ("*.csv", "labels.json", "train") for path in cases.rglob(pattern)]
    folders = {path.parent if path.name in ("labels", "videos") else path for path in files}
    assert {str(path.relative_to(cases)) for path in folders} == HOW.keys()


def test_a_file_in_no_known_container_is_named(cases, tmp_path, caplog):
    for split in ("train", "val"):
        folder = tmp_path / split / "phone"
        folder.mkdir(parents=True)
        (folder / "b.mp4").symlink_to(cases / "suffixes" / split / "phone/b.mp4")
        (folder / "a.mxf").touch()
    with caplog.at_level(logging.WARNING):
        manifest = build_manifest(Data(format="class_folders", root=str(tmp_path)), 0)
    assert len(manifest.table) == 2
    assert f"{tmp_path}/train: 1 files are no videos by their suffix: phone/a.mxf" in caplog.text
    (tmp_path / "train/dance").mkdir()
    (tmp_path / "train/dance/a.mxf").touch()
    with pytest.raises(InputError, match=r"train/dance: the class folder holds only files .*\(dance/a.mxf\)"):
        build_manifest(Data(format="class_folders", root=str(tmp_path)), 0)
