"""Small copies of data sets in their publishers' layout: rows of the official files, each with a tiny video.

The files that hold the training rows of Kinetics-400, Something-Something v2 and EPIC-KITCHENS-100 are not in the data
pack. In their place stand official rows of the same form: of a one-clip-a-class list, of Something-Else, and of
validation videos.
"""

import csv
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

CLASSES = 3
Counts = dict[str, int]  # split -> clips
SECONDS = 4.5  # of the tiny video, less a little; it has a frame a second


def kinetics400(root: Path, shared: Path) -> Counts:
    """train.csv, val.csv and SPLIT/CLASS/ID_START_END.mp4."""
    official = shared / "annotations" / "kinetics"
    train = rows(official / "tiny_kinetics_400" / "annotations" / "tiny_train.csv")[: CLASSES + 1]
    names = {row["label"] for row in train}
    val = [row for row in rows(official / "kinetics-400_val.csv") if row["label"] in names][::100]
    for split, listed in (("train", train), ("val", val)):
        write(root / f"{split}.csv", listed)
        for row in listed:
            name = f"{row['youtube_id']}_{int(row['time_start']):06d}_{int(row['time_end']):06d}.mp4"
            video(shared, root / split / row["label"] / name)
    return {"train": len(train), "val": len(val)}


def something_something_v2(root: Path, shared: Path) -> Counts:
    """labels/*.json and 20bn-something-something-v2/ID.webm."""
    pack = shared / "annotations"
    names = (pack / "mmaction2_label_maps/tools/data/sthv2/label_map.txt").read_text().splitlines()
    splits = pack / "something-something-v2/something_else/code/dataset_splits"
    train = json.loads((splits / "compositional_oneobject/train.json").read_text())
    val = json.loads((splits / "fewshot/base_validation_set.json").read_text())
    (root / "labels").mkdir(parents=True)
    (root / "labels/labels.json").write_text(json.dumps({name: str(number) for number, name in enumerate(names)}))
    train, val = first(train, lambda entry: entry["template"]), val[:CLASSES]
    for name, entries in (("train", train), ("validation", val)):
        (root / f"labels/{name}.json").write_text(json.dumps(entries))
        for entry in entries:
            video(shared, root / f"20bn-something-something-v2/{entry['id']}.webm", "vp9.webm")
    return {"train": len(train), "val": len(val)}


def epic_kitchens_100(root: Path, shared: Path) -> Counts:
    """The annotations' repository, and PARTICIPANT/videos/VIDEO.MP4.

    Validation clips: two of unseen participants, two of tail nouns, and another.
    """
    official, own = shared / "annotations" / "epic-kitchens-100", root / "epic-kitchens-100-annotations"
    own.mkdir(parents=True)
    for name in ("verb_classes", "noun_classes", "tail_verbs", "tail_nouns"):
        shutil.copyfile(official / f"EPIC_100_{name}.csv", own / f"EPIC_100_{name}.csv")
    for split in ("validation", "test"):
        name = f"EPIC_100_unseen_participant_ids_{split}.csv"
        shutil.copyfile(official / name, own / name)
    unseen = {row["participant_id"] for row in rows(own / "EPIC_100_unseen_participant_ids_validation.csv")}
    tail = {row["noun"] for row in rows(own / "EPIC_100_tail_nouns.csv")}
    fitting = [row for row in rows(official / "EPIC_100_validation.csv") if _fits(row)]
    seen = [row for row in fitting if row["participant_id"] not in unseen]
    train = first(seen, lambda row: row["verb_class"])
    rest = [row for row in seen if row not in train]
    val = [row for row in fitting if row["participant_id"] in unseen][:2]
    val += [row for row in rest if row["noun_class"] in tail][:2]
    val += [row for row in rest if row["noun_class"] not in tail][:1]
    test = [row for row in rows(official / "EPIC_100_test_timestamps.csv") if _fits(row)][:2]
    for name, listed in (("train", train), ("validation", val), ("test_timestamps", test)):
        write(own / f"EPIC_100_{name}.csv", listed)
        for row in listed:
            video(shared, root / row["participant_id"] / "videos" / f"{row['video_id']}.MP4")
    return {"train": len(train), "val": len(val)}


def ucf101(root: Path, shared: Path) -> Counts:
    """ucfTrainTestlist/ and UCF-101/CLASS/CLIP.avi."""
    official = shared / "annotations/ucf101_hmdb51_splits/data/ucf101_splits"
    (root / "ucfTrainTestlist").mkdir(parents=True)
    shutil.copyfile(official / "classInd.txt", root / "ucfTrainTestlist/classInd.txt")
    for name, each in (("trainlist01.txt", 2), ("testlist01.txt", 1)):
        lines = first((official / name).read_text().splitlines(), lambda line: line.partition("/")[0], each)
        (root / "ucfTrainTestlist" / name).write_text("".join(f"{line}\n" for line in lines))
        for line in lines:
            video(shared, root / "UCF-101" / line.split()[0], "h264_in_avi.avi")
    return {"train": 2 * CLASSES, "val": CLASSES}


def hmdb51(root: Path, shared: Path) -> Counts:
    """testTrainMulti_7030_splits/ and hmdb51_org/CLASS/CLIP.avi."""
    official = shared / "annotations/ucf101_hmdb51_splits/data/hmdb51_splits"
    (root / "testTrainMulti_7030_splits").mkdir(parents=True)
    for path in sorted(official.glob("*_split1.txt"))[:CLASSES]:
        lines = path.read_text().splitlines()
        lines = [
            line
            for use, each in (("1", 2), ("2", 1))
            for line in [one for one in lines if one.split()[-1] == use][:each]
        ]
        (root / "testTrainMulti_7030_splits" / path.name).write_text("".join(f"{line}\n" for line in lines))
        for line in lines:
            label = path.name.removesuffix("_test_split1.txt")
            video(shared, root / "hmdb51_org" / label / line.split()[0], "h264_in_avi.avi")
    return {"train": 2 * CLASSES, "val": CLASSES}


def jhmdb(root: Path, shared: Path) -> Counts:
    """labels.csv of the data pack and its clips, which are small."""
    root.mkdir(parents=True)
    listed = rows(shared / "jhmdb" / "labels.csv")

    def label(row: dict[str, str]) -> str:
        return row["label"]

    listed = [
        row for split in ("train", "val") for row in first([one for one in listed if one["split"] == split], label)
    ]
    write(root / "labels.csv", listed)
    for row in listed:
        (root / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared / "jhmdb" / row["path"], root / row["path"])
    return {"train": 2 * CLASSES, "val": 2 * CLASSES}


COPIES: dict[str, Callable[[Path, Path], Counts]] = {
    made.__name__: made for made in (kinetics400, something_something_v2, epic_kitchens_100, ucf101, hmdb51, jhmdb)
}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, listed: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)


def video(shared: Path, path: Path, source: str = "h264_1fps_5frames.mp4") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(shared / "clips" / "variants" / source, path)


def first(listed: Iterable, key: Callable, each: int = 2) -> list:
    """The first rows of the first few classes, in their order."""
    taken: dict[object, list] = {}
    for row in listed:
        if key(row) in taken or len(taken) < CLASSES:
            taken.setdefault(key(row), []).append(row)
    return [row for of_class in taken.values() for row in of_class[:each]]


def _fits(row: dict[str, str]) -> bool:
    """Whether a span lies in the tiny video, and is long enough to hold a frame of it."""
    (*at_start, start), (*at_stop, stop) = (row[f"{end}_timestamp"].split(":") for end in ("start", "stop"))
    return {*at_start, *at_stop} == {"00"} and float(stop) <= SECONDS and float(stop) - float(start) >= 1
