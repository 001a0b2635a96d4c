"""mmaction2's, PySlowFast's and TSM's lists: `path label`, `path frames label`, `path offset frames label`."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from objadapt.config import Data, Sampling
from objadapt.data.clip import read_clip
from objadapt.data.manifest import READERS, build_manifest
from objadapt.data.video_list import KINDS, _split
from objadapt.errors import InputError


def lists(root, train: str, val: str = "v.mp4 0\n", **more: str) -> Data:
    for name, content in {"train": train, "val": val, **more}.items():
        (root / f"{name}.txt").write_text(content)
    return Data(format="video_list", root=str(root), **{name: f"{name}.txt" for name in more})


def read(data: Data):
    return READERS["video_list"](data)


def rows(data: Data) -> list[tuple[str, str, int]]:
    table = read(data).rows
    return list(zip(table["clip_id"], table["split"], table["label"], strict=True))


@pytest.mark.parametrize(
    "train",
    [
        "air drumming/a.mp4 2\nb, or c/x.mp4 0\n",  # spaces and commas in paths
        "air drumming/a.mp4,2\nb, or c/x.mp4,0\n",  # PySlowFast with another separator
        "air drumming/a.mp4\t2\r\nb, or c/x.mp4\t0\r\n\r\n",
        "\ufeffair drumming/a.mp4 2 \n  b, or c/x.mp4 0",
        '"air drumming/a.mp4", 2\n"b, or c/x.mp4", 0\n',
    ],
)
def test_videos(tmp_path, train):
    data = lists(tmp_path, train)
    (tmp_path / "air drumming").mkdir()
    (tmp_path / "air drumming/a.mp4").touch()
    assert rows(data) == [("air drumming/a.mp4", "train", 2), ("b, or c/x.mp4", "train", 0), ("v.mp4", "val", 0)]
    listing = read(data)
    assert listing.rows["path"].dropna().tolist() == [f"{tmp_path}/air drumming/a.mp4"]
    assert listing.classes == {"label": ["0", "1", "2"]} and not listing.flip
    assert listing.rows["start_s"].isna().all()


def test_folders_of_frames(tmp_path):
    for name, frames in (("182040", 10), ("v/long one", 12)):
        (tmp_path / name).mkdir(parents=True)
        for number in range(1, frames + 1):
            Image.new("L", (8, 8), number).save(tmp_path / name / f"img_{number:05d}.jpg")
    manifest = build_manifest(lists(tmp_path, "182040 10 3\n9 5 0\n", "v/long one 12 1\n"), 0)
    assert manifest.coverage == {"train": {"found": 1, "listed": 2}, "val": {"found": 1, "listed": 1}}
    assert manifest.table[["start_s", "end_s", "label"]].values.tolist() == [[0, 10, 3], [0, 12, 1]]
    parts = build_manifest(lists(tmp_path, "v/long one 0 6 0\nv/long one 6 6 1\n", "182040 2 8 0\n"), 0).table
    assert parts["clip_id"].tolist() == ["v/long one:0", "v/long one:6", "182040:2"]
    second = parts.iloc[1]
    clip = read_clip(second["path"], second["start_s"], second["end_s"], Sampling(frames=3))
    assert clip.frame_index.tolist() == [7, 9, 11]


def test_names_of_classes_and_one_without_clips(tmp_path, shared, caplog):
    data = lists(tmp_path, "a.mp4 399\nb.mp4 0\n")
    names = shared / "annotations/mmaction2_label_maps/tools/data/kinetics/label_map_k400.txt"
    (tmp_path / "label_map.txt").write_text(names.read_text())
    with caplog.at_level(logging.WARNING):
        listing = read(data)
    assert len(listing.classes["label"]) == 400 and listing.classes["label"][399] == "zumba" and not caplog.text
    (tmp_path / "train.txt").write_text("a.mp4 399\nb.mp4 1\n")  # what validation clips have says nothing of these
    with caplog.at_level(logging.WARNING):
        read(data)
    assert "no clip has label 0; do its labels count from 1?" in caplog.text
    (tmp_path / "val.txt").write_text("v.mp4 400\n")
    with pytest.raises(
        InputError, match=r"val.txt: line 1 .row 1.: label '400' is beyond the 400 classes, which count"
    ):
        read(data)
    (tmp_path / "label_map.txt").write_text("run\nrun\n")
    with pytest.raises(InputError, match="label_map.txt: class 'run' is there twice"):
        read(data)


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        ("id,name\n0,abseiling\n1,zumba\n", "has a number beside the name"),
        ("0 abseiling\n1 zumba\n", "has a number beside the name"),
        ("abseiling,0\nzumba,1\n", "has a number beside the name"),
        ("abseiling 1\nzumba 0\n", "has a number beside the name"),
        ('{\n"abseiling": "0",\n"zumba": "1"\n}\n', "is JSON"),
        ('["abseiling", "zumba"]\n', "is JSON"),
        ("abseiling\n\nzumba\n", "line 2 is blank"),
        ("class\nabseiling\nzumba\n", "line 1: 'class' is a header"),
        ("Class_Name\nabseiling\nzumba\n", "line 1: 'Class_Name' is a header"),
    ],
)
def test_names_in_another_form_would_shift_the_classes(tmp_path, names, wrong):
    data = lists(tmp_path, "a.mp4 0\nb.mp4 1\n")
    (tmp_path / "label_map.txt").write_text(names)
    with pytest.raises(InputError, match=f"label_map.txt: .*{wrong}.*one name a line"):
        read(data)


def test_names_with_numbers_in_them_are_names(tmp_path):
    data = lists(tmp_path, "a.mp4 0\nb.mp4 1\n")
    for names in (
        ["3 point throw", "zumba"],
        ["route 66", "zumba"],
        ["zumba", "route 66"],
        ["0", "1"],
        ["a\x0bb", "c\u2028d"],
    ):
        (tmp_path / "label_map.txt").write_text("\n".join(["", *names, ""]))
        assert read(data).classes["label"] == names


def test_numbers_of_frames_are_no_labels(tmp_path):
    data = lists(tmp_path, "first 2\nsecond 3\n", "third 1\n")
    for name, frames in (("first", 2), ("second", 3), ("third", 1)):
        (tmp_path / name).mkdir()
        for number in range(1, frames + 1):
            Image.new("RGB", (64, 48)).save(tmp_path / name / f"img_{number:05d}.jpg")
    with pytest.raises(InputError, match="train.txt: first has 2 frames, and so in other lines: these are no labels"):
        read(data)
    (tmp_path / "train.txt").write_text("first 1\nsecond 0\n")
    (tmp_path / "val.txt").write_text("third 1\n")
    assert rows(data) == [("first", "train", 1), ("second", "train", 0), ("third", "val", 1)]


def test_the_last_frame_in_place_of_the_number_of_frames_is_told(tmp_path, caplog):
    read(lists(tmp_path, "a 1 30 0\nb 31 60 1\nc 20 50 0\n", "v 0 10 1\n"))
    assert "the second number is greater than the first: is it the last frame?" in caplog.text
    caplog.clear()
    read(lists(tmp_path, "a 1 30 0\nb 31 30 1\nc 20 50 0\n", "v 0 10 1\n"))
    assert not caplog.text


def test_lists_of_two_data_sets_are_not_mixed(tmp_path):
    (tmp_path / "ucf101_train_split_1_videos.txt").write_text("a.mp4 0\nb.mp4 1\n")
    (tmp_path / "hmdb51_val_split_1_videos.txt").write_text("v.mp4 0\n")
    with pytest.raises(InputError, match="data.val: .*hmdb51.* lies beside .*ucf101.*of another data set or version"):
        read(Data(format="video_list", root=str(tmp_path)))
    (tmp_path / "ucf101_val_split_1_videos.txt").write_text("v.mp4 1\n")
    assert read(Data(format="video_list", root=str(tmp_path))).rows["label"].tolist() == [0, 1, 1]


def test_labels_without_clips_are_named(tmp_path, caplog):
    read(lists(tmp_path, "a.mp4 0\nb.mp4 1000000\n"))
    assert "no clip has label 1, 2, 3, 4, 5, ...; these 999999 classes stay without clips" in caplog.text


@pytest.mark.parametrize("line", ["v.mp4 1.0", "v.mp4;1", "v.mp4, run", "v.mp4\tnan", "v.mp4 +1"])
def test_a_validation_list_without_whole_numbers_is_no_list_without_labels(tmp_path, line):
    data = lists(tmp_path, "a.mp4 0\nb.mp4 1\n")
    (tmp_path / "val.txt").write_text(f"{line}\n")
    with pytest.raises(InputError, match="val.txt: line 1: .* ends in no whole number; write `path label`"):
        read(data)


def test_frames_of_an_unlabelled_test_list_are_no_labels(tmp_path):
    """`path frames` beside a training list of `path frames label`; of a validation list that is refused."""
    for name in "abc":
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (16, 12)).save(tmp_path / name / f"img_{number + 1:05d}.jpg")
    data = lists(tmp_path, "a 3 0\nb 3 1\n", "b 3 1\n", test="c 1\n")
    table = read(data).rows.set_index("clip_id")
    assert table.loc["c", "label"] == -1 and tuple(table.loc["c", ["start_s", "end_s"]]) == (0.0, 1.0)
    with pytest.raises(InputError, match="val.txt: its lines have fewer numbers than those of .*train.txt; download"):
        read(lists(tmp_path, "a 3 0\nb 3 1\n", "b 1\n"))


def test_a_test_list_may_lack_labels(tmp_path):
    assert rows(lists(tmp_path, "a.mp4 0\n", test="t 1.mp4\nu.mp4\n"))[-2:] == [
        ("t 1.mp4", "test", -1),
        ("u.mp4", "test", -1),
    ]
    assert rows(lists(tmp_path, "a.mp4 0\n", test="t.mp4 -1\n"))[-1] == ("t.mp4", "test", -1)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("a.mp4 0\nb.mp4\n", "line 2: 'b.mp4' has 0 numbers behind its path, other lines have 1; .* cut off"),
        ("a.mp4 0\nb.mp4 1\nc 10 1\n", "line 3: 'c 10 1' has 2 numbers"),
        ("a.mp4 0 3 7\nb.mp4 1 2 4\n", "line 1: 'a.mp4 0 3 7' has several labels"),
        ("a.mp4 0,3\n", "'a.mp4 0,3' has several labels"),
        ("a.mp4 0 3\n", "has several labels; one is read"),
        ("c 10 20 1 4 5\n", "has several labels"),
        ("a.mp4 -2\n", "is not `path label` with numbers that can be"),
        ("a.mp4 9999999999\n", "is not `path label` with numbers that can be"),
        ("c 0 1\n", "is not `path frames label` with numbers that can be"),
        ("a.mp4\nb.mp4\n", "train.txt: no line ends in a label, and it is trained on"),
        ("a.mp4 run\nb.mp4 walk\n", "no line ends in a label"),
        ("a.mp4 0\na.mp4 1\n", "line 2 .row 2.: path 'a.mp4' is listed more than once"),
        ("../a.mp4 0\n", "path '../a.mp4' leads out of the data folder"),
        ("._a.mp4 0\n", "is what a system or an editor leaves behind"),
        ("s3://user:secret@host/a.mp4 0\n", "holds a password"),
        ("s3://bucket/a 10 0\n", "is a folder of frames at a URL"),
        (
            'original_vido_id video_id frame_id path labels\n1 0 0 1/1_000001.jpg ""\n',
            "PySlowFast's list of single frames",
        ),
        ("", "not a readable list"),
    ],
)
def test_wrong_lists(tmp_path, train, message):
    with pytest.raises(InputError, match=message) as error:
        read(lists(tmp_path, train))
    assert "\n" not in str(error.value) and "secret" not in str(error.value)


PATHS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), include_characters=" "), min_size=1).map(
    lambda text: f"d/{text.strip(' ')}x"
)


@given(PATHS, st.lists(st.integers(0, 10**5), min_size=1, max_size=3), st.sampled_from([" ", ",", "\t", ", "]))
def test_what_is_written_is_read(path, numbers, separator):
    path = path.replace('"', "").replace("'", "")
    assert len(numbers) in KINDS
    assert _split(separator.join([path, *map(str, numbers)])) == (path, tuple(numbers))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    root = tmp_path_factory.getbasetemp() / "any_list"
    root.mkdir(exist_ok=True)
    try:
        listing = read(lists(root, text))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert listing.rows["label"].lt(len(listing.classes["label"])).all() and listing.rows["clip_id"].is_unique
        assert np.isnan(listing.rows["start_s"]).eq(np.isnan(listing.rows["end_s"])).all()
