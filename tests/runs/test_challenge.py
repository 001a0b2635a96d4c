"""The challenge's file has what its server asks for, and nothing is written over."""

import json

import pandas as pd
import pytest
import torch

from objadapt.data.manifest import Manifest
from objadapt.errors import InputError
from objadapt.evaluation.recognition import Recognition
from objadapt.runs.challenge import write_challenge

HEADS = {"verb_label": 97, "noun_label": 300}
LEVELS = {"sls_pt": 5, "sls_tl": 3, "sls_td": 3}
IDS = ["P01_11_0", "P01_11_1", "P18_02_7"]


@pytest.fixture
def found():
    """Three clips without labels, of four that are listed; the second is the last that was looked at."""
    table = pd.DataFrame({"clip_id": IDS, "path": "v.mp4", "start_s": 0.0, "end_s": 1.0, "split": "test"})
    table = table.assign(**dict.fromkeys(HEADS, -1))
    classes = {head: [str(one) for one in range(number)] for head, number in HEADS.items()}
    recognition, generator = Recognition(HEADS), torch.Generator().manual_seed(0)
    logits = {head: 3 * torch.randn(3, number, generator=generator) for head, number in HEADS.items()}
    for rows in ([2, 0], [1]):
        batch = {"row": torch.tensor(rows), "labels": -torch.ones(len(rows), 2, dtype=torch.int64)}
        seen = {head: values[rows] for head, values in logits.items()}
        recognition.update(seen, batch | {"valid": torch.ones(len(rows), dtype=torch.bool)})
    manifest = Manifest(table, classes, {"test": {"found": 3, "listed": 4}}, True)
    return recognition.compute(), manifest, logits


def test_scores_of_all_classes_and_of_the_hundred_best_actions(found, tmp_path, caplog):
    scores, manifest, logits = found
    path = tmp_path / "test.json"
    assert write_challenge(path, scores, manifest, "test", LEVELS) == 3
    assert "1 of 4 listed clips have no prediction, and the challenge refuses" in caplog.text
    tree = json.loads(path.read_text())
    results = tree.pop("results")
    assert tree == {"version": "0.2", "challenge": "action_recognition"} | LEVELS and list(results) == IDS
    for clip, result in enumerate(results.values()):
        verbs, nouns = ([x / sum(e) for x in e] for e in (logits[head][clip].double().exp().tolist() for head in HEADS))
        for name, values in (("verb", verbs), ("noun", nouns)):
            assert list(result[name]) == [str(one) for one in range(len(values))]
            assert list(result[name].values()) == pytest.approx(values, rel=1e-6)
        pairs = {f"{v},{n}": p * q for v, p in enumerate(verbs) for n, q in enumerate(nouns)}
        best = sorted(pairs, key=lambda pair: -pairs[pair])[:100]
        assert list(result["action"]) == best
        assert list(result["action"].values()) == pytest.approx([pairs[pair] for pair in best], rel=1e-6)
    assert [file.name for file in tmp_path.iterdir()] == ["test.json"]


def test_a_file_that_is_there_stays(found, tmp_path):
    scores, manifest, _ = found
    path = tmp_path / "test.json"
    path.write_text("dear")
    with pytest.raises(
        InputError, match="^--challenge: .*test.json is there already; give another name, or remove it$"
    ):
        write_challenge(path, scores, manifest, "test", LEVELS)
    assert path.read_text() == "dear"
