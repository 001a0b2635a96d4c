"""Annotation files of every format, damaged anywhere: one line that names a file, or rows that are in order."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objadapt.config import Data
from objadapt.data.coverage import cover
from objadapt.data.manifest import READERS
from objadapt.errors import InputError

KINETICS = "label,youtube_id,time_start,time_end,split,is_cc\n"
EPIC = "narration_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,noun,noun_class\n"
SETS = {  # format -> its files, small
    "kinetics": {
        "train.csv": f'{KINETICS}run,aaaaaaaaaaa,1,11,train,0\n"walk, slowly",bbbbbbbbbbb,10,20,train,1\n',
        "val.csv": f"{KINETICS}run,ccccccccccc,1,11,val,0\n,ddddddddddd,2,12,test,0\n",
    },
    "something_something": {
        "labels.json": '{"Holding something": "0", "Moving something": "1"}',
        "train.json": json.dumps([{"id": "1", "label": "holding a cup", "template": "Holding [something]"}]),
        "validation.json": json.dumps([{"id": "2", "label": "moving a cup", "template": "Moving [something]"}]),
        "test.json": '[{"id": "3"}, {"id": "4"}]',
        "test-answers.csv": "3;Holding something\n4;Moving something\n",
    },
    "epic_kitchens": {
        "EPIC_100_train.csv": f"{EPIC}P01_01_0,P01_01,00:00:00.14,00:00:02.50,8,150,open,3,door,8\n",
        "EPIC_100_validation.csv": f"{EPIC}P01_02_0,P01_02,00:00:00.14,00:00:02.50,8,150,open,3,door,8\n",
    },
    "csv": {"labels.csv": "path,label,split\na.mp4,run,train\nb.mp4,run,val\n"},
    "ucf101": {
        "classInd.txt": "1 Archery\r\n2 YoYo\r\n",
        "trainlist01.txt": "Archery/v_Archery_g08_c01.avi 1\r\nYoYo/v_YoYo_g08_c01.avi 2\r\n",
        "testlist01.txt": "Archery/v_Archery_g01_c01.avi\r\nYoYo/v_YoYo_g01_c01.avi\r\n",
    },
    "hmdb51": {
        "wave_test_split1.txt": "a_wave_0.avi 1 \nb_wave_1.avi 2 \nc_wave_2.avi 0 \n",
        "clap_test_split1.txt": "a_clap_0.avi 1 \nb_clap_1.avi 2 \n",
    },
    "diving48": {
        "Diving48_vocab.json": '[["Back", "FREE"], ["Back", "TUCK"]]',
        "Diving48_V2_train.json": '[{"vid_name": "a_00001", "label": 0, "start_frame": 0, "end_frame": 48}]',
        "Diving48_V2_test.json": '[{"vid_name": "b_00001", "label": 1, "start_frame": 0, "end_frame": 48}]',
    },
    "video_list": {"train.txt": "a b.mp4 0\nc.mp4 1\n", "val.txt": "d.mp4 1\n", "label_map.txt": "run\nwalk\n"},
}
PIECES = [
    b"",
    b"\n",
    b"\r\n",
    b",",
    b";",
    b'"',
    b" ",
    b"\0",
    b"\xff",
    b"[",
    b"}",
    b"-1",
    b"99",
    b"../",
    b"\xef\xbb\xbf",
]


def write(root: Path, form: str, **changed: bytes) -> Data:
    root.mkdir(exist_ok=True)
    for name in os.listdir(root):
        (root / name).unlink()
    for name, content in SETS[form].items():
        (root / name).write_bytes(changed.get(name, content.encode()))
    return Data(format=form, root=str(root))


@pytest.mark.parametrize("form", SETS)
def test_whole_they_are_read(tmp_path, form):
    counts = cover(write(tmp_path, form), form).counts()
    assert {"train", "val"} <= counts.keys() and not any(told["duplicated"] for told in counts.values())


@pytest.mark.parametrize("form", SETS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(chance=st.data())
def test_damaged_they_are_refused_in_one_line_or_read_in_order(tmp_path, form, chance):
    name = chance.draw(st.sampled_from(sorted(SETS[form])))
    content = SETS[form][name].encode()
    start = chance.draw(st.integers(0, len(content)))
    stop = chance.draw(st.integers(start, min(len(content), start + 12)) | st.just(len(content)))
    piece = chance.draw(st.sampled_from(PIECES) | st.binary(max_size=8) | st.just(content[:stop]))
    data = write(tmp_path / "set", form, **{name: content[:start] + piece + content[stop:]})
    try:
        coverage = cover(data, form)
    except InputError as error:
        assert "\n" not in str(error) and "\r" not in str(error) and str(error)
        return
    table = coverage.table
    assert set(table["split"]) <= {"train", "val", "test"} and (table["clip_id"] != "").all()
    for head, names in coverage.classes.items():
        assert table[head].between(-1, len(names) - 1).all()
    assert all(told["listed"] == told["found"] + told["missing"] for told in coverage.counts().values())
    coverage.by_class(), coverage.official(), coverage.names()


VALIDATION = {
    "kinetics": "val.csv",
    "something_something": "validation.json",
    "epic_kitchens": "EPIC_100_validation.csv",
    "ucf101": "testlist01.txt",
    "diving48": "Diving48_V2_test.json",
    "video_list": "val.txt",
}


@pytest.mark.parametrize("form", VALIDATION)
def test_no_validation_file_is_needed_where_clips_are_held_out(tmp_path, form):
    data = write(tmp_path, form)
    both = READERS[form](data).rows
    none = READERS[form](data.model_copy(update={"val": "", "holdout": 0.5})).rows
    (tmp_path / VALIDATION[form]).unlink()
    with pytest.raises(InputError, match=r"data.val: no "):
        READERS[form](data)
    rows = READERS[form](data.model_copy(update={"holdout": 0.5})).rows
    names = both.loc[both["split"] == "train", "clip_id"].tolist()
    for found in (rows, none):
        assert found.loc[found["split"] == "train", "clip_id"].tolist() == names and "val" not in set(found["split"])
