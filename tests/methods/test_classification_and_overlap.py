"""Cross entropy over labelled clips, and the mask-overlap penalty, against plain loops."""

import math

import pytest
import torch

from objadapt.methods.classification import classification_loss
from objadapt.methods.object_centric.mask_overlap import mask_overlap_penalty


def test_cross_entropy_equals_the_plain_loops_over_labelled_valid_clips():
    torch.manual_seed(0)
    logits = {"verb_label": torch.randn(5, 3), "noun_label": torch.randn(5, 4)}
    labels = torch.tensor([[0, 3], [2, -1], [-1, -1], [1, 0], [2, 2]])
    valid = torch.tensor([True, True, True, False, True])
    heads = []
    for column, scores in enumerate(logits.values()):
        losses = []
        for b in range(5):
            if valid[b] and labels[b, column] >= 0:
                row = scores[b].tolist()
                losses.append(math.log(sum(math.exp(x) for x in row)) - row[labels[b, column]])
        heads.append(sum(losses) / len(losses))
    assert classification_loss(logits, labels, valid).item() == pytest.approx(sum(heads) / 2, rel=1e-5)


def test_no_labelled_clip_gives_zero_loss_and_gradient():
    logits = torch.randn(3, 4, requires_grad=True)
    all_valid, unlabelled = torch.ones(3, dtype=torch.bool), torch.full((3, 1), -1)
    for labels, valid in ((unlabelled, all_valid), (torch.zeros_like(unlabelled), ~all_valid)):
        loss = classification_loss({"label": logits}, labels, valid)
        assert loss == 0 and (torch.autograd.grad(loss, logits)[0] == 0).all()


def test_label_columns_must_match_the_heads():
    with pytest.raises(ValueError, match="2 columns for 1 heads"):
        classification_loss({"label": torch.zeros(3, 4)}, torch.zeros(3, 2).long(), torch.ones(3, dtype=torch.bool))


def test_mask_overlap_equals_the_plain_loops():
    torch.manual_seed(0)
    attention = torch.randn(3, 2, 4, 6, dtype=torch.float32).softmax(dim=2)
    valid = torch.tensor([True, False, True])
    cosines = []
    for b in (0, 2):
        for t in range(2):
            masks = attention[b, t].tolist()
            for k in range(4):
                for other in range(k):
                    dot = sum(x * y for x, y in zip(masks[k], masks[other], strict=True))
                    cosines.append(dot / math.sqrt(sum(x * x for x in masks[k]) * sum(y * y for y in masks[other])))
    assert mask_overlap_penalty(attention, valid).item() == pytest.approx(sum(cosines) / len(cosines), rel=1e-5)


def test_mask_overlap_is_0_for_disjoint_and_1_for_identical_masks():
    valid = torch.ones(1, dtype=torch.bool)
    assert mask_overlap_penalty(torch.eye(3).expand(1, 2, 3, 3), valid).item() == pytest.approx(0)
    assert mask_overlap_penalty(torch.full((1, 2, 3, 5), 1 / 3), valid).item() == pytest.approx(1)
