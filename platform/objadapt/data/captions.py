"""Captions for still pictures of shapes, and the word tokeniser of the small CLIP's text tower.

A caption names every object with size, colour, shape and place, so that a picture tower trained against
it must represent what is where. Words come from a fixed vocabulary; there is no sub-word splitting.
"""

from dataclasses import replace

import numpy as np
import torch

from .shapes import COLOURS, SHAPES, TEXTURES, Background, Thing

SHAPE_WORDS = {
    "circle": ("circle", "disk", "ball"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle", "wedge"),
    "cross": ("cross", "plus"),
    "star": ("star",),
    "ring": ("ring", "hoop"),
}
COLOUR_WORDS = {name: (name,) for name in COLOURS} | {"purple": ("purple", "violet"), "cyan": ("cyan", "turquoise")}
# (radius up to, words)
SIZES = (
    (0.11, ("tiny", "minute")),
    (0.14, ("small", "little")),
    (0.17, ("medium", "middling")),
    (0.21, ("large", "big")),
    (9.0, ("huge", "enormous")),
)
ROWS = (("top", "topmost"), ("upper", "high"), ("middle", "central"), ("lower", "low"), ("bottom", "lowest"))
COLUMNS = (("leftmost", "outer-left"), ("left",), ("centre", "mid"), ("right",), ("rightmost", "outer-right"))
TEXTURE_WORDS = {
    "plain": ("plain", "even"),
    "striped": ("striped", "banded"),
    "checkered": ("checkered", "chequered"),
    "dotted": ("dotted", "spotted"),
    "cloudy": ("cloudy", "mottled"),
}
LIGHT_WORDS = ((0.35, ("black", "unlit")), (0.65, ("dark", "dim")), (0.9, ("dusky", "shaded")))  # below: word
ASPECT_WORDS = (
    (0.6, ("tall", "narrow")),
    (0.85, ("tallish",)),
    (1.18, ()),
    (1.67, ("widish",)),
    (99.0, ("wide", "flat")),
)
GLUE = (
    "a",
    "an",
    "the",
    "and",
    "on",
    "at",
    "in",
    "with",
    "near",
    "touching",
    "background",
    "picture",
    "photo",
    "of",
    "faint",
    "ghostly",
    "ground",
    "one",
    "two",
    "three",
    "four",
    "things",
    "objects",
    "dark-toned",
    "mid-toned",
    "bright-toned",
)


def _vocabulary() -> list[str]:
    groups = [
        *SHAPE_WORDS.values(),
        *COLOUR_WORDS.values(),
        *(w for _, w in SIZES),
        *ROWS,
        *COLUMNS,
        *TEXTURE_WORDS.values(),
        *(w for _, w in LIGHT_WORDS),
        *(w for _, w in ASPECT_WORDS),
        GLUE,
    ]
    words = sorted({word for group in groups for word in group})
    return ["<pad>", "<start>", *words, "<end>"]  # open_clip pools the text at the highest id: <end> comes last


VOCABULARY = _vocabulary()
CONTEXT_LENGTH = 40
_IDS = {word: number for number, word in enumerate(VOCABULARY)}


def tokenise(captions: list[str]) -> torch.Tensor:
    """-> int64 [B, CONTEXT_LENGTH]; raises ValueError on a word outside the vocabulary or a caption too long."""
    tokens = torch.zeros(len(captions), CONTEXT_LENGTH, dtype=torch.long)
    for row, caption in zip(tokens, captions, strict=True):
        try:
            ids = [_IDS["<start>"], *(_IDS[word] for word in caption.split()), _IDS["<end>"]]
        except KeyError as error:
            raise ValueError(f"caption {caption!r}: {error} is not in the small CLIP's vocabulary") from None
        if len(ids) > CONTEXT_LENGTH:
            raise ValueError(f"caption {caption!r}: {len(ids)} tokens, at most {CONTEXT_LENGTH}")
        row[: len(ids)] = torch.tensor(ids)
    return tokens


def describe_thing(thing: Thing, rng: np.random.Generator) -> str:
    """`a large dark red circle at top left`; attributes that are ordinary go unsaid."""

    def pick(words):
        return words[rng.integers(len(words))] if words else ""

    row, column = (min(4, max(0, int(place * 5))) for place in (thing.y, thing.x))
    words = [
        "a",
        "faint" if thing.opacity < 0.6 else "",
        pick(next(words for limit, words in SIZES if thing.radius <= limit)),
        pick(next((words for limit, words in LIGHT_WORDS if thing.light < limit), ())),
        pick(next(words for limit, words in ASPECT_WORDS if thing.aspect <= limit)),
        pick(COLOUR_WORDS[thing.colour]),
        pick(SHAPE_WORDS[thing.shape]),
        "at",
        pick(ROWS[row]),
        pick(COLUMNS[column]),
    ]
    return " ".join(word for word in words if word)


def describe(things: list[Thing], background: Background, rng: np.random.Generator) -> str:
    """Caption of a picture: its objects in random order, then the ground."""
    order = rng.permutation(len(things))
    tone = np.mean(background.tones)
    ground = "dark-toned" if tone < 90 else "bright-toned" if tone > 140 else "mid-toned"
    texture = TEXTURE_WORDS[background.texture]
    objects = " and ".join(describe_thing(things[i], rng) for i in order)
    return f"{objects} on a {ground} {texture[rng.integers(len(texture))]} background"


def random_things(rng: np.random.Generator, most: int = 3) -> list[Thing]:
    """1 to `most` objects anywhere in the picture, with the range of looks that the toy videos show."""
    kinds = [
        Thing(SHAPES[rng.integers(len(SHAPES))], list(COLOURS)[rng.integers(len(COLOURS))], 0.5, 0.5, 0.1)
        for _ in range(rng.integers(1, most + 1))
    ]
    return place_anew(kinds, rng)


def place_anew(things: list[Thing], rng: np.random.Generator) -> list[Thing]:
    """The same shapes and colours at other places, in other sizes, proportions, lights and opacities.

    Pictures that differ in nothing else are the hard negatives that make a picture tower represent where things are:
    among unlike pictures, shapes and colours are enough to tell which caption belongs to which.
    """
    return [
        replace(
            thing,
            x=float(rng.uniform(0.05, 0.95)),
            y=float(rng.uniform(0.05, 0.95)),
            radius=float(rng.uniform(0.08, 0.25)),
            angle=float(rng.uniform(-0.5, 0.5)),
            aspect=float(np.exp(rng.uniform(-0.8, 0.8))) if rng.random() < 0.35 else 1.0,
            light=float(rng.uniform(0.2, 1)) if rng.random() < 0.35 else 1.0,
            opacity=float(rng.uniform(0.25, 1)) if rng.random() < 0.25 else 1.0,
        )
        for thing in things
    ]


assert set(SHAPE_WORDS) == set(SHAPES) and set(TEXTURE_WORDS) == set(TEXTURES)
