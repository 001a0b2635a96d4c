"""Articles made from captions of Object Actions, with the pictures that they want: toy data, rendered here.

An article has a colour, which the caption of its first picture names and no later sentence repeats. Some sentences show
a thing, and want a picture of it in the article's colour; others only talk. All are embedded by a CLIP, captions by its
text tower and pictures by its image tower.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from objadapt.data.captions import COLOUR_WORDS, describe_thing
from objadapt.data.shapes import COLOURS, GROUNDS, SHAPES, Thing, render, render_background

from .choosing import CANDIDATES
from .embedding import Clip

SENTENCES, PICTURED = 8, 3
VARIANTS = 12  # places and sizes of each thing in each colour
TALK = [
    f"{number} {noun} {place} the {ground}"
    for number in ("one of the", "two", "three", "four", "the")
    for noun in ("things", "objects")
    for place in ("on", "near", "at", "with")
    for ground in ("ground", "background", "picture")
]


@dataclass(frozen=True)
class Pool:
    """Embedded sentences and pictures that articles are put together from; S shapes, C colours, V variants.

    Attributes:
        named: captions with a colour [S, C, V, E]; `bare`: without [S, V, E]; `talk`: sentences about nothing [W, E].
        pictures: [S, C, V, E]; variant v of both shows the thing in one place and size.
    """

    named: Tensor
    bare: Tensor
    talk: Tensor
    pictures: Tensor


@dataclass(frozen=True)
class Article:
    """Sentences [S, E], whether each wants a picture bool [S], and the pictures that it wants [PICTURED, E]."""

    sentences: Tensor
    pictured: Tensor
    pictures: Tensor
    things: list[int]
    colour: int


def make_pool(clip: Clip, seed: int) -> Pool:
    """Render and embed things on the grounds of the toy videos; other places and words under another seed."""
    rng = np.random.default_rng([seed, 3])
    named, bare, pictures = [], [], []
    for shape in SHAPES:
        drawn = [(*rng.uniform(0.25, 0.75, 2).tolist(), float(rng.uniform(0.12, 0.24))) for _ in range(VARIANTS)]
        for number, colour in enumerate(COLOURS):
            for x, y, radius in drawn:
                thing = Thing(shape, colour, x, y, radius)
                words = describe_thing(thing, rng).split()
                named.append(" ".join(words))
                if number == 0:
                    bare.append(" ".join(word for word in words if word not in COLOUR_WORDS[colour]))
                ground = render_background(GROUNDS[rng.integers(len(GROUNDS))], clip.side)
                pictures.append(render([thing], ground, clip.side)[0])
    many = len(SHAPES), len(COLOURS), VARIANTS
    return Pool(
        clip.sentences(named).unflatten(0, many),
        clip.sentences(bare).unflatten(0, (len(SHAPES), VARIANTS)),
        clip.sentences(TALK),
        clip.pictures(pictures).unflatten(0, many),
    )


class Articles:
    """A source of articles and choices, a function of the pool and the seed alone."""

    def __init__(self, pool: Pool, seed: int):
        self.pool, self.generator = pool, torch.Generator().manual_seed(seed)

    def article(self) -> Article:
        """The next one: its first pictured sentence names the colour, the others leave it open."""
        colour = self._draw(len(COLOURS))
        places = torch.randperm(SENTENCES, generator=self.generator)[:PICTURED].sort().values
        pictured = torch.zeros(SENTENCES, dtype=torch.bool).index_fill(0, places, True)
        things = torch.randperm(len(SHAPES), generator=self.generator)[:PICTURED].tolist()
        sentences, pictures = [], []
        for wants in pictured:
            if not wants:
                sentences.append(self.pool.talk[self._draw(len(TALK))])
                continue
            thing, variant = things[len(pictures)], self._draw(VARIANTS)
            named = self.pool.named[thing, colour] if not pictures else self.pool.bare[thing]
            sentences.append(named[variant])
            pictures.append(self.pool.pictures[thing, colour, variant])
        return Article(torch.stack(sentences), pictured, torch.stack(pictures), things, colour)

    def picture(self, thing: int, colour: int) -> Tensor:
        """Of a thing somewhere, [E]."""
        return self.pool.pictures[thing, colour, self._draw(VARIANTS)]

    def choice(self, number: int, mixed: bool = False) -> tuple[Tensor, Tensor, Tensor, int]:
        """The choice of an article's picture `number`, 0 or 1: context [L, E], which of it are pictures bool [L], four
        candidates [4, E], and which one is right.

        The sentence of picture 0 tells the colour; that of picture 1 does not, and picture 0 stands before it.

        Args:
            mixed: candidates of any things, half of them in the article's colour; otherwise of the thing that is shown,
                in four colours.
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
        right, thing = self._draw(CANDIDATES), one.things[number]
        candidates = [self.picture(*other) for other in self._others(thing, one.colour, mixed)]
        candidates.insert(right, self.picture(thing, one.colour))
        lacking = SENTENCES + 1 - len(items)  # in front, so that the last sentence is the last
        context = torch.cat([torch.zeros(lacking, items[0].shape[-1]), torch.stack(items)])
        return context, torch.tensor([False] * lacking + kinds), torch.stack(candidates), right

    def _others(self, thing: int, colour: int, mixed: bool) -> list[tuple[int, int]]:
        """Things and colours of the wrong candidates."""
        things = [one for one in range(len(SHAPES)) if one != thing]
        colours = [one for one in range(len(COLOURS)) if one != colour]
        drawn = [colours[place] for place in torch.randperm(len(colours), generator=self.generator)[: CANDIDATES - 1]]
        if not mixed:
            return [(thing, other) for other in drawn]
        kinds = [things[place] for place in torch.randperm(len(things), generator=self.generator)[: CANDIDATES - 1]]
        return [(kind, colour if place % 2 == 0 else drawn[place]) for place, kind in enumerate(kinds)]

    def _draw(self, number: int) -> int:
        return int(torch.randint(number, (), generator=self.generator))
