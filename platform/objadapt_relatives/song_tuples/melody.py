"""A small causal transformer over the 650 tokens, as a method, so that the platform's loop trains it.

The loop brings a batch's tensors by the names that methods on features have: `patches` holds token numbers here.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from objadapt.config import Training
from objadapt.methods.distributed import sum_over_workers
from objadapt.methods.method import Method, Output
from objadapt.training.loop import LossModule, Progress, build_optimiser, train_epoch

from .bins import BINS, decode
from .tuples import NUMBER, PITCHES, TOKENS, WRAPPERS, Song, melody_tokens

PADDING = -1
SHORTEST, VOICE, WINDOW = 0.1, (48, 84), 15  # sung: seconds, lowest and highest pitch; tuples that a note is drawn by


class MelodyModel(Method):
    """Next-token prediction.

    Args:
        width, heads, layers: of the transformer.
        longest: tokens that a melody may have.
    """

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 2, longest: int = 256):
        super().__init__()
        self.embedding = nn.Embedding(len(TOKENS), width)
        self.place = nn.Parameter(torch.randn(longest, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(width, len(TOKENS))

    def forward(self, batch: dict[str, Tensor]) -> Output:
        """Token numbers int64 [B, L], padded with -1 -> the scores of each next token, [B, L, 650]."""
        tokens = batch["patches"].clamp(min=0)
        length = tokens.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        states = self.layers(self.embedding(tokens) + self.place[:length], mask=mask, is_causal=True)
        return Output({"token": self.out(states)})

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Cross entropy a token, over the tokens of all workers."""
        targets = batch["patches"][:, 1:]
        scores = output.logits["token"][:, :-1].flatten(0, 1)
        summed = cross_entropy(scores, targets.flatten(), ignore_index=PADDING, reduction="sum")
        loss = summed / sum_over_workers((targets != PADDING).sum()).clamp(min=1)
        return {"token": loss, "total": loss}


def batches(songs: list[Song], size: int, order: np.ndarray) -> Iterator[dict[str, Tensor]]:
    """Songs of equal batches in an order int64 [n]; what is left over at the end is a smaller batch."""
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        tokens = [torch.tensor(melody_tokens(songs[row])) for row in rows]
        padded = nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=PADDING)
        none = torch.full((len(rows), 1), -1)
        yield {
            "patches": padded,
            "cls": none,
            "labels": none,
            "valid": torch.ones(len(rows), dtype=torch.bool),
            "row": torch.from_numpy(rows),
        }


def settings(epochs: int) -> Training:
    """Of a training on melodies."""
    return Training(epochs=epochs, batch_size=32, lr=2e-3, warmup_epochs=1)


def learn(songs: list[Song], training: Training, seed: int) -> MelodyModel:
    """Train on melodies by the platform's loop: its optimiser, schedule and clipping."""
    torch.manual_seed(seed)
    model = MelodyModel()
    module, optimiser, progress = LossModule(model), build_optimiser(model, training), Progress()
    steps = -(-len(songs) // training.batch_size)
    for epoch in range(training.epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(songs))
        train_epoch(
            module,
            batches(songs, training.batch_size, order),
            optimiser,
            training,
            progress,
            steps,
            torch.device("cpu"),
            lambda *_: None,
            seed,
        )
    return model.eval()


@torch.no_grad()
def perplexity(model: MelodyModel, songs: list[Song], size: int = 64) -> float:
    """e to the mean cross entropy of all tokens behind the first."""
    total, number = 0.0, 0
    for batch in batches(songs, size, np.arange(len(songs))):
        tokens = int((batch["patches"][:, 1:] != PADDING).sum())
        total += float(model.losses(model(batch), batch, 0)["token"]) * tokens
        number += tokens
    return float(np.exp(total / number))


def bigram_perplexity(songs: list[Song], held_out: list[Song], added: float = 0.1) -> float:
    """Of a baseline that knows the last token alone: counted pairs of tokens, `added` to each count."""
    counts = np.full((len(TOKENS), len(TOKENS)), added)
    for song in songs:
        tokens = melody_tokens(song)
        np.add.at(counts, (tokens[:-1], tokens[1:]), 1)
    share = np.log(counts / counts.sum(axis=1, keepdims=True))
    logs = [share[tokens[:-1], tokens[1:]] for tokens in map(melody_tokens, held_out)]
    return float(np.exp(-np.concatenate(logs).mean()))


@torch.no_grad()
def compose(model: MelodyModel, begun: list[int], longest: int, seed: int, temperature: float = 1.0) -> list[int]:
    """Go on from token numbers until the end of the melody, or to `longest` tokens; drawn by the seed alone."""
    generator, tokens, end = torch.Generator().manual_seed(seed), list(begun), TOKENS.index("<eom>")
    while len(tokens) < longest and tokens[-1] != end:
        batch = {"patches": torch.tensor([tokens])}
        shares = torch.softmax(model(batch).logits["token"][0, -1] / temperature, dim=0)
        tokens.append(int(torch.multinomial(shares, 1, generator=generator)))
    return tokens


@torch.no_grad()
def notes(model: MelodyModel, number: int, seed: int, temperature: float = 0.7) -> list[int]:
    """A melody of exactly so many tuples of one note each, for a voice, as tokens; drawn by the seed alone.

    Each token is drawn among those that may stand there, by the last `WINDOW` tuples: the model has seen no melody
    much longer.
    """
    generator, begin, end = torch.Generator().manual_seed(seed), *(NUMBER[mark] for mark in WRAPPERS["melody"])
    first, times = NUMBER["<0>"], torch.tensor([decode(number) for number in range(BINS)])
    allowed = torch.zeros(3, len(TOKENS), dtype=torch.bool)  # pitch, duration, rest
    allowed[0, [NUMBER[pitch] for pitch in PITCHES[VOICE[0] : VOICE[1] + 1]]] = True
    allowed[1, first:] = times >= SHORTEST
    allowed[2, first:] = times >= 0
    drawn: list[int] = []
    for place in range(3 * number):
        start = max(0, place // 3 - WINDOW) * 3
        scores = model({"patches": torch.tensor([[begin, *drawn[start:]]])}).logits["token"][0, -1]
        shares = torch.softmax(scores.masked_fill(~allowed[place % 3], -torch.inf) / temperature, dim=0)
        drawn.append(int(torch.multinomial(shares, 1, generator=generator)))
    return [begin, *drawn, end]
