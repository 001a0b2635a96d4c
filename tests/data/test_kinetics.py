"""Kinetics' official CSVs, a small handmade copy of them, with real videos."""

import pytest
from moving_video import pictures, write_video

from objadapt.config import Data, Sampling
from objadapt.data.clip import read_clip
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError

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
    rows = manifest.table.set_index("clip_id")
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


def test_a_test_list_beside_one_list_of_all_splits(tmp_path, video):
    kinetics(tmp_path, video)
    (tmp_path / "train.csv").write_text(KINETICS_TRAIN + "abseiling,NAN_nan_NaN,1,11,val,0\n")
    (tmp_path / "val.csv").rename(tmp_path / "test.csv")
    (tmp_path / "test.csv").write_text("youtube_id,time_start,time_end,split\n1234567_890,2,12,test\n")
    data = Data(format="kinetics", root=str(tmp_path), val="", test="test.csv", holdout=0.2)
    table = build_manifest(data, 0).table
    trained_on = set(table.loc[table["split"] == "train", "clip_id"])
    assert trained_on and not {"NAN_nan_NaN_000001_000011", "1234567_890_000002_000012"} & trained_on


def test_a_whole_video_is_not_taken_for_a_trimmed_clip(tmp_path, video):
    data = kinetics(tmp_path, video)
    write_video(tmp_path / "train/-3B32lodo2M.mkv", pictures(900, size=(64, 64)))  # half a minute
    with pytest.raises(InputError, match="-3B32lodo2M.mkv: lasts 30 s, and the clip is the 10 s from 59 on; cut it"):
        build_manifest(data, 0)


def test_lists_of_two_sizes_are_not_mixed(tmp_path, video):
    data = kinetics(tmp_path, video)
    (tmp_path / "train.csv").rename(tmp_path / "kinetics-600_train.csv")
    (tmp_path / "val.csv").rename(tmp_path / "kinetics400_val.csv")
    with pytest.raises(InputError, match="data.val: .*kinetics400_val.csv lies beside .*kinetics-600_train.csv"):
        build_manifest(data, 0)
    (tmp_path / "kinetics400_val.csv").rename(tmp_path / "kinetics600_val.csv")
    assert len(build_manifest(data, 0).table) == 5
