"""The spotter and the chooser: learnt from articles of captions, measured on others, kept in a file."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from objadapt.errors import InputError
from objadapt.files import write_whole

from .articles import COLOURS, PICTURED, SENTENCES, Articles
from .choosing import CANDIDATES, Chooser, retrieve
from .embedding import Clip
from .placing import place_pictures, spotted
from .spotting import Spotter, evenly, f1, spotting_loss

SPOTTING_STEPS, CHOOSING_STEPS = 200, 1200
MEASURED = 300  # articles, and choices
WEIGHTS, FACTS = "placement.safetensors", "placement.json"


@dataclass(frozen=True)
class Placement:
    """What places pictures, and the CLIP whose embeddings it reads."""

    spotter: Spotter
    chooser: Chooser
    clip: str
    width: int
    weights_hash: str


def learn(clip: Clip, articles: Articles, seed: int) -> Placement:
    """Both parts, each on articles of its own."""
    torch.manual_seed(seed)
    spotter, chooser = Spotter(clip.width), Chooser(clip.width)
    optimiser = torch.optim.AdamW(spotter.parameters(), lr=3e-3)
    for _ in range(SPOTTING_STEPS):
        drawn = [articles.article() for _ in range(16)]
        sentences, pictured = (torch.stack([getattr(one, name) for one in drawn]) for name in ("sentences", "pictured"))
        optimiser.zero_grad()
        spotting_loss(spotter(sentences, torch.ones_like(pictured)), pictured, torch.ones_like(pictured)).backward()
        optimiser.step()
    optimiser = torch.optim.AdamW(chooser.parameters(), lr=2e-3)
    for _ in range(CHOOSING_STEPS):
        contexts, pictured, candidates, right = choices(articles, 32, ((0, False), (1, False), (0, True), (1, True)))
        optimiser.zero_grad()
        cross_entropy(chooser(contexts, pictured, candidates), right).backward()
        optimiser.step()
    return Placement(spotter.eval(), chooser.eval(), clip.name, clip.width, clip.weights_hash)


def choices(articles: Articles, number: int, which: tuple[tuple[int, bool], ...]) -> tuple[torch.Tensor, ...]:
    """Contexts [n, L, E], which of them are pictures [n, L], candidates [n, 4, E] and the right ones [n].

    Args:
        which: the arguments of `Articles.choice`, in turns.
    """
    drawn = [articles.choice(*which[place % len(which)]) for place in range(number)]
    contexts, pictured, candidates, right = zip(*drawn, strict=True)
    return torch.stack(contexts), torch.stack(pictured), torch.stack(candidates), torch.tensor(right)


@torch.no_grad()
def measure(placement: Placement, articles: Articles) -> dict[str, float]:
    """On articles that nothing was learnt from, all in shares.

    F1 of where, beside even and random places; which picture, where the caption is ambiguous, beside retrieval by the
    caption alone; wanted pictures that are placed right in whole articles.
    """
    drawn = [articles.article() for _ in range(MEASURED)]
    true = torch.stack([one.pictured for one in drawn])
    chosen = torch.stack([spotted(one.sentences, placement.spotter) for one in drawn])
    random = torch.rand(true.shape, generator=torch.Generator().manual_seed(0)) < PICTURED / SENTENCES
    found = {"where_f1": f1(chosen, true), "where_f1_even": f1(evenly(SENTENCES, PICTURED).expand_as(true), true)}
    found["where_f1_random"] = f1(random, true)
    contexts, pictured, candidates, right = choices(articles, MEASURED, ((1, False),))
    answers = placement.chooser(contexts, pictured, candidates).argmax(dim=1)
    captions = [retrieve(context[-1:], four, 1)[0, 0] for context, four in zip(contexts, candidates, strict=True)]
    found["which"] = float((answers == right).float().mean())
    found["which_by_caption"] = float((torch.stack(captions) == right).float().mean())
    found["which_chance"] = 1 / CANDIDATES
    placed = 0
    for one in drawn[:100]:  # among pictures of the same things in all other colours
        others = [articles.picture(thing, c) for thing in one.things for c in range(len(COLOURS)) if c != one.colour]
        there = place_pictures(
            one.sentences, torch.stack([*one.pictures, *others]), placement.spotter, placement.chooser
        )
        placed += sum(there.get(int(place)) == number for number, place in enumerate(one.pictured.nonzero()))
    found["placed"] = placed / (100 * PICTURED)
    return found


def save(placement: Placement, folder: Path, facts: dict) -> None:
    """Write the weights and, beside them, the CLIP's name and what was measured."""
    parts = {"spotter": placement.spotter, "chooser": placement.chooser}
    tensors = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    told = {"clip": placement.clip, "width": placement.width, "weights_hash": placement.weights_hash, **facts}
    write_whole(folder / FACTS, json.dumps(told, indent=1) + "\n")


def load(folder: Path) -> Placement:
    """What `save` wrote.

    Raises:
        InputError: not such a folder, or damaged.
    """
    remedy = "make it with python -m objadapt_relatives.interleaved_placement.learn --output DIR"
    try:
        facts, tensors = json.loads((folder / FACTS).read_text()), load_file(folder / WEIGHTS)
        width = facts["width"]
        placement = Placement(Spotter(width), Chooser(width), facts["clip"], width, facts["weights_hash"])
        for name in ("spotter", "chooser"):
            own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
            getattr(placement, name).load_state_dict(own)
            getattr(placement, name).eval()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--placement: {folder} holds no trained placement ({reason}); {remedy}") from None
    return placement
