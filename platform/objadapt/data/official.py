"""How many clips and classes the data sets were published with, to compare one's own copy with.

Kinetics loses videos, so its publishers' files have changed over the years; these are the counts of the first release
as its files have them. J-HMDB's counts are known here for its first split only.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One data set, or one of its official splits."""

    name: str
    classes: dict[str, int]  # head column -> classes
    clips: dict[str, int]  # split -> clips, as this platform names the splits
    split: int | None = None  # which of its official splits; None: it has one
    frames: int | None = None  # in all; None: not compared


def _of_three(name: str, classes: int, counts: list[tuple[int, int]]) -> list[Published]:
    return [
        Published(f"{name}, split {number}", {"label": classes}, {"train": train, "val": test}, number)
        for number, (train, test) in enumerate(counts, 1)
    ]


PUBLISHED: dict[str, list[Published]] = {  # format -> the data sets that come in it
    "kinetics": [
        Published("Kinetics-400", {"label": 400}, {"train": 246_534, "val": 19_906, "test": 38_685}),
        Published("Kinetics-600", {"label": 600}, {"train": 392_622, "val": 30_000, "test": 60_000}),
        Published("Kinetics-700", {"label": 700}, {"train": 545_317, "val": 35_000, "test": 70_000}),
    ],
    "something_something": [
        Published("Something-Something v2", {"label": 174}, {"train": 168_913, "val": 24_777, "test": 27_157})
    ],
    "epic_kitchens": [
        Published(
            "EPIC-KITCHENS-100",
            {"verb_label": 97, "noun_label": 300},
            {"train": 67_217, "val": 9_668, "test": 13_092},
        )
    ],
    "ucf101": _of_three("UCF101", 101, [(9_537, 3_783), (9_586, 3_734), (9_624, 3_696)]),
    "hmdb51": _of_three("HMDB51", 51, [(3_570, 1_530)] * 3),
    "jhmdb": _of_three("J-HMDB", 21, [(660, 268)]),
    "diving48": [Published("Diving48 V2", {"label": 48}, {"train": 15_027, "val": 1_970})],
    "davis": [Published("DAVIS-2017 validation", {}, {"val": 30}, frames=1_999)],
}


def published(form: str, classes: dict[str, int], split: int) -> Published | None:
    """The published data set of a format: of several the one with as many classes, else the one with the next more.

    Args:
        classes: head column -> number of classes in one's own copy.
        split: `data.split`.
    """
    fitting = [one for one in PUBLISHED.get(form, ()) if one.split in (None, split)]
    own = next(iter(classes.values()), 0)
    return min(
        fitting, key=lambda one: (next(iter(one.classes.values()), 0) < own, one.classes.get("label", 0)), default=None
    )


def disagreements(one: Published, classes: dict[str, int], clips: dict[str, int], frames: int | None) -> list[str]:
    """What differs from the published counts, a sentence each; of splits that are not read nothing is said."""
    said = [
        f"{head}: {classes.get(head, 0)} classes, published are {count}"
        for head, count in one.classes.items()
        if classes.get(head) != count
    ]
    if one.frames and frames is not None and frames != one.frames:
        said.append(f"{frames:,} frames, published are {one.frames:,}")
    return said + [
        f"{split}: {clips[split]:,} clips listed, published are {count:,}"
        for split, count in one.clips.items()
        if clips.get(split, count) != count
    ]
