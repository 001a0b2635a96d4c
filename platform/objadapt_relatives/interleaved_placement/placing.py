"""A text and a pool of pictures -> which picture stands behind which sentence."""

import torch
from torch import Tensor

from .choosing import CANDIDATES, Chooser, retrieve
from .spotting import Spotter

WINDOW = 8  # sentences that are looked at together, and read before a choice: as many as the articles learnt from have


@torch.no_grad()
def place_pictures(sentences: Tensor, pictures: Tensor, spotter: Spotter, chooser: Chooser) -> dict[int, int]:
    """Sentence -> picture, for the sentences that want one; a picture is used once.

    A sentence is its own caption. Four pictures are retrieved by it and by the mean of the pictures so far, which holds
    what the sentence leaves unsaid; the chooser takes one of them by the text and the pictures so far.

    Args:
        sentences: CLIP embeddings [S, E].
        pictures: CLIP embeddings [G, E].
    """
    wanted = spotted(sentences, spotter)
    found: dict[int, int] = {}
    context, kinds = [], []
    for number, sentence in enumerate(sentences):
        context.append(sentence)
        kinds.append(False)
        left = torch.tensor([one for one in range(len(pictures)) if one not in found.values()], dtype=torch.int64)
        if not wanted[number] or not len(left):
            continue
        query = sentence + pictures[list(found.values())].mean(dim=0) if found else sentence
        candidates = left[retrieve(query[None], pictures[left], min(CANDIDATES, len(left)))[0]]
        lacking = max(0, WINDOW + 1 - len(context))  # in front there are zeros, as in what was learnt from
        read = torch.stack([torch.zeros_like(sentence)] * lacking + context[-WINDOW - 1 :])
        which = torch.tensor([False] * lacking + kinds[-WINDOW - 1 :])
        scores = chooser(read[None], which[None], pictures[candidates][None])[0]
        found[number] = int(candidates[scores.argmax()])
        context.append(pictures[found[number]])
        kinds.append(True)
    return found


@torch.no_grad()
def spotted(sentences: Tensor, spotter: Spotter) -> Tensor:
    """Whether a picture belongs behind each sentence, bool [S], by the sentences around it."""
    parts = [part[None] for part in sentences.split(WINDOW)]
    return torch.cat([spotter(part, torch.ones(part.shape[:2], dtype=torch.bool))[0] > 0 for part in parts])
