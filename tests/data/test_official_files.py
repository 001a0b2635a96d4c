"""The publishers' own files: their row counts, their class names, and what the published counts say of them."""

import json
from pathlib import Path

import pytest

from objadapt.commands.manifest import data_of
from objadapt.config import Data
from objadapt.data.coverage import cover
from objadapt.data.manifest import READERS

MAPS = "mmaction2_label_maps/tools/data"
TINY = "tiny_kinetics_400/annotations/tiny_train.csv"
SPLITS = "ucf101_hmdb51_splits/data"
COUNTS = {  # (format, folder, fields of data) -> split -> rows
    ("ucf101", f"{SPLITS}/ucf101_splits", ()): {"train": 9537, "val": 3783},
    ("ucf101", f"{SPLITS}/ucf101_splits", (("split", 2),)): {"train": 9586, "val": 3734},
    ("ucf101", SPLITS, (("split", 3),)): {"train": 9624, "val": 3696},
    ("hmdb51", SPLITS, ()): {"train": 3570, "val": 1530},
    ("hmdb51", f"{SPLITS}/hmdb51_splits", (("split", 2),)): {"train": 3570, "val": 1530},
    ("hmdb51", f"{SPLITS}/hmdb51_splits", (("split", 3),)): {"train": 3570, "val": 1530},
    ("diving48", "diving48_v2", ()): {"train": 15_027, "val": 1_970},
}


@pytest.fixture
def annotations(shared) -> Path:
    return shared / "annotations"


@pytest.mark.parametrize("one", COUNTS, ids=str)
def test_counts_of_the_real_files(annotations, one):
    form, folder, fields = one
    coverage = cover(Data(format=form, root=str(annotations / folder), **dict(fields)), form)
    counts = coverage.counts()
    assert {split: told["listed"] for split, told in counts.items()} == COUNTS[one]
    assert all(told["duplicated"] == told["unlabelled"] == told["found"] == 0 for told in counts.values())
    assert coverage.official()["agrees"], coverage.official()


@pytest.mark.parametrize(
    ("form", "folder", "names"),
    [
        ("ucf101", f"{SPLITS}/ucf101_splits", "ucf101"),
        ("hmdb51", f"{SPLITS}/hmdb51_splits", "hmdb51"),
        ("diving48", "diving48_v2", "diving48"),
    ],
)
def test_classes_are_numbered_as_elsewhere(annotations, form, folder, names):
    listing = READERS[form](Data(format=form, root=str(annotations / folder)))
    assert listing.classes["label"] == (annotations / MAPS / names / "label_map.txt").read_text().split()


def test_diving48_has_a_class_without_clips(annotations):
    coverage = cover(Data(format="diving48", root=str(annotations / "diving48_v2")), "diving48")
    empty = [row["id"] for row in coverage.by_class()["label"] if not row["listed"]]
    assert empty == [30]


def test_kinetics_400_with_test_clips_that_have_no_labels(annotations):
    data = Data(format="kinetics", root=str(annotations / "kinetics"), train=TINY, test="kinetics-400_test.csv")
    data = data.model_copy(update={"val": "kinetics-400_val.csv"})
    coverage = cover(data, "kinetics")
    names = (annotations / MAPS / "kinetics/label_map_k400.txt").read_text().splitlines()
    assert coverage.classes["label"] == names
    counts = coverage.counts()
    assert {split: (told["listed"], told["unlabelled"]) for split, told in counts.items()} == {
        "train": (400, 0),
        "val": (19_906, 0),
        "test": (38_685, 38_685),
    }
    official = coverage.official()
    assert official["name"] == "Kinetics-400"
    assert official["differs"] == ["train: 400 clips listed, published are 246,534"]


@pytest.mark.parametrize(("size", "clips"), [(400, 19_906), (600, 30_000)])
def test_one_file_of_kinetics_alone(annotations, size, clips):
    """Its own column tells the split."""
    data = data_of("kinetics", str(annotations / f"kinetics/kinetics-{size}_val.csv"), None, [])
    coverage = cover(data, "kinetics")
    assert {split: told["listed"] for split, told in coverage.counts().items()} == {"val": clips}
    official = coverage.official()
    assert official["name"] == f"Kinetics-{size}" and official["agrees"] and official["not_read"] == ["train", "test"]


def test_both_tiny_lists_of_kinetics_400(annotations):
    root = annotations / "kinetics/tiny_kinetics_400/annotations"
    data = Data(format="kinetics", root=str(root), train="tiny_train.csv", val="tiny_val.csv")
    coverage = cover(data, "kinetics")
    assert coverage.classes["label"] == (annotations / MAPS / "kinetics/label_map_k400.txt").read_text().splitlines()
    for split in ("train", "val"):  # one clip a class
        assert sorted(coverage.table.loc[coverage.table["split"] == split, "label"]) == list(range(400))
    assert not coverage.table["duplicate"].any() and coverage.official()["name"] == "Kinetics-400"


@pytest.mark.parametrize("folder", ["", "annotations/"])
@pytest.mark.parametrize(
    "names",
    [
        ("kinetics700_2020_train.csv", "kinetics700_2020_validate.csv"),
        ("kinetics700_2020_train.csv", "kinetics700_2020_val.csv"),
        ("kinetics-700_train.csv", "kinetics-700_val.csv"),
        ("kinetics700_train.csv", "kinetics700_validate.csv"),
    ],
)
def test_kinetics_700_by_its_own_names(tmp_path, folder, names):
    """Written here: the pack has no list of it. Its own column says `validate`."""
    (tmp_path / folder).mkdir(exist_ok=True)
    for name, word in zip(names, ("train", "validate"), strict=True):
        rows = [f"action {number:03d},id{number:09d},1,11,{word}" for number in range(700)]
        rows = [row.replace("id0", "iv0") if word == "validate" else row for row in rows]
        header = "label,youtube_id,time_start,time_end,split"
        (tmp_path / folder / name).write_text("\n".join([header, *rows]) + "\n")
    coverage = cover(Data(format="kinetics", root=str(tmp_path)), "kinetics")
    assert {split: told["listed"] for split, told in coverage.counts().items()} == {"train": 700, "val": 700}
    assert len(coverage.classes["label"]) == 700 and coverage.official()["name"] == "Kinetics-700"
    row = coverage.table.iloc[-1]
    assert (row["clip_id"], row["split"], row["label_name"]) == ("iv000000699_000001_000011", "val", "action 699")


@pytest.mark.parametrize("folder", ["", "labels/"])
def test_something_something_by_the_names_of_its_download(annotations, tmp_path, folder):
    """The publisher's files are not in the pack: lists of its clips in its own form take their place, and the official
    labels, strings in the order of the alphabet, are written here from mmaction2's list of them.
    """
    lists = annotations / "something-something-v2/something_else/code/dataset_splits"
    train, val = lists / "compositional_oneobject/train.json", lists / "fewshot/finetune_10shot_train.json"
    names = (annotations / MAPS / "sthv2/label_map.txt").read_text().splitlines()
    (tmp_path / folder).mkdir(exist_ok=True)
    place = f"{tmp_path}/{folder}something-something-v2-"
    Path(f"{place}train.json").symlink_to(train)
    Path(f"{place}validation.json").symlink_to(val)
    Path(f"{place}labels.json").write_text(json.dumps({name: str(number) for number, name in enumerate(names)}))
    Path(f"{place}test.json").write_text('[{"id": "1420"}]')
    coverage = cover(Data(format="something_something", root=str(tmp_path)), "something_something")
    assert coverage.classes["label"] == names and names == sorted(names) and len(names) == 174
    assert {split: told["listed"] for split, told in coverage.counts().items()} == {
        "train": 6560,
        "val": 860,
        "test": 1,
    }
    assert not coverage.table["duplicate"].any() and coverage.counts()["test"]["unlabelled"] == 1
    told = coverage.table.set_index("clip_id")["label_name"]
    for path in (train, val):
        for entry in json.loads(path.read_text()):
            assert told[entry["id"]] == entry["template"].replace("[", "").replace("]", "")
    assert coverage.official()["differs"][:1] == ["train: 6,560 clips listed, published are 168,913"]


def test_epic_kitchens_with_the_test_set(annotations, tmp_path):
    source = annotations / "epic-kitchens-100"
    rows = (source / "EPIC_100_validation.csv").read_text().splitlines(keepends=True)
    (tmp_path / "EPIC_100_train.csv").write_text("".join([rows[0], *rows[1:3]]).replace("P01_11_", "P01_99_"))
    for name in ("EPIC_100_validation.csv", "EPIC_100_verb_classes.csv", "EPIC_100_noun_classes.csv"):
        (tmp_path / name).symlink_to(source / name)
    test = str(source / "EPIC_100_test_timestamps.csv")
    coverage = cover(Data(format="epic_kitchens", root=str(tmp_path), test=test), "epic_kitchens")
    assert {split: told["listed"] for split, told in coverage.counts().items()} == {
        "train": 2,
        "val": 9_668,
        "test": 13_092,
    }
    assert (coverage.counts()["test"]["unlabelled"], coverage.counts()["val"]["unlabelled"]) == (13_092, 0)
    assert coverage.official()["differs"] == ["train: 2 clips listed, published are 67,217"]


def test_davis_is_told_with_its_frames(shared):
    coverage = cover(Data(root=str(shared / "davis")), "davis")
    assert coverage.counts()["val"]["found"] == 8 and not coverage.classes
    differs = coverage.official()["differs"]
    assert any("published are 1,999" in one for one in differs)
    assert "val: 8 clips listed, published are 30" in differs
