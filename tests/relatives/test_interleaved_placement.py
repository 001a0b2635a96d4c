"""Placement: 64 tokens from any image, spotting, retrieval, and a choice that needs the pictures so far."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from objadapt_relatives.interleaved_placement.articles import SENTENCES, WIDTH, Articles
from objadapt_relatives.interleaved_placement.choosing import Chooser, retrieve
from objadapt_relatives.interleaved_placement.placing import place_pictures
from objadapt_relatives.interleaved_placement.sampler import PerceiveSampler
from objadapt_relatives.interleaved_placement.spotting import Spotter, evenly, f1, spotting_loss


@pytest.mark.parametrize("tokens", [1, 7, 257, 1024])
def test_64_tokens_come_out_of_any_number(tokens):
    torch.manual_seed(0)
    sampler, image = PerceiveSampler(12, 20, layers=3).eval(), torch.randn(2, tokens, 12)
    found = sampler(image)
    assert found.shape == (2, 64, 20)
    torch.testing.assert_close(found, sampler(image[:, torch.randperm(tokens)]))  # it reads a set
    assert not torch.allclose(found[0], found[1]), "what comes out is of the image"


def test_f1_and_the_even_baseline():
    chosen, true = torch.tensor([1, 1, 0, 0, 1]).bool(), torch.tensor([1, 0, 0, 1, 1]).bool()
    assert f1(chosen, true) == 2 * 2 / 6 and f1(true, true) == 1 and f1(~true, true) == 0
    assert f1(true & False, true & False) == 1
    for number in range(1, 12):
        for pictures in range(1, number + 1):
            assert evenly(number, pictures).sum() == pictures


def test_padding_changes_no_sentence():
    torch.manual_seed(0)
    spotter, text = Spotter(6).eval(), torch.randn(1, 5, 6)
    present = torch.tensor([[True] * 5 + [False] * 2])
    padded = torch.cat([text, torch.randn(1, 2, 6)], dim=1)
    torch.testing.assert_close(spotter(padded, present)[:, :5], spotter(text, present[:, :5]), atol=1e-5, rtol=1e-5)


def test_retrieval_is_by_cosine():
    pictures = torch.tensor([[1.0, 0], [0, 1], [5, 5], [-1, 0]])
    assert retrieve(torch.tensor([[2.0, 0.1], [0.1, 3]]), pictures, 2).tolist() == [[0, 2], [1, 2]]
    with pytest.raises(ValueError, match="fewer than the 5"):
        retrieve(pictures, pictures, 5)


def test_candidates_are_judged_one_by_one():
    torch.manual_seed(0)
    chooser, context, candidates = Chooser(6).eval(), torch.randn(2, 3, 6), torch.randn(2, 4, 6)
    pictured = torch.tensor([[False, True, False]] * 2)
    scores, order = chooser(context, pictured, candidates), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(chooser(context, pictured, candidates[:, order]), scores[:, order])
    assert not torch.allclose(chooser(context, ~pictured, candidates), scores), "a picture is no sentence"


def spotter_of(source: Articles, steps: int) -> Spotter:
    torch.manual_seed(0)
    spotter = Spotter(WIDTH)
    optimiser = torch.optim.AdamW(spotter.parameters(), lr=3e-3)
    for _ in range(steps):
        articles = [source.article() for _ in range(16)]
        sentences, pictured = (torch.stack([getattr(a, n) for a in articles]) for n in ("sentences", "pictured"))
        present = torch.ones_like(pictured)
        optimiser.zero_grad()
        spotting_loss(spotter(sentences, present), pictured, present).backward()
        optimiser.step()
    return spotter.eval()


def choices(source: Articles, number: int, which: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    drawn = [source.choice(which[place % len(which)]) for place in range(number)]
    contexts, pictured, candidates, right = zip(*drawn, strict=True)
    return torch.stack(contexts), torch.stack(pictured), torch.stack(candidates), torch.tensor(right)


def chooser_of(source: Articles, steps: int, caption_only: bool = False) -> Chooser:
    torch.manual_seed(0)
    chooser = Chooser(WIDTH)
    optimiser = torch.optim.AdamW(chooser.parameters(), lr=2e-3)
    for _ in range(steps):
        contexts, pictured, candidates, right = choices(source, 32, (0, 1))
        if caption_only:
            contexts, pictured = contexts[:, -1:], pictured[:, -1:]
        optimiser.zero_grad()
        cross_entropy(chooser(contexts, pictured, candidates), right).backward()
        optimiser.step()
    return chooser.eval()


def accuracy(chooser: Chooser, caption_only: bool = False) -> float:
    contexts, pictured, candidates, right = choices(Articles(seed=2), 300, (1,))
    if caption_only:
        contexts, pictured = contexts[:, -1:], pictured[:, -1:]
    with torch.no_grad():
        return float((chooser(contexts, pictured, candidates).argmax(dim=1) == right).float().mean())


@pytest.mark.slow
def test_on_procedural_articles_spotting_beats_even_places_and_context_beats_captions():
    spotter, source = spotter_of(Articles(seed=1), 60), Articles(seed=2)
    articles = [source.article() for _ in range(200)]
    true = torch.stack([one.pictured for one in articles])
    with torch.no_grad():
        chosen = spotter(torch.stack([one.sentences for one in articles]), torch.ones_like(true)) > 0
    even = evenly(SENTENCES, 3).expand_as(true)
    random = torch.rand(true.shape, generator=torch.Generator().manual_seed(0)) < 3 / SENTENCES
    assert f1(chosen, true) > 0.9 > 0.6 > max(f1(even, true), f1(random, true))

    chooser = chooser_of(Articles(seed=1), 400)
    with_context, alone = accuracy(chooser), accuracy(chooser_of(Articles(seed=1), 100, True), True)
    print(f"choice in context {with_context:.2f}, by the caption alone {alone:.2f}")
    assert with_context > alone + 0.3 and with_context > 0.9

    right = wanted = 0
    for one in articles[:50]:  # among others of the same things in other colours
        others = [
            source.embedding(thing, colour) for thing in one.things for colour in range(5) if colour != one.colour
        ]
        found = place_pictures(one.sentences, torch.stack([*one.pictures, *others]), spotter, chooser)
        assert len(set(found.values())) == len(found), "a picture is used once"
        right += sum(found.get(int(place)) == number for number, place in enumerate(one.pictured.nonzero()))
        wanted += 3
    assert right / wanted > 0.3, "measured: 0.39; chance is below a fifth"
