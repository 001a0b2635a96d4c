"""Confusion and figures of classes, against plain counting."""

from collections import Counter

import numpy as np
import pandas as pd

from dashboards.confusion import matrix, mixed_up, most_mixed_up, per_class

NAMES = ["a", "b", "c", "unused"]
PAIRS = [("a", "a"), ("a", "b"), ("a", "b"), ("b", "b"), ("c", "a"), (None, "a")]
CLIPS = pd.DataFrame(PAIRS, columns=["true", "predicted"])


def test_cells_hold_the_clips_with_labels():
    counts, known = matrix(CLIPS, NAMES), Counter(pair for pair in PAIRS if pair[0])
    assert counts.sum() == 5
    assert all(counts[NAMES.index(true), NAMES.index(answer)] == number for (true, answer), number in known.items())


def test_a_class_has_recall_precision_and_what_it_is_taken_for():
    table = per_class(matrix(CLIPS, NAMES), NAMES).set_index("class")
    assert list(table.index) == ["c", "a", "b"], "the least recognised first, and no class without clips and answers"
    assert table.loc["a", "recall (%)"] == 100 / 3 and table.loc["a", "precision (%)"] == 50
    assert table.loc["a", "most often taken for"] == "b (2)" and table.loc["b", "most often taken for"] == ""
    assert table["right"].to_dict() == {"a": 1, "b": 1, "c": 0}


def test_pairs_and_the_classes_of_a_figure():
    counts = matrix(CLIPS, NAMES)
    assert mixed_up(counts, NAMES).values.tolist() == [["a", "b", 2, 200 / 3], ["c", "a", 1, 100.0]]
    assert mixed_up(np.eye(2, dtype=int), ["a", "b"]).empty
    assert most_mixed_up(counts, 2).tolist() == [0, 1] and most_mixed_up(counts, 9).tolist() == [0, 1, 2, 3]
