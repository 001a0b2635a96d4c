"""Training clips that are held out for validation, or left out: a share of every class."""

import numpy as np
import pandas as pd


def hold_out(table: pd.DataFrame, head: str, share: float, together: np.ndarray) -> pd.DataFrame:
    """A share of every class's training clips becomes the validation split; the validation clips are left out.

    At least one clip of each class is held out, save of a class of one clip. Sweeps choose on these clips, so the
    validation set that is reported takes no part in the choice.

    Clips that share moments of a video are held out together or not at all: the first of them is drawn for all, so the
    share is one of such groups. No class loses its last training clip to that; it may have none held out.

    Args:
        together: int64, a number for each row, `seen_twice.shared_moments`.
    """
    trained = (table["split"] == "train").to_numpy()
    training, group = table[trained], together[trained]
    firsts = ~pd.Series(group).duplicated().to_numpy()
    drawn = training.index[firsts].isin(draw(training[firsts], head, 1 - share, seed=0, spare=1).index)
    kept = np.isin(group, group[firsts][drawn])
    labels = training[head].to_numpy()
    lost = ~np.isin(labels, labels[kept])
    kept |= np.isin(group, group[lost])
    split = table["split"].where(table.index.isin(training.index[kept]) | ~trained, "val")
    return table.assign(split=split)[table["split"] != "val"]


def draw(table: pd.DataFrame, head: str, fraction: float, seed: int, spare: int = 0) -> pd.DataFrame:
    """A share of every class's training clips; other splits stay whole.

    At least one clip of a class is kept, and where it has more, at most all but `spare`.
    """
    rng = np.random.default_rng(seed)
    keep = (table["split"] != "train").to_numpy(copy=True)
    training = np.flatnonzero(~keep)
    labels = table[head].to_numpy()[training]
    order = np.argsort(labels, kind="stable")
    for members in np.split(training[order], np.flatnonzero(np.diff(labels[order])) + 1) if len(training) else []:
        size = max(1, min(round(fraction * len(members)), len(members) - spare))
        keep[rng.choice(members, size=size, replace=False)] = True
    return table[keep]
