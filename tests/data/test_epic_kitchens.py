"""EPIC-KITCHENS-100's official CSVs, a small handmade copy of them, with real videos."""

import pytest
from PIL import Image

from objadapt.config import Data, Sampling
from objadapt.data.clip import read_clip
from objadapt.data.decode_error import DecodeError
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError

EPIC_HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
EPIC_TRAIN = (
    "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:02.50,8,202,open door,open,3,door,8,['door'],[8]\n"
    "P01_01_1,P01,P01_01,,00:00:01.00,00:00:04.00,262,370,turn on light,turn-on,6,light,114,\"['light',"
    ' \'lamp\']","[114, 2]"\n'
    "P02_07_0,P02,P02_07,,01:02:03.50,01:02:05.00,1,2,close door,close,4,door,8,['door'],[8]\n"
)


def test_epic_kitchens(tmp_path, video):
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN)
    validation = EPIC_TRAIN.splitlines()[0].replace("P01_01_0", "P01_01_9")
    (tmp_path / "EPIC_100_validation.csv").write_text(f"{EPIC_HEADER}{validation}\n")
    video(tmp_path / "P01/videos/P01_01.MP4")  # 5 frames, one a second
    data = Data(format="epic_kitchens", root=str(tmp_path))
    manifest = build_manifest(data, 0)
    assert manifest.heads == {"verb_label": 97, "noun_label": 300}
    assert manifest.classes["verb_label"][6] == "turn-on" and manifest.classes["noun_label"][8] == "door"
    rows = manifest.table.set_index("clip_id")
    assert list(rows.index) == ["P01_01_0", "P01_01_1", "P01_01_9"]
    assert manifest.coverage["train"] == {"found": 2, "listed": 3}
    row = rows.loc["P01_01_1"]
    assert (row["start_s"], row["end_s"], row["verb_label"], row["noun_label"]) == (1.0, 4.0, 6, 114)
    clip = read_clip(row["path"], row["start_s"], row["end_s"], Sampling(frames=3))
    assert clip.frame_index.tolist() == [1, 2, 3]  # by time, not by the CSV's frame numbers
    (tmp_path / "EPIC_100_verb_classes.csv").write_text(
        "id,key,category\n" + "".join(f"{i},verb{i},x\n" for i in range(5))
    )
    with pytest.raises(InputError, match="verb_label 6, beyond the 5 classes"):
        build_manifest(data, 0)
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN.replace("01:02:03.50", "62 min"))
    with pytest.raises(InputError, match="time '62 min' is not of the form"):
        build_manifest(data, 0)


def test_epic_hours_count(tmp_path, video):
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN)
    (tmp_path / "EPIC_100_validation.csv").write_text(EPIC_HEADER)
    video(tmp_path / "P02_07.mp4")
    assert build_manifest(Data(format="epic_kitchens", root=str(tmp_path)), 0).table.set_index("clip_id")[
        "start_s"
    ].tolist() == [3723.5]


def test_epic_clips_cut_beforehand(tmp_path, video):
    """A file that bears a `narration_id` is the clip from end to end; the others are spans of the whole videos."""
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN)
    (tmp_path / "EPIC_100_validation.csv").write_text(EPIC_HEADER)
    video(tmp_path / "P01/P01_01_1.mp4")
    video(tmp_path / "clips/P02_07_0.MP4")
    data = Data(format="epic_kitchens", root=str(tmp_path))
    manifest = build_manifest(data, 0)
    assert manifest.coverage["train"] == {"found": 2, "listed": 3}
    video(tmp_path / "P01/P01_01.MP4")
    rows = build_manifest(data, 0).table.set_index("clip_id")
    assert rows["path"].map(lambda path: path.rpartition("/")[2]).to_dict() == {
        "P01_01_0": "P01_01.MP4",
        "P01_01_1": "P01_01_1.mp4",
        "P02_07_0": "P02_07_0.MP4",
    }
    assert rows["start_s"].notna().tolist() == rows["end_s"].notna().tolist() == [True, False, False]
    assert rows["verb_label"].to_dict() == {"P01_01_0": 3, "P01_01_1": 6, "P02_07_0": 4}
    assert len(read_clip(rows.loc["P02_07_0", "path"], None, None, Sampling(frames=4)).frames) == 4
    video(tmp_path / "P01_01.mp4")
    with pytest.raises(InputError, match="P01/P01_01.MP4 and .*P01_01.mp4: files of one name"):
        build_manifest(data, 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",open,3,", ",open,3.5,", r"line 2 \(row 1\): verb_class '3.5' is not a whole number"),
        ("00:00:02.50", "00:00:nan", r"line 2 \(row 1\): time '00:00:nan' is not of the form"),
        ("00:00:02.50", "00:60:02.50", r"line 2 \(row 1\): time '00:60:02.50' is not of the form"),
        ("00:00:02.50", "00:00:62.50", r"line 2 \(row 1\): time '00:00:62.50' is not of the form"),
        ("P01_01_0,", " ,", r"line 2 \(row 1\): narration_id ' ' is empty"),
        ("P01_01_0,", ",", r"line 2 \(row 1\): narration_id '' is empty"),
        (",light,114", "", r"line 3 \(row 2\) has 13 cells, the header has 15: a cell is missing"),
        ("turn on light", "turn on, light", r"line 3 \(row 2\) has 16 cells, the header has 15; put"),
    ],
)
def test_epic_wrong_rows(tmp_path, video, old, new, message):
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN.replace(old, new))
    (tmp_path / "EPIC_100_validation.csv").write_text(EPIC_HEADER)
    video(tmp_path / "P01_01.MP4")
    with pytest.raises(InputError, match=message) as error:
        build_manifest(Data(format="epic_kitchens", root=str(tmp_path)), 0)
    assert f"{tmp_path}/EPIC_100_train.csv" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", ["id,key\n0,take\n2,put\n", "id,key\n0,take\n0,put\n", "id,key\n0,take\n1", "id,key\n,take\n1,put\n"]
)
def test_epic_class_names_keep_their_ids(tmp_path, video, content):
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN)
    (tmp_path / "EPIC_100_validation.csv").write_text(EPIC_HEADER)
    (tmp_path / "EPIC_100_verb_classes.csv").write_text(content)
    video(tmp_path / "P01_01.MP4")
    with pytest.raises(InputError, match="EPIC_100_verb_classes.csv: .*(ids are not 0 .. 1, each once|cut off)"):
        build_manifest(Data(format="epic_kitchens", root=str(tmp_path)), 0)


@pytest.mark.parametrize("content, wrong", [("take", "1 has the name 'take' of class 0"), (" ", "1 has no name")])
def test_epic_class_names_are_there_once(tmp_path, video, content, wrong):
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN)
    (tmp_path / "EPIC_100_validation.csv").write_text(EPIC_HEADER)
    (tmp_path / "EPIC_100_verb_classes.csv").write_text(f"id,key\n0,take\n1,{content}\n")
    video(tmp_path / "P01_01.MP4")
    with pytest.raises(InputError, match=f"EPIC_100_verb_classes.csv: class {wrong}"):
        build_manifest(Data(format="epic_kitchens", root=str(tmp_path)), 0)


@pytest.mark.parametrize("name", ["P01_01", "P01_01.MP4"])  # as the video, too: what lies there decides, not the name
def test_epic_folders_of_frames_are_cut_by_frame_numbers(tmp_path, name):
    """The publishers' pictures are numbered from 1: frames 2 and 3 of `start_frame` 2, `stop_frame` 4."""
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN.replace(",8,202,", ",2,4,"))
    (tmp_path / "EPIC_100_validation.csv").write_text(EPIC_HEADER)
    folder = tmp_path / "P01/rgb_frames" / name
    folder.mkdir(parents=True)
    for number in range(1, 6):
        Image.new("L", (8, 8), number).save(folder / f"frame_{number:010d}.jpg")
    rows = build_manifest(Data(format="epic_kitchens", root=str(tmp_path)), 0).table.set_index("clip_id")
    row = rows.loc["P01_01_0"]
    assert (row["path"], row["start_s"], row["end_s"]) == (str(folder), 1.0, 3.0)
    assert read_clip(row["path"], 1.0, 3.0, Sampling(frames=2)).frame_index.tolist() == [1, 2]
    with pytest.raises(DecodeError, match="the list says 369 frames, the folder holds 5"):
        read_clip(row["path"], *rows.loc["P01_01_1", ["start_s", "end_s"]], Sampling(frames=2))


def test_ids_that_count_from_1_are_refused(tmp_path, video):
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN)
    (tmp_path / "EPIC_100_validation.csv").write_text(EPIC_HEADER + EPIC_TRAIN.replace("P0", "P1"))
    video(tmp_path / "P01_01.MP4")
    words = {3: "['open', 'pull-open']", 4: "['close']", 6: "['turn-on', 'switch']"}
    lines = [f'{number},key{number},"{words.get(number, [])}",x\n' for number in range(97)]
    (tmp_path / "EPIC_100_verb_classes.csv").write_text("id,key,instances,category\n" + "".join(lines))
    data = Data(format="epic_kitchens", root=str(tmp_path))
    assert build_manifest(data, 0).table["verb_label"].tolist()[:2] == [3, 6]
    shifted = EPIC_TRAIN.replace(",open,3,", ",open,4,").replace(",turn-on,6,", ",turn-on,7,")
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + shifted.replace(",close,4,", ",close,5,"))
    with pytest.raises(InputError, match="verbs such as 'open' with verb_class 4 are words of the class before"):
        build_manifest(data, 0)


def test_the_second_version_of_the_nouns_is_refused(tmp_path, shared, video):
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN)
    (tmp_path / "EPIC_100_validation.csv").write_text(EPIC_HEADER + EPIC_TRAIN.replace("P0", "P1"))
    video(tmp_path / "P01_01.MP4")
    nouns = shared / "annotations/epic-kitchens-100/EPIC_100_noun_classes_v2.csv"
    (tmp_path / "EPIC_100_noun_classes.csv").write_text(nouns.read_text())
    with pytest.raises(InputError, match="has 305 classes, perhaps of another version; .* with 300"):
        build_manifest(Data(format="epic_kitchens", root=str(tmp_path)), 0)
