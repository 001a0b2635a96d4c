"""UCF101, HMDB51 and J-HMDB: their split lists as distributed, with CR LF, spaces at line ends, numbers from 1."""

import pytest

from objadapt.config import Data
from objadapt.data.manifest import READERS, build_manifest
from objadapt.errors import InputError

SPLITS = "ucf101_hmdb51_splits/data"
UCF = {
    "classInd.txt": "1 Archery\r\n2 YoYo\r\n",
    "trainlist01.txt": "Archery/v_Archery_g08_c01.avi 1\r\nYoYo/v_YoYo_g08_c01.avi 2\r\n",
    "testlist01.txt": "Archery/v_Archery_g01_c01.avi\r\nYoYo/v_YoYo_g01_c01.avi\r\n",
}
HMDB = {
    "wave_test_split1.txt": "a&b!_wave_0.avi 1 \nsame.avi 2 \nunused.avi 0 \n",
    "clap_test_split1.txt": "(c)_clap_1.avi 1 \nsame.avi 1 \n",
    "wave_test_split2.txt": "same.avi 1 \n",
    "clap_test_split2.txt": "same.avi 2 \n",
}


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode())


def touch(root, *names):
    write(root, dict.fromkeys(names, ""))


@pytest.mark.parametrize("layout", ["ucfTrainTestlist/", ""])
def test_ucf101(tmp_path, layout):
    write(tmp_path, {f"{layout}{name}": content for name, content in UCF.items()})
    touch(tmp_path, "UCF-101/Archery/v_Archery_g08_c01.avi", "UCF-101/YoYo/v_YoYo_g08_c01.mp4")
    touch(tmp_path, "UCF-101/v_YoYo_g01_c01.avi")  # a flat copy
    manifest = build_manifest(Data(format="ucf101", root=str(tmp_path)), 0)
    assert manifest.classes == {"label": ["Archery", "YoYo"]} and manifest.flip
    assert manifest.coverage == {"train": {"found": 2, "listed": 2}, "val": {"found": 1, "listed": 2}}
    assert manifest.table[["clip_id", "label", "split"]].values.tolist() == [
        ["Archery/v_Archery_g08_c01", 0, "train"],
        ["YoYo/v_YoYo_g08_c01", 1, "train"],
        ["YoYo/v_YoYo_g01_c01", 1, "val"],
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("trainlist01.txt", "YoYo/v_YoYo_g08_c01.avi 0\n", "its number is 0, class YoYo is 2 .* counts from 1"),
        ("trainlist01.txt", "YoYo/v_YoYo_g08_c01.avi 1", "its number is 1, class YoYo is 2"),
        ("trainlist01.txt", "YoYo/v_YoYo_g08_c01.avi", "is not `class/clip.avi number`: the file is damaged"),
        ("trainlist01.txt", "Yo/v.avi 2\n", "no class 'Yo' in classInd.txt"),
        ("trainlist01.txt", "YoYo/../v.avi 2\n", "is not `class/clip.avi number`"),
        ("testlist01.txt", "YoYo/v_YoYo_g01_c0", "is not `class/clip.avi`: the file is damaged or cut off"),
        ("testlist01.txt", "", "not a readable list .it is empty"),
        ("testlist01.txt", "YoYo/v.avi\n\0\0\0\0", "line 2 holds NUL bytes"),
        ("classInd.txt", "0 Archery\n1 YoYo\n", "line 1: '0 Archery' is not `1 class`, numbered from 1"),
        ("classInd.txt", "1 Archery\n3 YoYo\n", "line 2: '3 YoYo' is not `2 class`"),
    ],
)
def test_ucf101_damaged(tmp_path, name, content, message):
    write(tmp_path, UCF | {name: content})
    with pytest.raises(InputError, match=f"{name}: .*{message}|{name}: {message}") as error:
        READERS["ucf101"](Data(format="ucf101", root=str(tmp_path)))
    assert "\n" not in str(error.value)


def test_hmdb51_knows_clips_by_class_and_name(tmp_path):
    write(tmp_path / "testTrainMulti_7030_splits", HMDB)
    touch(tmp_path, "hmdb51_org/wave/a&b!_wave_0.avi", "hmdb51_org/wave/same.avi", "hmdb51_org/clap/same.avi")
    rows = READERS["hmdb51"](Data(format="hmdb51", root=str(tmp_path))).rows
    rows["path"] = rows["path"].fillna("missing")
    found = {row.clip_id: (row.label, row.split, row.path.rpartition("hmdb51_org/")[2]) for row in rows.itertuples()}
    assert found == {
        "clap/(c)_clap_1": (0, "train", "missing"),
        "clap/same": (0, "train", "clap/same.avi"),
        "wave/a&b!_wave_0": (1, "train", "wave/a&b!_wave_0.avi"),
        "wave/same": (1, "val", "wave/same.avi"),
    }
    (tmp_path / "hmdb51_org/clap/same.avi").unlink()  # then the other class's file is not taken in its place
    second = READERS["hmdb51"](Data(format="hmdb51", root=str(tmp_path), split=2)).rows
    assert second[["clip_id", "split"]].values.tolist() == [["clap/same", "val"], ["wave/same", "train"]]
    assert second["path"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"wave_test_split2.txt": None}, "no wave_test_split2.txt, which other splits have"),
        ({"wave_test_split2.txt": ""}, "wave_test_split2.txt: not a readable list"),
        ({"wave_test_split2.txt": "same.avi 3\n"}, "line 1: 'same.avi 3' is not `clip.avi` and 0, 1 or 2"),
        ({"wave_test_split2.txt": "same.avi 1\nsame.avi 0\n"}, "line 2: same.avi is listed twice"),
        ({"wave_test_split2.txt": "same.avi 1\nother.a"}, "line 2: 'other.a' is not"),
        ({"wave_test_split2.txt": None, "clap_test_split2.txt": None}, "no CLASS_test_split2.txt in .*format csv"),
    ],
)
def test_hmdb51_damaged(tmp_path, files, message):
    write(tmp_path, {name: content for name, content in (HMDB | files).items() if content is not None})
    with pytest.raises(InputError, match=message) as error:
        READERS["hmdb51"](Data(format="hmdb51", root=str(tmp_path), split=2))
    assert "\n" not in str(error.value)


def test_hidden_files_are_no_classes(tmp_path, caplog):
    write(tmp_path, HMDB | {"._wave_test_split1.txt": "\0\5\26\7", "Wave_test_split1.txt": "z.avi 1\n"})
    write(tmp_path, {"Wave_test_split2.txt": "z.avi 1\n"})
    listing = READERS["hmdb51"](Data(format="hmdb51", root=str(tmp_path)))
    assert listing.classes["label"] == ["Wave", "clap", "wave"]
    assert "classes 'Wave' and 'wave' look alike" in caplog.text


def test_two_files_of_one_clip_are_refused(tmp_path):
    write(tmp_path, HMDB)
    touch(tmp_path, "videos/wave/same.avi", "videos/wave/same.mp4")
    with pytest.raises(InputError, match="same.avi and .*same.mp4: files of one name"):
        READERS["hmdb51"](Data(format="hmdb51", root=str(tmp_path)))


def test_jhmdb_as_distributed_videos_or_frames(tmp_path):
    write(tmp_path / "splits", {"wave_test_split1.txt": "a_wave_0.avi 1\nb_wave_1.avi 2\n"})
    touch(tmp_path, *(f"Rename_Images/wave/a_wave_0/{number:05d}.png" for number in range(1, 16)))
    data = Data(format="jhmdb", root=str(tmp_path))
    rows = READERS["jhmdb"](data).rows
    assert rows["path"].dropna().to_dict() == {0: f"{tmp_path}/Rename_Images/wave/a_wave_0"}
    touch(tmp_path, "ReCompress_Videos/wave/b_wave_1.avi")
    rows = READERS["jhmdb"](data).rows
    assert rows["path"].dropna().to_dict() == {1: f"{tmp_path}/ReCompress_Videos/wave/b_wave_1.avi"}


def test_jhmdb_clips_of_the_pack_under_the_official_lists(shared, tmp_path):
    """The pack's own table was made of HMDB51's first split: the lists of its 21 classes give the same."""
    clips = shared / "jhmdb/clips"
    for folder in clips.iterdir():
        name = f"{folder.name}_test_split1.txt"
        content = (shared / "annotations" / SPLITS / "hmdb51_splits" / name).read_text()
        write(tmp_path / "splits", {name: content})
    manifest = build_manifest(Data(format="jhmdb", root=str(tmp_path), videos=str(clips)), 0)
    assert {split: counts["found"] for split, counts in manifest.coverage.items()} == {"train": 650, "val": 256}
    table = build_manifest(Data(format="csv", root=str(shared / "jhmdb")), 0)
    assert table.classes == manifest.classes

    def rows(one):
        return sorted(one.table[["path", "label", "split"]].itertuples(index=False, name=None))

    assert rows(manifest) == rows(table)
