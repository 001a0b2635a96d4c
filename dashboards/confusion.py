"""Which classes a run takes for which: cells, figures of each class, pairs that are mixed up. No Streamlit."""

import numpy as np
import pandas as pd

PAIR = ["true", "predicted", "clips", "of the class (%)"]


def matrix(clips: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Clips of each true (row) and predicted (column) class, int64 [C, C]; `clips` of one head (run_files.read_clips).

    Clips without a true class are left out.
    """
    places = {name: place for place, name in enumerate(names)}
    known = clips[clips["true"].notna()]
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (known["true"].map(places).to_numpy(int), known["predicted"].map(places).to_numpy(int)), 1)
    return counts


def per_class(counts: np.ndarray, names: list[str]) -> pd.DataFrame:
    """A row a class with clips or answers: clips, right, recall and precision in %, what it is most often taken for.

    The class that is least often recognised comes first.
    """
    off = counts - np.diag(np.diag(counts))
    rows = []
    for place, name in enumerate(names):
        clips, answers, right = counts[place].sum(), counts[:, place].sum(), counts[place, place]
        if not clips and not answers:
            continue
        taken = int(off[place].argmax())
        rows.append(
            {
                "class": name,
                "clips": int(clips),
                "right": int(right),
                "recall (%)": 100 * right / clips if clips else None,
                "precision (%)": 100 * right / answers if answers else None,
                "most often taken for": f"{names[taken]} ({off[place, taken]})" if off[place, taken] else "",
            }
        )
    return pd.DataFrame(rows).sort_values(["recall (%)", "class"], ignore_index=True)


def mixed_up(counts: np.ndarray, names: list[str]) -> pd.DataFrame:
    """`PAIR` of every two classes that are mixed up, the most frequent first."""
    rows = [
        (names[true], names[predicted], int(number), 100 * number / counts[true].sum())
        for (true, predicted), number in np.ndenumerate(counts)
        if number and true != predicted
    ]
    return pd.DataFrame(rows, columns=PAIR).sort_values(["clips", *PAIR[:2]], ascending=[False, True, True])


def most_mixed_up(counts: np.ndarray, most: int) -> np.ndarray:
    """The classes with the most mistakes, as true class or as answer, at most `most`, in their own order."""
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    return np.sort(np.argsort(-mistakes, kind="stable")[:most])
