"""Captions of the small CLIP's pictures: always in its vocabulary and context, and they tell what is in the picture."""

import numpy as np
import pytest
import torch

from objadapt.data.captions import (
    COLOUR_WORDS,
    CONTEXT_LENGTH,
    SHAPE_WORDS,
    TEXTURE_WORDS,
    VOCABULARY,
    describe,
    describe_thing,
    random_things,
    tokenise,
)
from objadapt.data.shapes import COLOURS, SHAPES, Thing, random_background
from objadapt.data.toy_scenes import ACTIONS, draw_scene


def extreme_things() -> list[Thing]:
    """Objects at and beyond every edge of what can be said."""
    rng = np.random.default_rng(1)
    return [
        Thing(
            SHAPES[rng.integers(6)],
            list(COLOURS)[rng.integers(8)],
            x,
            y,
            radius,
            aspect=aspect,
            light=light,
            opacity=opacity,
        )
        for x, y in ((0.0, 1.0), (-0.5, 1.5), (0.2, 0.4), (1.0, 0.0))
        for radius in (0.0, 0.085, 0.19, 0.5, 3.0)
        for aspect in (0.01, 0.6, 0.85, 1.18, 50.0)
        for light in (0.0, 0.35, 0.9, 1.0)
        for opacity in (0.0, 0.6, 1.0)
    ]


def test_every_caption_of_random_pictures_can_be_read_by_the_text_tower():
    rng = np.random.default_rng(0)
    captions = [describe(random_things(rng), random_background(rng), rng) for _ in range(5000)]
    tokens = tokenise(captions)  # raises on a word outside the vocabulary and on a caption too long
    assert tokens.shape == (5000, CONTEXT_LENGTH) and tokens.dtype == torch.int64
    assert {caption.count(" at ") for caption in captions} == {1, 2, 3}


def test_the_longest_caption_fits():
    """Three objects of which everything is said, and one word more than that is refused."""
    rng = np.random.default_rng(0)
    things = [thing for thing in extreme_things() if thing.opacity < 0.6 and thing.light < 0.35 and thing.aspect < 0.6]
    captions = [describe(things[at : at + 3], random_background(rng), rng) for at in range(len(things) - 3)]
    lengths = (tokenise(captions) > 0).sum(1)
    assert lengths.max() <= CONTEXT_LENGTH
    assert max(len(caption.split()) + 2 for caption in captions) == int(lengths.max())  # nothing is cut off


def test_extreme_objects_have_a_caption():
    rng = np.random.default_rng(2)
    tokenise([describe_thing(thing, rng) for thing in extreme_things()])


def test_objects_of_the_toy_videos_have_a_caption():
    rng = np.random.default_rng(3)
    for action in ACTIONS:
        for moment in draw_scene(action, 8, rng).things:
            tokenise([describe_thing(thing, rng) for thing in moment])


def test_a_caption_tells_the_looks_and_the_place():
    rng = np.random.default_rng(4)
    for _ in range(500):
        things, background = random_things(rng), random_background(rng)
        *objects, _ = describe(things, background, rng).split(" on a ")
        said = " on a ".join(objects).split(" and ")
        assert len(said) == len(things)
        for thing in things:
            colours, shapes = set(COLOUR_WORDS[thing.colour]), set(SHAPE_WORDS[thing.shape])
            assert any(colours & set(text.split()) and shapes & set(text.split()) for text in said)
        assert set(describe(things, background, rng).split()) & set(TEXTURE_WORDS[background.texture])
    plain = Thing("circle", "red", 0.1, 0.9, 0.1)
    assert {describe_thing(plain, rng).split(" at ")[1] for _ in range(100)} == {
        f"{row} {column}" for row in ("bottom", "lowest") for column in ("leftmost", "outer-left")
    }


def test_tokens():
    start, end = VOCABULARY.index("<start>"), VOCABULARY.index("<end>")
    assert len(set(VOCABULARY)) == len(VOCABULARY) and VOCABULARY[0] == "<pad>" and end == len(VOCABULARY) - 1
    row = tokenise(["a red circle"])[0].tolist()
    words = [VOCABULARY.index(word) for word in ("a", "red", "circle")]
    assert row == [start, *words, end] + [0] * (CONTEXT_LENGTH - 5)
    assert row.index(end) == max(range(CONTEXT_LENGTH), key=row.__getitem__)  # open_clip pools where the id is highest
    assert tokenise([]).shape == (0, CONTEXT_LENGTH)


def test_what_cannot_be_tokenised():
    with pytest.raises(ValueError, match="'octagon' is not in the small CLIP's vocabulary"):
        tokenise(["a red octagon"])
    with pytest.raises(ValueError, match="41 tokens, at most 40"):
        tokenise([" ".join(["red"] * (CONTEXT_LENGTH - 1))])
    assert tokenise([" ".join(["red"] * (CONTEXT_LENGTH - 2))]).count_nonzero() == CONTEXT_LENGTH
