"""What of a data set is there: clips that are missing, unreadable, duplicated or without label, split by split and
class by class.
"""

import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import Data
from ..errors import InputError
from .annotations import Listing
from .davis import davis_sequences
from .manifest import READERS, Manifest, refuse_repeated
from .official import disagreements, published
from .places import SPLITS, data_root, videos_folder
from .repeats import Repeat, told
from .video_files import list_videos

DAVIS = "davis"  # no format of `data`: its sequences have objects and no class
FOUND, MISSING, UNREADABLE = "found", "missing", "unreadable"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coverage:
    """A listing with what became of each clip.

    Attributes:
        table: a row a clip: clip_id, path, split, a label and a class name a head, status, reason, duplicate.
        classes: head column -> class names.
        format, split: as `Data` has them.
        unlisted: videos below `data.videos` that no clip names; None: that folder is not given.
        checked: the videos were looked into, so unreadable ones are known.
        repeats: for which the reader refuses to train on the data set.
    """

    table: pd.DataFrame
    classes: dict[str, list[str]]
    format: str
    split: int
    unlisted: list[str] | None = None
    checked: bool = False
    repeats: list[Repeat] = field(default_factory=list)

    def counts(self) -> dict[str, dict[str, int]]:
        """Split -> how many clips are listed, found, missing, unreadable, duplicated and unlabelled."""
        heads = list(self.classes)
        return {
            split: {
                "listed": len(rows),
                **{status: int((rows["status"] == status).sum()) for status in (FOUND, MISSING, UNREADABLE)},
                "duplicated": int(rows["duplicate"].sum()),
                "unlabelled": int((rows[heads] < 0).any(axis=1).sum()) if heads else 0,
            }
            for split in SPLITS
            if len(rows := self.table[self.table["split"] == split])
        }

    def names(self) -> dict[str, list[str]]:
        """Kind -> ids of the clips that are missing, unreadable (with the reason), duplicated or unlabelled; paths of
        the videos that are unlisted.
        """
        table, heads = self.table, list(self.classes)
        again = table.loc[table["duplicate"], "clip_id"].tolist()
        again += [clip for one in self.repeats for clip in one.clips]  # also those that no split has
        broken = table[table["status"] == UNREADABLE]
        return {
            MISSING: table.loc[table["status"] == MISSING, "clip_id"].tolist(),
            UNREADABLE: [f"{name}: {why}" for name, why in zip(broken["clip_id"], broken["reason"], strict=True)],
            "duplicated": list(dict.fromkeys(again)),
            "unlabelled": table.loc[(table[heads] < 0).any(axis=1), "clip_id"].tolist() if heads else [],
            "unlisted": self.unlisted or [],
        }

    def by_class(self) -> dict[str, list[dict]]:
        """Head -> its classes with the clips listed, found, missing and duplicated in all splits; the worst first.

        Where the videos were looked into, unreadable ones are counted, too. A clip without label is of no class.
        """
        kinds = {status: self.table["status"] == status for status in (FOUND, MISSING, UNREADABLE)}
        kinds = {"listed": self.table["clip_id"].notna(), **kinds, "duplicated": self.table["duplicate"]}
        if not self.checked:
            del kinds[UNREADABLE]
        told = {}
        for head, names in self.classes.items():
            labels = self.table[head].to_numpy()
            counts = {
                kind: np.bincount(labels[(labels >= 0) & of_kind.to_numpy(bool)], minlength=len(names))
                for kind, of_kind in kinds.items()
            }
            rows = [
                {"class": name, "id": number, **{kind: int(count[number]) for kind, count in counts.items()}}
                for number, name in enumerate(names)
            ]
            told[head] = sorted(
                rows,
                key=lambda row: (row["found"] / max(1, row["listed"]), row["found"], -row["duplicated"], row["id"]),
            )
        return told

    def official(self) -> dict | None:
        """The published counts beside what is listed here, and where they differ; None: none are known."""
        classes = {head: len(names) for head, names in self.classes.items()}
        one = published(self.format, classes, self.split)
        if one is None:
            return None
        listed = {split: counts["listed"] for split, counts in self.counts().items()}
        frames = int(self.table["frames"].sum()) if "frames" in self.table else None
        wrong = disagreements(one, classes, listed, frames)
        told = {"name": one.name, "classes": one.classes, "clips": one.clips, "agrees": not wrong, "differs": wrong}
        return told | {"not_read": [split for split in one.clips if split not in listed]}


def cover(data: Data, form: str) -> Coverage:
    """Read a data set's annotations and look for its videos.

    Args:
        form: a format of `data`, or "davis".

    Raises:
        InputError: as of the format's reader.
    """
    with told() as repeats:
        listing = _listing(data, form)
        known = [clip for one in repeats for clip in one.clips]
        refuse_repeated(listing.rows[~listing.rows["clip_id"].isin(known)])
    table = listing.rows.reset_index(drop=True)
    table["path"] = table["path"].astype(object).where(table["path"].notna(), None)
    for head, names in listing.classes.items():
        known = table[head].between(0, len(names) - 1)
        table[f"{head}_name"] = np.where(known, np.array([*names, ""], object)[table[head].where(known, -1)], "")
    table["status"] = np.where(table["path"].notna(), FOUND, MISSING)
    table["reason"] = ""
    place = [column for column in ("path", "start_s", "end_s") if column in table]
    again = table["path"].notna() & table.duplicated(place, keep=False)
    again |= table["clip_id"].isin([clip for one in repeats for clip in one.clips])
    again |= table["path"].isin([path for one in repeats for path in one.files])
    table["duplicate"] = table["clip_id"].duplicated(keep=False) | again
    unlisted = _unlisted(data, table)
    return Coverage(table, listing.classes, form, data.split, unlisted, repeats=repeats)


def with_checked(coverage: Coverage, rows: list[dict]) -> Coverage:
    """The same with what `check` found of the files."""
    broken = {row["path"]: row["reason"] for row in rows if not row["ok"]}
    table = coverage.table.copy()
    bad = table["path"].isin(list(broken))
    table.loc[bad, "status"] = UNREADABLE
    table.loc[bad, "reason"] = table.loc[bad, "path"].map(broken)
    if "end_s" in table:  # of a folder of frames it counts these
        holds = table["path"].map({row["path"]: row["frames"] for row in rows if row["ok"]})
        folder = table["path"].isin([path for path in table["path"].dropna().unique() if os.path.isdir(path)])
        short = folder & (table["end_s"] > holds.astype(float))
        table.loc[short, "status"] = UNREADABLE
        table.loc[short, "reason"] = [
            f"the list says {said:g} frames, the folder holds {there:g}"
            for said, there in zip(table.loc[short, "end_s"], holds[short], strict=True)
        ]
    return replace(coverage, table=table, checked=True)


def _unlisted(data: Data, table: pd.DataFrame) -> list[str] | None:
    if not data.videos:
        return None
    used = set(table["path"])
    return [path for path in list_videos(videos_folder(data, data_root(data))) if path not in used]


def _listing(data: Data, form: str) -> Listing:
    if form == DAVIS:
        return _davis(data)
    if form == "manifest":
        kept = Manifest.read(data_root(data))
        return Listing(kept.table, kept.classes, kept.flip)
    return READERS[form](data)


def _davis(data: Data) -> Listing:
    """A row a sequence; `path` is the folder of its pictures. One whose pictures and masks differ in number is told."""
    rows = []
    for sequence in davis_sequences(Path(data_root(data)), data.val and Path(data_root(data), data.val)):
        frames, masks = [path.stem for path in sequence.frames], [path.stem for path in sequence.annotations]
        if frames and masks and frames != masks:
            log.warning("%s: %d pictures and %d masks", sequence.name, len(frames), len(masks))
        rows.append((sequence.name, str(sequence.frames[0].parent) if frames else None, "val", len(frames), len(masks)))
    if not rows:
        raise InputError(f"{data_root(data)}: no sequence is listed")
    return Listing(pd.DataFrame(rows, columns=["clip_id", "path", "split", "frames", "masks"]), {}, flip=False)
