"""Scores of unseen participants and tail classes against plain loops over all pairs of verb and noun."""

import random

import pandas as pd
import pytest
import torch

from objadapt.evaluation.recognition import Recognition
from objadapt.evaluation.unseen_and_tail import unseen_and_tail

HEADS = {"verb_label": 5, "noun_label": 7}
SUBSETS = {"unseen": {"val": ["P18", "P32"], "test": ["P01"]}, "tail": {"verb_label": [3, 4], "noun_label": [5, 6]}}
CLIPS = 60


@pytest.fixture(scope="module")
def found():
    """Clips of four participants with their labels, and their probabilities by class; two lack a noun."""
    draw, generator = random.Random(0), torch.Generator().manual_seed(0)
    ids = [f"{draw.choice(['P01', 'P02', 'P18', 'P32'])}_{100 + i % 3}_{i}" for i in range(CLIPS)]
    labels = torch.tensor([[draw.randrange(classes) for classes in HEADS.values()] for _ in range(CLIPS)])
    labels[[4, 9], 1] = -1
    logits = {head: torch.randn(CLIPS, classes, generator=generator) for head, classes in HEADS.items()}
    for column, head in enumerate(HEADS):
        logits[head][torch.arange(CLIPS), labels[:, column].clamp(min=0)] += 1.5
    recognition = Recognition(HEADS)
    recognition.update(
        logits, {"row": torch.arange(CLIPS), "labels": labels, "valid": torch.ones(CLIPS, dtype=torch.bool)}
    )
    return ids, labels.tolist(), logits, recognition.compute().table


def hits(clips: list[int], labels, logits, name: str, k: int) -> list[bool]:
    """Whether the true verb, noun or pair is among the k best, by sorting all there are."""
    found = []
    for clip in clips:
        verb, noun = labels[clip]
        of_verb, of_noun = (logits[head][clip].double().softmax(0).tolist() for head in HEADS)
        scores, true = {
            "verb": (dict(enumerate(of_verb)), verb),
            "noun": (dict(enumerate(of_noun)), noun),
            "action": ({(v, n): p * q for v, p in enumerate(of_verb) for n, q in enumerate(of_noun)}, (verb, noun)),
        }[name]
        if true != -1 and (name != "action" or noun != -1):
            found.append(true in sorted(scores, key=lambda one: -scores[one])[:k])
    return found


def test_they_equal_the_plain_loops(found):
    ids, labels, logits, table = found
    got = unseen_and_tail(table, pd.Series(ids), "val", SUBSETS, HEADS["noun_label"])
    of_unseen = [clip for clip, name in enumerate(ids) if name.split("_")[0] in ("P18", "P32")]
    parts = {(("unseen"), name): of_unseen for name in ("verb", "noun", "action")}
    parts["tail", "verb"] = [clip for clip, (verb, _) in enumerate(labels) if verb in (3, 4)]
    parts["tail", "noun"] = [clip for clip, (_, noun) in enumerate(labels) if noun in (5, 6)]
    parts["tail", "action"] = sorted({*parts["tail", "verb"], *parts["tail", "noun"]})
    expected = {}
    for (part, name), clips in parts.items():
        for k in (1, 5):
            right = hits(clips, labels, logits, name, k)
            expected[f"{part}_{name}_top{k}"] = sum(right) / len(right)
            if name == "action":
                expected[f"num_{part}_clips"] = len(right)
    assert got == pytest.approx(expected) and len(got) == 14
    assert 0 < got["unseen_action_top1"] < got["unseen_action_top5"] < 1 and len(of_unseen) < CLIPS
    assert got["num_tail_clips"] > len(hits(parts["tail", "verb"], labels, logits, "noun", 1)), "verb or noun"


def test_what_has_no_list_or_no_clip_has_no_score(found):
    ids, _, _, table = found
    every = pd.Series(ids)
    assert unseen_and_tail(table, every, "val", {}, 7) == {}
    assert unseen_and_tail(table, every, "train", {"unseen": SUBSETS["unseen"]}, 7) == {}
    assert unseen_and_tail(table, every, "val", {"tail": {"verb_label": [1]}}, 7) == {}, "an action asks for both lists"
    nobody = unseen_and_tail(table, every, "val", {"unseen": {"val": ["P99"]}}, 7)
    assert nobody == {"num_unseen_clips": 0}
    assert unseen_and_tail(table.iloc[:0], every, "val", SUBSETS, 7) == {"num_unseen_clips": 0, "num_tail_clips": 0}
