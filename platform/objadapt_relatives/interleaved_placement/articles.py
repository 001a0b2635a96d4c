"""Procedural articles, as embeddings: there is no set of illustrated texts here.

An article has a colour, which its first picture shows and no later sentence repeats. Some sentences show a thing, and
want a picture of it in the article's colour; others only talk. An embedding is what is said, as one-hot parts, under a
fixed random rotation, with noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .choosing import CANDIDATES

THINGS, COLOURS, TALK = 6, 5, 8
WIDTH = THINGS + COLOURS + TALK
SENTENCES, PICTURED = 8, 3


@dataclass(frozen=True)
class Article:
    """Sentences [S, E], whether each wants a picture bool [S], and the pictures that it wants [PICTURED, E]."""

    sentences: Tensor
    pictured: Tensor
    pictures: Tensor
    things: list[int]
    colour: int


class Articles:
    """A source of articles and pictures, a function of the seed alone.

    Args:
        noise: standard deviation of each number of an embedding.
    """

    def __init__(self, seed: int, noise: float = 0.05):
        self.generator, self.noise = torch.Generator().manual_seed(seed), noise
        fixed = torch.Generator().manual_seed(0)
        self.rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=fixed)).Q

    def article(self) -> Article:
        """The next one: its first pictured sentence names the colour, the others leave it open."""
        colour = self._draw(COLOURS)
        places = torch.randperm(SENTENCES, generator=self.generator)[:PICTURED].sort().values
        pictured = torch.zeros(SENTENCES, dtype=torch.bool).index_fill(0, places, True)
        things = torch.randperm(THINGS, generator=self.generator)[:PICTURED].tolist()
        sentences, shown = [], 0
        for wants in pictured:
            if wants:
                sentences.append(self.embedding(things[shown], colour if shown == 0 else None))
                shown += 1
            else:
                sentences.append(self.embedding(talk=self._draw(TALK)))
        pictures = torch.stack([self.embedding(thing, colour) for thing in things])
        return Article(torch.stack(sentences), pictured, pictures, things, colour)

    def embedding(self, thing: int | None = None, colour: int | None = None, talk: int | None = None) -> Tensor:
        """Of a sentence or a picture, [E]."""
        said = torch.zeros(WIDTH)
        for part, start in ((thing, 0), (colour, THINGS), (talk, THINGS + COLOURS)):
            if part is not None:
                said[start + part] = 1.0
        return said @ self.rotation + self.noise * torch.randn(WIDTH, generator=self.generator)

    def choice(self, number: int) -> tuple[Tensor, Tensor, Tensor, int]:
        """The choice of an article's picture `number`, 0 or 1: context [L, E], which of it are pictures bool [L], four
        candidates [4, E] of the thing that is shown, in four colours, and which one is right.

        The sentence of picture 0 tells the colour; that of picture 1 does not, and picture 0 stands before it.
        """
        one = self.article()
        items, kinds, shown = [], [], 0
        for sentence, wants in zip(one.sentences, one.pictured, strict=True):
            items.append(sentence)
            kinds.append(False)
            if wants and shown == number:
                break
            if wants:
                items.append(one.pictures[shown])
                kinds.append(True)
                shown += 1
        others = [colour for colour in range(COLOURS) if colour != one.colour][: CANDIDATES - 1]
        right = self._draw(CANDIDATES)
        colours = [*others[:right], one.colour, *others[right:]]
        candidates = torch.stack([self.embedding(one.things[number], colour) for colour in colours])
        lacking = SENTENCES + 1 - len(items)  # in front, so that the last sentence is the last
        context = torch.cat([torch.zeros(lacking, WIDTH), torch.stack(items)])
        return context, torch.tensor([False] * lacking + kinds), candidates, right

    def _draw(self, number: int) -> int:
        return int(torch.randint(number, (), generator=self.generator))
