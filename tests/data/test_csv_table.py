"""CSV and TSV annotation files with named columns, the real UT-Interaction one among them."""

import numpy as np
import pytest

from objadapt.config import Data
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,class,split\na.mp4,run,train\n", "no column label; it has path, class, split"),
        ("path,label,split\n../a.mp4,run,train\n", "leads out of the data folder"),
        ("path,label,split\nx\\..\\..\\a.mp4,run,train\n", "leads out of the data folder"),
        ("path,label,split\n,run,train\n", "a row without a path"),
        ("path,label,split\na.mp4,run,holdout\n", "split 'holdout' is not train, val or test"),
        ("path,label,split\na.mp4,run,train\na.mp4,run,train\n", "'a.mp4' is listed more than once"),
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
