"""CSV and TSV annotation files with named columns, the real UT-Interaction one among them."""

import numpy as np
import pytest

from objadapt.config import Data, Experiment
from objadapt.config_file import load_config
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError
from objadapt.pipeline.decoding import DecodeGrids, Unusable


def test_ut_interaction_labels(shared):
    manifest = build_manifest(Data(format="csv", root=str(shared / "clips"), train="ut_interaction/labels.csv"), 0)
    assert manifest.table["split"].value_counts().to_dict() == {"train": 53, "val": 25}
    assert manifest.classes["label"] == ["handshake", "hug", "kick", "point", "punch", "push"]
    assert manifest.coverage == {"train": {"found": 53, "listed": 53}, "val": {"found": 25, "listed": 25}}
    # its paths begin with the folder's own name, which may be the root itself
    from_within = build_manifest(Data(format="csv", root=str(shared / "clips" / "ut_interaction")), 0)
    assert from_within.table.equals(manifest.table)


def test_csv_table_with_spans_numbers_and_unlabelled_rows(tmp_path, video):
    video(tmp_path / "videos/a, b & c.mp4")
    (tmp_path / "list.tsv").write_text(
        "file\taction\tpart\tclip_id\tstart_s\tend_s\n"
        "a, b & c.mp4\t10\ttrain\tone\t0\t2.5\na, b & c.mp4\t9\tTrain\ttwo\t2.5\t\n"
        "a, b & c.mp4\t\tvalidation\tthree\t\t\ngone.mp4\t9\ttest\tfour\t\t\n"
    )
    columns = {"path_column": "file", "label_column": "action", "split_column": "part"}
    data = Data(format="csv", root=str(tmp_path), train="list.tsv", videos="videos", **columns)
    manifest = build_manifest(data, 0)
    assert manifest.classes == {"label": ["9", "10"]}  # numbers in the order of numbers
    rows = manifest.table.set_index("clip_id")
    assert rows["label"].to_dict() == {"one": 1, "two": 0, "three": -1}
    assert rows["start_s"].iloc[:2].tolist() == [0, 2.5] and np.isnan(rows["end_s"].iloc[1])
    assert manifest.coverage["test"] == {"found": 0, "listed": 1}
    unlabelled = build_manifest(data.model_copy(update={"label_column": ""}), 0)
    assert unlabelled.heads == {"label": 0} and (unlabelled.table["label"] == -1).all()


def test_csv_tables_in_two_files(tmp_path, video):
    video(tmp_path / "a.mp4")
    video(tmp_path / "b.mp4")
    (tmp_path / "t.csv").write_text("path,label\na.mp4,run\n")
    (tmp_path / "v.csv").write_text("path,label\nb.mp4,run\n")
    manifest = build_manifest(Data(format="csv", root=str(tmp_path), train="t.csv", val="v.csv"), 0)
    assert manifest.table.set_index("clip_id")["split"].to_dict() == {"a.mp4": "train", "b.mp4": "val"}
    with pytest.raises(InputError, match="no column split; it has path, label"):
        build_manifest(Data(format="csv", root=str(tmp_path), train="t.csv"), 0)


def test_a_verb_and_a_noun(tmp_path, video):
    """Two heads in place of one, as EPIC-KITCHENS-100 has them."""
    for name in "abc":
        video(tmp_path / f"{name}.mp4")
    (tmp_path / "labels.csv").write_text(
        "path,action,thing,split\na.mp4,open,door,train\nb.mp4,close,,train\nc.mp4, open ,door,val\n"
    )
    data = Data(format="csv", root=str(tmp_path), label_column=["action", "thing"])
    manifest = build_manifest(data, 0)
    assert manifest.classes == {"verb_label": ["close", "open"], "noun_label": ["door"]}
    assert manifest.table[["verb_label", "noun_label"]].to_numpy().tolist() == [[1, 0], [0, -1], [1, 0]]
    (tmp_path / "labels.csv").write_text("path,action,thing,split\na.mp4,open,door,train\nc.mp4,open,tap,val\n")
    with pytest.raises(
        InputError, match=r"labels.csv: line 3 \(row 2\): class 'tap' is not among the 1 training classes"
    ):
        build_manifest(data, 0)
    for wrong in ([], ["one"], ["a", "a"], ["a", ""], ["a", "b", "c"]):
        with pytest.raises(InputError, match="data.label_column: .* is neither one column nor two"):
            load_config(None, [f"data.label_column={wrong}"])
    assert load_config(None, ["data.label_column=[a, b]"]).data.label_columns == {"verb_label": "a", "noun_label": "b"}


def test_spans_without_a_frame_refuse_no_data_set(tmp_path, video):
    video(tmp_path / "a.mp4")  # 5 frames, one a second
    spans = ["0,0", "3,2", "nan,2", "0,NaN", "inf,", "-inf,2", "0,-inf", "5,9", "-3,-1", "1,3", "-1,2", "3,inf", ","]
    lines = [f"a.mp4,run,{'val' if i % 2 else 'train'},{i},{span}" for i, span in enumerate(spans)]
    (tmp_path / "labels.csv").write_text("path,label,split,clip_id,start_s,end_s\n" + "\n".join(lines) + "\n")
    rows = build_manifest(Data(format="csv", root=str(tmp_path)), 0).table
    assert len(rows) == len(spans)
    decoder = DecodeGrids(None, None, Experiment(), (8,), 32, False)
    read = [decoder.clip(row, 0, 0, False) for row in rows.itertuples()]
    assert [isinstance(one, Unusable) for one in read] == [True] * 9 + [False] * 4
    assert {one.stage for one in read[:9]} == {"sampling"} and all("no frame between" in one.reason for one in read[:9])


def test_files_are_looked_for_folder_by_folder(tmp_path, video):
    """Other forms of a path to the same file, another case of letters, and names that are no files."""
    for name in ("in/a.mp4", "in/deep/b.MP4", "out/c.mp4"):
        video(tmp_path / name)
    (tmp_path / "in/folder.mp4").mkdir()
    names = [
        "a.mp4",
        "./deep//b.MP4",
        f"{tmp_path}/out/c.mp4",
        "in/a.mp4",
        "A.mp4",
        "deep/b.mp4",
        "folder.mp4",
        "deep",
        "none/a.mp4",
    ]
    lines = [f"{name},run,train,{i}\n" for i, name in enumerate(names)]
    (tmp_path / "in/labels.csv").write_text("path,label,split,clip_id\n" + "".join(lines))
    table = build_manifest(Data(format="csv", root=str(tmp_path / "in")), 0).table
    assert table["clip_id"].tolist() == ["0", "1", "2", "3"]
    assert all((tmp_path / path).is_file() for path in table["path"])


@pytest.mark.parametrize(
    "name",
    ["._a.mp4", ".ipynb_checkpoints/a-checkpoint.mp4", "run/.a.mp4", "__MACOSX/._a.mp4", "@eaDir/a.mp4", "x/.DS_Store"],
)
def test_a_hidden_file_is_no_clip(tmp_path, video, name):
    hidden = tmp_path / ".data"  # the folder itself may be hidden
    video(hidden / name)
    video(hidden / "a.mp4")
    (hidden / "labels.csv").write_text(f"path,label,split\na.mp4,run,train\n{name},run,train\n{hidden}/a.mp4,run,val\n")
    with pytest.raises(InputError, match=r"labels.csv: line 3 \(row 2\): .* leaves behind, no video; remove the row"):
        build_manifest(Data(format="csv", root=str(hidden)), 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,class,split\na.mp4,run,train\n", "no column label; it has path, class, split"),
        ("path,label,split\n../a.mp4,run,train\n", "leads out of the data folder"),
        ("path,label,split\nx\\..\\..\\a.mp4,run,train\n", "leads out of the data folder"),
        ("path,label,split\n,run,train\n", "a row without a path"),
        ("path,label,split,clip_id\na.mp4,run,train, \n", r"line 2 .row 1.: clip_id '' is empty"),
        ("path,label,split,clip_id\na.mp4,run,train,1\na.mp4,run,train, 1\n", "clip '1' is listed more than once"),
        ("path,label,split\na.mp4,run,holdout\n", "split 'holdout' is not train, val or test"),
        ("path,label,split\na.mp4,run,train\na.mp4,run,train\n", "'a.mp4' is listed more than once"),
        (
            "path,label,split,start_s,end_s\na.mp4,run,train,3,2\n",
            "ends at 2.0 s, its start is 3.0 s, and so with every training clip",
        ),
        ("path,label,split\nb.mp4,run,train\n", "none of the 1 listed videos, such as 'b.mp4', is there"),
        ("path,label,split\n", "none of the 0 listed videos"),
        ("", "not a readable CSV file"),
        ('path,label,split\n"a.mp4,run,train\n', "not a readable CSV file"),
        (b"\xff\xfe\x00path", "not a readable CSV file"),
    ],
)
def test_csv_wrong_files(tmp_path, video, content, message):
    video(tmp_path / "a.mp4")
    (tmp_path / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        build_manifest(Data(format="csv", root=str(tmp_path)), 0)
    assert "\n" not in str(error.value)


def test_a_validation_file_trains_nothing(tmp_path, video):
    video(tmp_path / "a.mp4")
    video(tmp_path / "b.mp4")
    (tmp_path / "t.csv").write_text("path,label,split\na.mp4,run,train\n")
    (tmp_path / "v.csv").write_text("path,label,split\nb.mp4,run,train\n")
    with pytest.raises(InputError, match=r"v.csv: line 2 \(row 1\): split 'train' is trained on, and data.val is"):
        build_manifest(Data(format="csv", root=str(tmp_path), train="t.csv", val="v.csv"), 0)
    with pytest.raises(InputError, match="data.path_column: is empty; name the column"):
        build_manifest(Data(format="csv", root=str(tmp_path), train="t.csv", path_column=""), 0)


@pytest.mark.parametrize(
    ("columns", "row", "meant"),
    [
        ("Start_s,end,CLIP ID,notes", "1,2,x,starts", {"Start_s": "start_s", "end": "end_s", "CLIP ID": "clip_id"}),
        ("start_frame,end_frame", "10,20", {"start_frame": "start_s", "end_frame": "end_s"}),
        ("startTimestamp,stopTimestamp", "00:01,00:02.5", {"startTimestamp": "start_s", "stopTimestamp": "end_s"}),
        ("start_ms,begin,finish", ",1,2", {"start_ms": "start_s", "begin": "start_s", "finish": "end_s"}),
        ("onset,offset,end_effector", "1,2,left hand", {"onset": "start_s", "offset": "end_s"}),
        ("start_s,started,set,sender", "1,2020,train,anna", {}),
    ],
)
def test_columns_of_another_name_are_not_passed_over_in_silence(tmp_path, video, caplog, columns, row, meant):
    video(tmp_path / "a.mp4")
    (tmp_path / "labels.csv").write_text(f"path,label,split,{columns}\na.mp4,run,train,{row}\n")
    build_manifest(Data(format="csv", root=str(tmp_path)), 0)
    told = [record.getMessage().partition(": ")[2] for record in caplog.records]
    unit = {"clip_id": "", "start_s": ", in seconds", "end_s": ", in seconds"}
    assert told == [f"column {given} is not read; is it {one}{unit[one]}?" for given, one in meant.items()]


@pytest.mark.parametrize("name", ["Split", "subset", "the_set"])
def test_splits_of_another_column_are_not_trained_on(tmp_path, video, name):
    """Where data.val is given there need be no column of splits; one by another name would be passed over."""
    for clip in "abc":
        video(tmp_path / f"{clip}.mp4")
    (tmp_path / "v.csv").write_text(f"path,label,{name}\nc.mp4,run,Val\n")
    (tmp_path / "t.csv").write_text(f"path,label,{name}\na.mp4,run,train\nb.mp4,run,Test\n")
    data = Data(format="csv", root=str(tmp_path), train="t.csv", val="v.csv")
    said = f"t.csv: column {name} says test, train, and is not read: all rows would be train; give data.split_column="
    with pytest.raises(InputError, match=said):
        build_manifest(data, 0)
    found = build_manifest(data.model_copy(update={"split_column": name}), 0).table
    assert found["split"].tolist() == ["train", "test", "val"]
    (tmp_path / "t.csv").write_text(f"path,label,{name}\na.mp4,run,train\nb.mp4,run,training\n")
    assert build_manifest(data, 0).table["split"].tolist() == ["train", "train", "val"]


def test_spaces_beside_separators(tmp_path, video):
    for name in ("a.mp4", " b.mp4"):
        video(tmp_path / name)
    (tmp_path / "labels.csv").write_text("label, path, split\nrun, a.mp4 , train\nrun, b.mp4, val\n")
    table = build_manifest(Data(format="csv", root=str(tmp_path)), 0).table
    assert table["path"].tolist() == [str(tmp_path / "a.mp4"), str(tmp_path / " b.mp4")]


def test_spans_of_one_file_need_names(tmp_path, video):
    video(tmp_path / "a.mp4")
    (tmp_path / "labels.csv").write_text("path,label,split,start_s,end_s\na.mp4,run,train,0,1\na.mp4,walk,train,1,2\n")
    with pytest.raises(
        InputError, match=r"line 3 \(row 2\): path 'a.mp4' is listed more than once; .* by a column clip_id"
    ):
        build_manifest(Data(format="csv", root=str(tmp_path)), 0)


def test_numbers_as_labels(tmp_path, video, caplog):
    """They are names; what is one number in two spellings, or is below 0, is told."""
    for name in "abcd":
        video(tmp_path / f"{name}.mp4")
    (tmp_path / "labels.csv").write_text(
        "path,label,split\na.mp4,10,train\nb.mp4,9,train\nc.mp4,-1,train\nd.mp4,9,val\n"
    )
    data = Data(format="csv", root=str(tmp_path))
    assert build_manifest(data, 0).classes["label"] == ["-1", "9", "10"]
    assert "the label -1 is a class like the other numbers; a clip without a class has an empty label" in caplog.text
    (tmp_path / "labels.csv").write_text(
        "path,label,split\na.mp4,1,train\nb.mp4,01,train\nc.mp4,1.0,train\nd.mp4,1,val\n"
    )
    caplog.clear()
    build_manifest(data, 0)
    assert caplog.text.count("look alike: are they one, written in two ways?") == 2
