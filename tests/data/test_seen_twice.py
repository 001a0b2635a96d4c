"""Clips that are learned and judged on alike: by the path, by the span, by the bytes."""

import os

import numpy as np
import pandas as pd
import pytest

from objadapt.config import Data
from objadapt.data.manifest import build_manifest
from objadapt.data.seen_twice import same_files, shared_moments

HEAD = "path,label,split,clip_id,start_s,end_s\n"


@pytest.fixture
def told(tmp_path, caplog):
    """`told(rows)`: what is warned of a CSV of these rows; every clip stays."""
    (tmp_path / "a.mp4").write_bytes(b"a video")
    (tmp_path / "b.mp4").write_bytes(b"another one")

    def warned(rows: str) -> str:
        caplog.clear()
        (tmp_path / "labels.csv").write_text(HEAD + rows)
        assert len(build_manifest(Data(format="csv", root=str(tmp_path)), 0).table) == len(rows.splitlines())
        return caplog.text

    return warned


@pytest.mark.parametrize("other", ["a.mp4", "./a.mp4", ".//a.mp4", "{root}/a.mp4"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_one_file_under_two_ids(tmp_path, told, other, split):
    other = other.format(root=tmp_path)
    said = told(f"a.mp4,run,train,one,0,2\n{other},run,{split},two,0,2\n")
    assert "1 clips of other splits share moments with training clips: clips 'one' and 'two' are one file (" in said
    assert f", in train and {split}" in said
    said = told(f"a.mp4,run,train,one,0,2\n{other},run,train,two,0,2\n")
    assert "2 clips share file and span with another: clips 'one' and 'two' are one file (" in said
    assert not told(f"a.mp4,run,train,one,0,2\nb.mp4,run,{split},two,0,2\n")


def test_spans_of_one_file_that_overlap(told):
    train = "a.mp4,run,train,one,2,4\n"
    for span in ("3,5", "1,3", "2.5,3", "0,9", ",", ",2.1", "3.9,"):
        said = told(f"{train}a.mp4,run,val,two,{span}\n")
        assert "1 clips of other splits" in said and "clips 'one' and 'two' overlap in one file (" in said, span
    for span in ("4,5", "0,2", ",2", "4,", "9,10"):
        assert not told(f"{train}a.mp4,run,val,two,{span}\n"), span
    assert not told(f"{train}a.mp4,run,train,two,3,5\n"), "within a split it is the user's choice"
    both = "a.mp4,run,val,two,0,3\na.mp4,run,test,three,3,9\nb.mp4,run,val,four,2,4\na.mp4,run,val,five,5,6\n"
    assert "2 clips of other splits" in told(train + both)


@pytest.mark.parametrize("kind", ["copy", "link", "symbolic link"])
def test_a_copy_of_a_file_is_that_file(tmp_path, told, kind):
    match kind:
        case "copy":
            (tmp_path / "c.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
        case "link":
            os.link(tmp_path / "a.mp4", tmp_path / "c.mp4")
        case "symbolic link":
            (tmp_path / "c.mp4").symlink_to("a.mp4")
    said = told("b.mp4,run,train,zero,,\na.mp4,run,train,one,,\nc.mp4,run,val,two,,\n")
    assert "clips 'one' and 'two' are files of the same bytes (" in said and "c.mp4), in train and val" in said
    (tmp_path / "c.mp4").unlink()
    (tmp_path / "c.mp4").write_bytes(b"A video")  # of the same size
    assert not told("a.mp4,run,train,one,,\nc.mp4,run,val,two,,\n")


def test_every_copy_in_training_counts(tmp_path, told):
    """In whichever order the training rows stand."""
    for name in ("b", "c"):
        (tmp_path / f"{name}.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    rows = ["a.mp4,run,train,one,0,5\n", "b.mp4,run,train,two,5,10\n"]
    for train in (rows, rows[::-1]):
        said = told("".join(train) + "c.mp4,run,val,three,6,8\n")
        assert "clips 'two' and 'three' overlap in files of the same bytes (" in said


def test_what_is_no_local_file_is_compared_with_nothing(tmp_path):
    """URLs, and what is gone or empty."""
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    paths = ["s3://bucket/a.mp4", *(str(tmp_path / name) for name in ("gone.mp4", "empty", "folder"))]
    assert same_files(paths + [one.replace(tmp_path.name, f"./{tmp_path.name}") for one in paths]) == {}


def test_a_copy_of_a_folder_of_frames(tmp_path):
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        folder.mkdir()
        for number in range(3):
            (folder / f"{number:05d}.png").write_bytes(bytes([number]) * 5000)
    (tmp_path / "b" / ".hidden").touch()  # by a file manager
    (tmp_path / "c" / "00002.png").write_bytes(b"another frame")
    (tmp_path / "d" / "00003.png").write_bytes(b"one more")
    a, b, *_ = paths = list(map(str, folders))
    assert same_files(paths) == {a: a, b: a}


def test_files_that_begin_alike_are_compared_whole(tmp_path, told):
    (tmp_path / "a.mp4").write_bytes(bytes(5000) + b"a")
    (tmp_path / "c.mp4").write_bytes(bytes(5000) + b"c")
    rows = "a.mp4,run,train,one,,\nb.mp4,run,train,three,,\nc.mp4,run,val,two,,\n"
    assert not told(rows)
    (tmp_path / "b.mp4").write_bytes(bytes(5000) + b"c")
    assert "clips 'three' and 'two' are files of the same bytes (" in told(rows)


def test_one_video_of_two_classes(tmp_path, told):
    """Within a split, too: its labels contradict each other."""
    (tmp_path / "c.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    said = told("a.mp4,run,train,one,,\nb.mp4,run,val,zero,,\nc.mp4,sit,train,two,,\n")
    assert "2 clips share file and span with another: clips 'one' and 'two' are files of the same bytes (" in said


def test_copies_in_class_folders(tmp_path, caplog):
    for place, content in (("train/run/a", b"1"), ("train/sit/b", b"22"), ("val/run/other", b"1"), ("val/sit/c", b"3")):
        file = tmp_path / f"{place}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert len(build_manifest(Data(format="class_folders", root=str(tmp_path)), 0).table) == 4
    assert "1 clips of other splits share moments with training clips: " in caplog.text
    assert "a.mp4 and " in caplog.text and "other.mp4), in train and val" in caplog.text


def test_clips_that_share_moments_are_held_out_together(tmp_path, caplog):
    """As clips of one action after the other in a long video, each beginning before the last has ended."""
    (tmp_path / "a.mp4").write_bytes(b"a video")
    rows = [f"a.mp4,{'xy'[i % 2]},train,c{i},{i},{i + (1.5 if i % 4 < 3 else 0.5)}\n" for i in range(40)]
    (tmp_path / "labels.csv").write_text(HEAD + "".join(rows))
    found = build_manifest(Data(format="csv", root=str(tmp_path), holdout=0.3), 0)
    split = found.table.set_index("clip_id")["split"]
    assert len(split) == 40 and 8 <= (split == "val").sum() <= 16
    for first in range(0, 40, 4):
        assert len({split[f"c{i}"] for i in range(first, first + 4)}) == 1
    assert "share moments" not in caplog.text
    assert set(found.table[found.table["split"] == "train"]["label"]) == {0, 1}


def test_copies_are_held_out_together(tmp_path):
    for i in range(20):
        (tmp_path / f"{i}.mp4").write_bytes(bytes([i % 10 + 1]) * 100)
    (tmp_path / "labels.csv").write_text("path,label,split\n" + "".join(f"{i}.mp4,x,train\n" for i in range(20)))
    split = build_manifest(Data(format="csv", root=str(tmp_path), holdout=0.3), 0).table.set_index("clip_id")["split"]
    assert (split == "val").sum() == 6
    assert all(split[f"{i}.mp4"] == split[f"{i + 10}.mp4"] for i in range(10))


def test_no_class_loses_its_last_training_clip_to_another_s_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"a video")
    rows = [f"a.mp4,x,train,x{i},{2 * i},{2 * i + 1}\na.mp4,y{i},train,y{i},{2 * i},{2 * i + 1}\n" for i in range(9)]
    (tmp_path / "labels.csv").write_text(HEAD + "".join(rows))
    table = build_manifest(Data(format="csv", root=str(tmp_path), holdout=0.3), 0).table
    assert set(table["label"]) == set(table[table["split"] == "train"]["label"])


def test_which_clips_share_moments_is_found_as_by_comparing_all():
    generator = np.random.default_rng(0)
    for _ in range(20):
        starts = generator.integers(0, 30, 25).astype(float)
        table = pd.DataFrame({"start_s": starts, "end_s": starts + generator.integers(1, 4, 25)})
        table.loc[generator.random(25) < 0.05, "start_s"] = np.nan
        table.loc[generator.random(25) < 0.05, "end_s"] = np.nan
        file = np.array([f"{number}.mp4" for number in generator.integers(0, 3, 25)], dtype=object)
        start, end = table["start_s"].fillna(-np.inf).to_numpy(), table["end_s"].fillna(np.inf).to_numpy()
        meet = (file[:, None] == file) & (start[:, None] < end) & (start < end[:, None])
        for _ in range(25):
            meet = (meet.astype(int) @ meet.astype(int)) > 0  # until all that meets by others is found
        group = shared_moments(table, file)
        assert ((group[:, None] == group) == meet).all()
