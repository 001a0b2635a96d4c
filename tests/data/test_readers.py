"""The official annotation files, as they are: one small handmade copy of each format, with real videos."""

import json

import pytest

from objadapt.config import Data, Sampling
from objadapt.data.clip import read_clip
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError


def by_id(manifest):
    return manifest.table.set_index("clip_id")


# --- Kinetics ---------------------------------------------------------------------------------------------------------

KINETICS_TRAIN = """label,youtube_id,time_start,time_end,split,is_cc
"zumba",---QUuC4vJs,84,94,train,0
"playing squash or racquetball, indoors",-3B32lodo2M,59,69,train,0
abseiling,0123456789A,0,10,train,1
abseiling,missing0000,5,15,train,1
"""
KINETICS_VAL = "label,youtube_id,time_start,time_end,split\nabseiling,NAN_nan_NaN,1,11,val\n,1234567_890,2,12,test\n"


def kinetics(root, video):
    (root / "train.csv").write_text(KINETICS_TRAIN)
    (root / "val.csv").write_text(KINETICS_VAL)
    video(root / "train/zumba/---QUuC4vJs_000084_000094.mp4")  # the official name, in a class folder
    video(root / "train/-3B32lodo2M.mkv")  # the bare id
    video(root / "train/0123456789A_0_10.mp4")  # times not padded: the first 11 characters decide
    video(root / "val/NAN_nan_NaN_000001_000011.mp4")
    video(root / "val/1234567_890_000002_000012.webm")
    return Data(format="kinetics", root=str(root))


def test_kinetics(tmp_path, video):
    manifest = build_manifest(kinetics(tmp_path, video), 0)
    assert manifest.classes == {"label": ["abseiling", "playing squash or racquetball, indoors", "zumba"]}
    rows = by_id(manifest)
    assert rows["label"].to_dict() == {
        "---QUuC4vJs_000084_000094": 2,
        "-3B32lodo2M_000059_000069": 1,
        "0123456789A_000000_000010": 0,
        "NAN_nan_NaN_000001_000011": 0,
        "1234567_890_000002_000012": -1,
    }
    assert manifest.coverage == {
        "train": {"found": 3, "listed": 4},
        "val": {"found": 1, "listed": 1},
        "test": {"found": 1, "listed": 1},
    }
    assert rows["start_s"].isna().all() and manifest.flip and manifest.heads == {"label": 3}
    assert read_clip(rows["path"].iloc[1], None, None, Sampling(frames=2)).frames.shape[0] == 2


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("val.csv", "abseiling", "base jumping", "class 'base jumping' is not among the 3 training classes"),
        ("train.csv", "youtube_id", "id", "no column youtube_id; it has label, id, time_start"),
        ("train.csv", ",84,", ",soon,", "time_start 'soon' is not a number"),
        ("val.csv", "NAN_nan_NaN,1,11", "0123456789A,0,10", "listed more than once"),
    ],
)
def test_kinetics_wrong_files(tmp_path, video, name, old, new, message):
    data = kinetics(tmp_path, video)
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message) as error:
        build_manifest(data, 0)
    assert "\n" not in str(error.value)


# --- Something-Something v2 -------------------------------------------------------------------------------------------

TEMPLATES = {"Pushing something from left to right": "1", "Holding something": "0"}


def something(root, video, labels_folder=""):
    place = root / labels_folder
    place.mkdir(parents=True, exist_ok=True)

    def entry(number, label, template):
        return {"id": number, "label": label, "template": template, "placeholders": ["a cup"]}

    (place / "labels.json").write_text(json.dumps(TEMPLATES))
    (place / "train.json").write_text(
        json.dumps(
            [
                entry("78687", "pushing a cup from left to right", "Pushing [something] from left to right"),
                entry("42326", "holding a cup", "Holding [something]"),
                entry("1", "holding a book", "Holding [something]"),
            ]
        )
    )
    (place / "validation.json").write_text(json.dumps([entry("74225", "holding a pen", "Holding [something]")]))
    (place / "test.json").write_text(json.dumps([{"id": "1420"}, {"id": "1421"}]))
    (place / "test-answers.csv").write_text("1420;Pushing something from left to right\n")
    videos = root / "20bn-something-something-v2"
    for name, source in (
        ("78687.webm", "clips/variants/vp9.webm"),
        ("42326.mp4", None),
        ("74225.mkv", None),
        ("1420.avi", None),
    ):
        video(videos / name, *([source] if source else []))
    return Data(format="something_something", root=str(root))


@pytest.mark.parametrize("labels_folder", ["", "labels"])
def test_something_something(tmp_path, video, labels_folder):
    manifest = build_manifest(something(tmp_path, video, labels_folder), 0)
    assert manifest.classes == {"label": ["Holding something", "Pushing something from left to right"]}
    rows = by_id(manifest)
    assert rows["label"].to_dict() == {"78687": 1, "42326": 0, "74225": 0, "1420": 1}
    assert rows["split"].to_dict() == {"78687": "train", "42326": "train", "74225": "val", "1420": "test"}
    assert manifest.coverage["train"] == {"found": 2, "listed": 3} and manifest.coverage["test"] == {
        "found": 1,
        "listed": 2,
    }
    assert manifest.flip is False  # left and right are part of the label


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "train.json",
            '[{"id": "1", "template": "Eating [something]"}]',
            "template 'Eating .something.' is not in labels.json",
        ),
        ("train.json", '[{"id": "1"}]', "clip 0 lacks id or template"),
        (
            "train.json",
            '[{"id": ["1"], "template": "Holding [something]"}]',
            r'clip 0 has id \["1"\], which is not text',
        ),
        ("train.json", '[{"id": "1", "template": null}]', "clip 0 has template null, which is not text"),
        ("train.json", '[[{"id": "1", "template": "Holding [something]"}]]', "clip 0 lacks id or template"),
        ("train.json", '[{"id": "1", "templ', "train.json: not valid JSON: it is cut off .*line 1 column"),
        ("test.json", '[{"id": "1420"}, {"id"', "test.json: not valid JSON: it is cut off"),
        ("test-answers.csv", "1420;Pushing something from le", r"test-answers.csv: line 1: template .* cut off there"),
        (
            "test-answers.csv",
            "1420;Holding something\n1421",
            r"test-answers.csv: line 2 \(row 2\): the file is cut off",
        ),
        ("test-answers.csv", "1420;Holding something\n1420;Holding something\n", "line 2: id '1420' is listed twice"),
        ("labels.json", '{"Holding something": "0", "Push', "labels.json: not valid JSON: it is cut off"),
        ("train.json", '{"id": "1"}', "must be a list of clips"),
        ("train.json", '[{"id": "1", ', "not valid JSON"),
        ("labels.json", '["Holding something"]', "must map templates to class ids"),
        (
            "labels.json",
            '{"Holding something": "0", "Pushing something from left to right": "2"}',
            "class ids are not 0 .. 1",
        ),
    ],
)
def test_something_something_wrong_files(tmp_path, video, name, content, message):
    data = something(tmp_path, video)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as error:
        build_manifest(data, 0)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_something_something_two_files_of_one_id(tmp_path, video):
    data = something(tmp_path, video)
    folder = tmp_path / "20bn-something-something-v2"
    for name in (
        "._42326.mp4",
        ".ipynb_checkpoints/42326.mp4",
        "@eaDir/42326.mp4",
        "more/99999.mp4",
        "99999.mp4",
        "42326.mp4.part",
    ):
        video(folder / name)  # hidden ones, and a name that nobody asks for
    assert by_id(build_manifest(data, 0)).loc["42326", "path"] == f"{folder}/42326.mp4"
    video(folder / "more/42326.WEBM")
    with pytest.raises(InputError, match=f"{folder}/42326.mp4 and {folder}/more/42326.WEBM: files of one name"):
        build_manifest(data, 0)


def test_a_listed_clip_in_no_known_container_is_named(tmp_path, video, caplog):
    data = something(tmp_path, video)
    (tmp_path / "20bn-something-something-v2/1.mxf").touch()
    assert build_manifest(data, 0).coverage["train"] == {"found": 2, "listed": 3}
    assert "1 clips are missing: their files are not videos by their suffix: 1.mxf" in caplog.text
    assert "test-answers.csv has no label for 1 of 2 test clips, such as 1421" in caplog.text


# --- EPIC-KITCHENS-100 ------------------------------------------------------------------------------------------------

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
    rows = by_id(manifest)
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
    assert by_id(build_manifest(Data(format="epic_kitchens", root=str(tmp_path)), 0))["start_s"].tolist() == [3723.5]


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
    rows = by_id(build_manifest(data, 0))
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


# --- folders and tables -----------------------------------------------------------------------------------------------


def test_class_folders(tmp_path, video):
    for name in ("train/run/a.mp4", "train/run/b.avi", "train/jump high/a.mp4", "val/run/a.mp4", "test/run/x.mp4"):
        video(tmp_path / name)
    (tmp_path / "train/run/notes.txt").write_text("not a video")
    data = Data(format="class_folders", root=str(tmp_path))
    manifest = build_manifest(data, 0)
    assert manifest.classes == {"label": ["jump high", "run"]}
    assert by_id(manifest)["label"].to_dict() == {
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


def test_class_folders_without_splits_says_what_to_do(tmp_path, video):
    video(tmp_path / "run/a.mp4")
    with pytest.raises(InputError, match="no train folder .* sort the classes into train/<class> .* use format csv"):
        build_manifest(Data(format="class_folders", root=str(tmp_path)), 0)
    video(tmp_path / "train/a.mp4")
    video(tmp_path / "val/run/a.mp4")
    with pytest.raises(InputError, match="video a.mp4 is in no class folder"):
        build_manifest(Data(format="class_folders", root=str(tmp_path)), 0)


@pytest.mark.parametrize(
    "format", ["something_something", "kinetics", "epic_kitchens", "class_folders", "csv", "manifest"]
)
def test_missing_root_or_annotations_name_the_field(tmp_path, format):
    for root, message in (
        ("", "data.root: not set"),
        ("/no/such/folder", "data.root: no folder"),
        (str(tmp_path), "no |give"),
    ):
        with pytest.raises(InputError, match=message):
            build_manifest(Data(format=format, root=root), 0)
