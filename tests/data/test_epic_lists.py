"""EPIC-KITCHENS-100's lists of what is scored apart: small handmade ones, broken ones, and the publisher's own."""

import csv

import pytest
from test_epic_kitchens import EPIC_HEADER, EPIC_TRAIN

from objadapt.config import Data
from objadapt.data.manifest import build_manifest
from objadapt.errors import InputError

TEST = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame\n"
    "P33_01_0,P33,P33_01,00:00:01.10,00:00:00.00,00:00:02.00,1,100\n"
)


def test_epic_test_clips_and_the_lists_that_are_scored_apart(tmp_path, video, caplog):
    annotations = tmp_path / "epic-kitchens-100-annotations"
    annotations.mkdir()
    (annotations / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN)
    (annotations / "EPIC_100_validation.csv").write_text(EPIC_HEADER + EPIC_TRAIN.splitlines()[0].replace("_0,", "_9,"))
    (annotations / "EPIC_100_test_timestamps.csv").write_text(TEST)
    video(tmp_path / "P01/videos/P01_01.MP4")
    test = "epic-kitchens-100-annotations/EPIC_100_test_timestamps.csv"
    data = Data(format="epic_kitchens", root=str(tmp_path), test=test)
    without = build_manifest(data, 0)
    assert without.subsets == {} and "no EPIC_100_unseen_participant_ids_validation.csv, EPIC_100_t" in caplog.text
    assert without.coverage["test"] == {"found": 0, "listed": 1}
    video(tmp_path / "P33/videos/P33_01.MP4")
    (annotations / "EPIC_100_unseen_participant_ids_validation.csv").write_text("participant_id\nP18\nP32\n")
    (annotations / "EPIC_100_unseen_participant_ids_test.csv").write_text("participant_id\nP33\n")
    (annotations / "EPIC_100_tail_verbs.csv").write_text("verb\n10\n96\n")
    (annotations / "EPIC_100_tail_nouns.csv").write_text("noun\n299\n")
    manifest = build_manifest(data, 0)
    row = manifest.table.set_index("clip_id").loc["P33_01_0"]
    assert (row["split"], row["verb_label"], row["noun_label"], row["end_s"]) == ("test", -1, -1, 2.0)
    assert manifest.subsets == {
        "unseen": {"val": ["P18", "P32"], "test": ["P33"]},
        "tail": {"verb_label": [10, 96], "noun_label": [299]},
    }
    manifest.write(tmp_path / "kept")
    kept = build_manifest(Data(format="manifest", root=str(tmp_path / "kept")), 0)
    assert kept.subsets == manifest.subsets and kept.content_hash() == manifest.content_hash()
    for name, content, said in (
        ("EPIC_100_tail_verbs.csv", "verb\n97\n", r"line 2 \(row 1\): verb '97' is no class of the data set"),
        ("EPIC_100_tail_nouns.csv", "noun\n\n", "lists nothing; give the data set's own file"),
        ("EPIC_100_tail_nouns.csv", "nouns\n3\n", "no column noun; it has nouns"),
        ("EPIC_100_unseen_participant_ids_test.csv", "", "it is empty"),
    ):
        before = (annotations / name).read_text()
        (annotations / name).write_text(content)
        with pytest.raises(InputError, match=f"{name}: .*{said}"):
            build_manifest(data, 0)
        (annotations / name).write_text(before)


def test_the_publishers_own_lists(shared, tmp_path, video):
    """In the annotations as they are distributed, all validation clips are of the participant that their id names."""
    official = shared / "annotations" / "epic-kitchens-100"
    if not official.is_dir():
        pytest.skip("no annotations in ../shared/data: the publisher's files are not in the repository")
    for name in ("verb_classes", "noun_classes", "tail_verbs", "tail_nouns", "validation"):
        (tmp_path / f"EPIC_100_{name}.csv").write_text((official / f"EPIC_100_{name}.csv").read_text())
    for split in ("validation", "test"):
        name = f"EPIC_100_unseen_participant_ids_{split}.csv"
        (tmp_path / name).write_text((official / name).read_text())
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEADER + EPIC_TRAIN)
    video(tmp_path / "P01_01.MP4")
    video(tmp_path / "P18_01.MP4")
    manifest = build_manifest(Data(format="epic_kitchens", root=str(tmp_path)), 0)
    assert manifest.coverage["val"]["listed"] == 9668
    assert manifest.subsets["unseen"] == {"val": ["P18", "P32"], "test": ["P33", "P34", "P36"]}
    tail = manifest.subsets["tail"]
    assert (len(tail["verb_label"]), len(tail["noun_label"])) == (86, 228) and tail["verb_label"][:2] == [10, 12]
    with open(official / "EPIC_100_validation.csv", newline="") as file:
        assert all(row["narration_id"].split("_")[0] == row["participant_id"] for row in csv.DictReader(file))
