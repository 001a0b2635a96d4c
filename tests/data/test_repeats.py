"""What is there more than once: a training refuses it and says how much there is, a report goes on and names it."""

import json

import pytest

from objadapt.config import Data
from objadapt.data.coverage import cover
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError

TABLE = "path,label,split\na.mp4,run,train\nb.mp4,run,train\nc.mp4,run,val\nd.mp4,run,val\n"
KINETICS = "label,youtube_id,time_start,time_end,split\n"
TEMPLATE = {"template": "Holding [something]"}
SOMETHING = {
    "labels.json": '{"Holding something": "0"}',
    "train.json": json.dumps([{"id": "1"} | TEMPLATE]),
    "validation.json": json.dumps([{"id": "2"} | TEMPLATE]),
    "test.json": '[{"id": "3"}, {"id": "4"}]',
}
TWICE = "b.mp4,run,train\na.mp4,run,train\nb.mp4,run,train\nd.mp4,run,val\n"
CASES = {  # format -> files, what a training says, clips told as duplicated
    "csv": (
        {"labels.csv": TABLE + TWICE, "a.mp4": "", "b.mp4": ""},
        r"line 6 \(row 5\): path 'b.mp4' is listed more than once \(and so are 2 more: 'a.mp4', 'd.mp4'\); ",
        ["a.mp4", "b.mp4", "d.mp4"],
    ),
    "video_list": (
        {"train.txt": "a.mp4 0\na.mp4 1\nb.mp4 1\nb.mp4 1\n", "val.txt": "c.mp4 1\n", "a.mp4": "", "c.mp4": ""},
        r"train.txt: line 2 \(row 2\): path 'a.mp4' is listed more than once \(and so is 1 more: 'b.mp4'\); list each",
        ["a.mp4", "b.mp4"],
    ),
    "hmdb51": (
        {
            "splits/clap_test_split1.txt": "a.avi 1\nb.avi 1\nb.avi 0\n",
            "splits/wave_test_split1.txt": "a.avi 2\nc.avi 0\nc.avi 0\n",
            "hmdb51_org/clap/a.avi": "",
        },
        r"clap_test_split1.txt: line 3: b.avi is listed twice \(and so is 1 more: 'wave/c'\); ",
        ["clap/b", "wave/c"],
    ),
    "jhmdb": (
        {"splits/wave_test_split1.txt": "a.avi 1\na.avi 1\nb.avi 2\n", "videos/wave/a.avi": ""},
        "line 2: a.avi is listed twice; ",
        ["wave/a"],
    ),
    "something_something": (
        SOMETHING
        | {"test-answers.csv": "3;Holding something\n4;Holding something\n3;Holding something\n", "videos/1.webm": ""},
        r"test-answers.csv: line 3 \(row 3\): id '3' is listed more than once; ",
        ["3"],
    ),
    "kinetics": (
        {"train.csv": KINETICS + "run,abcdefghijk,1,11,train\n" * 2, "val.csv": KINETICS, "abcdefghijk.mp4": ""},
        r"clip 'abcdefghijk_000001_000011' is listed more than once \(train, train\); ",
        ["abcdefghijk_000001_000011"],
    ),
}
TWINS = {  # format -> files; what fits one clip twice begins with the clip's id
    "something_something": SOMETHING | {f"videos/{name}": "" for name in ("1.mp4", "more/1.webm", "2.mp4", "2.avi")},
    "hmdb51": {
        "splits/clap_test_split1.txt": "a.avi 1\nb.avi 2\n",
        **{f"hmdb51_org/clap/{name}": "" for name in ("a.avi", "a.mp4", "b.avi", "b.mp4")},
    },
    "kinetics": {
        "train.csv": KINETICS + "run,abcdefghijk,1,11,train\n",
        "val.csv": KINETICS + "run,bbcdefghijk,1,11,val\n",
        **{f"videos/{name}{end}": "" for name in ("abcdefghijk", "bbcdefghijk") for end in (".mp4", "_x.mp4", ".webm")},
    },
}


def write(root, form: str, files: dict[str, str]) -> Data:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return Data(format=form, root=str(root))


@pytest.mark.parametrize("form", CASES)
def test_clips_that_are_listed_again(tmp_path, form):
    files, message, clips = CASES[form]
    data = write(tmp_path, form, files)
    with pytest.raises(InputError, match=message) as error:
        build_manifest(data, 0)
    coverage = cover(data, form)
    assert sorted(coverage.names()["duplicated"]) == clips
    assert [one.message for one in coverage.repeats] == [str(error.value)]
    table = coverage.table
    assert set(table.loc[table["duplicate"], "clip_id"]) == set(clips) & set(table["clip_id"])
    with pytest.raises(InputError):  # a report leaves nothing behind
        build_manifest(data, 0)


@pytest.mark.parametrize("form", TWINS)
def test_files_that_fit_one_clip(tmp_path, form):
    data = write(tmp_path, form, TWINS[form])
    with pytest.raises(InputError, match=r"files of one name \(and so is 1 more: '.*'\); which of them") as error:
        build_manifest(data, 0)
    coverage = cover(data, form)
    counts = coverage.counts()
    assert {split: counts[split]["duplicated"] for split in ("train", "val")} == {"train": 1, "val": 1}
    assert all(counts[split]["found"] == 1 for split in ("train", "val"))
    assert [one.message for one in coverage.repeats] == [str(error.value)]


def test_two_links_to_one_file_are_no_repetition(tmp_path):
    data = write(tmp_path, "kinetics", {name: text for name, text in TWINS["kinetics"].items() if ".csv" in name})
    for name in ("abcdefghijk", "bbcdefghijk"):
        write(tmp_path, "kinetics", {f"elsewhere/{name}.mp4": ""})
    (tmp_path / "videos").mkdir()
    for link in ("one", "two"):
        (tmp_path / "videos" / link).symlink_to(tmp_path / "elsewhere")
    coverage = cover(data, "kinetics")
    assert (
        not coverage.repeats and not coverage.table["duplicate"].any() and (coverage.table["status"] == "found").all()
    )
    assert build_manifest(data, 0).coverage["train"] == {"found": 1, "listed": 1}


def test_what_is_in_order_has_none(tmp_path):
    coverage = cover(write(tmp_path, "csv", {"labels.csv": TABLE, "a.mp4": ""}), "csv")
    assert coverage.repeats == [] and coverage.names()["duplicated"] == []
