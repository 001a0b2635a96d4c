"""EPIC-KITCHENS-100's scores of parts of the clips: participants that no training clip is of, and tail classes.

As the publisher's own evaluation takes them: a clip is of an unseen participant by the participant's list, it counts
for a head's tail where its true class is in that head's list, and for the action's where its verb or its noun is. Tail
classes are those with the fewest training clips that hold a fifth of them together.
"""

import numpy as np
import pandas as pd

HEADS = {"verb_label": "verb", "noun_label": "noun", "action": "action"}


def unseen_and_tail(
    table: pd.DataFrame, clip_ids: pd.Series, split: str, subsets: dict[str, dict[str, list]], nouns: int
) -> dict[str, float]:
    """Top-1 and top-5 of verb, noun and action over these parts, as shares, and how many clips there are of each.

    Args:
        table: as `Scores.table`.
        clip_ids: manifest row -> narration id, which begins with the participant (`P01_11_0`).
        split: of the clips.
        subsets: as `Manifest.subsets`.
        nouns: number of noun classes, by which the table numbers actions.

    Returns:
        `unseen_verb_top1` .. `tail_action_top5`, `num_unseen_clips` and `num_tail_clips`; without what has no list, or
        no labelled clip.
    """
    scores: dict[str, float] = {}
    for part, chosen in _parts(table, clip_ids, split, subsets, nouns).items():
        for head, name in HEADS.items():
            ranks = table["rank"].to_numpy()[chosen & (table["head"] == head)]
            scores |= {f"{part}_{name}_top{k}": float(np.mean(ranks < k)) for k in (1, 5) if len(ranks)}
        scores[f"num_{part}_clips"] = len(ranks)  # of the action: of either list
    return scores


def _parts(
    table: pd.DataFrame, clip_ids: pd.Series, split: str, subsets: dict[str, dict[str, list]], nouns: int
) -> dict[str, np.ndarray]:
    """Part -> whether each row of the table belongs to it."""
    parts = {}
    if participants := subsets.get("unseen", {}).get(split):
        of_clip = [name.partition("_")[0] for name in clip_ids.loc[table["row"]]]
        parts["unseen"] = np.isin(of_clip, participants) if of_clip else np.zeros(0, bool)
    tail = subsets.get("tail", {})
    if {"verb_label", "noun_label"} <= tail.keys():
        heads, true = table["head"].to_numpy(), table["true"].to_numpy()
        of_verb = np.isin(np.where(heads == "action", true // nouns, true), tail["verb_label"])
        of_noun = np.isin(np.where(heads == "action", true % nouns, true), tail["noun_label"])
        parts["tail"] = np.select([heads == "verb_label", heads == "noun_label"], [of_verb, of_noun], of_verb | of_noun)
    return parts
