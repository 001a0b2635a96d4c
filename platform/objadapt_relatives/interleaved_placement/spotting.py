"""Behind which sentences of a text a picture belongs."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits


class Spotter(nn.Module):
    """A small transformer over the embeddings of a text's sentences.

    Args:
        width: of the embeddings.
        longest: sentences that a text may have.
    """

    def __init__(self, width: int, inner: int = 64, heads: int = 4, layers: int = 2, longest: int = 64):
        super().__init__()
        self.project = nn.Linear(width, inner)
        self.place = nn.Parameter(torch.randn(longest, inner) * 0.02)
        layer = nn.TransformerEncoderLayer(inner, heads, 4 * inner, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(inner), enable_nested_tensor=False)
        self.out = nn.Linear(inner, 1)

    def forward(self, sentences: Tensor, present: Tensor) -> Tensor:
        """Logits [B, S] of a picture behind each sentence.

        Args:
            sentences: [B, S, width], padded.
            present: bool [B, S], False for padding.
        """
        states = self.project(sentences) + self.place[: sentences.shape[1]]
        return self.out(self.layers(states, src_key_padding_mask=~present))[..., 0]


def spotting_loss(logits: Tensor, pictured: Tensor, present: Tensor) -> Tensor:
    """Binary cross entropy over the sentences that are there; `pictured` bool [B, S]."""
    return binary_cross_entropy_with_logits(logits[present], pictured[present].to(logits.dtype))


def f1(chosen: Tensor, pictured: Tensor) -> float:
    """2 right / (chosen + true) over all sentences, bool tensors of one shape; 1 where both are empty."""
    both = int(chosen.sum() + pictured.sum())
    return 2 * int((chosen & pictured).sum()) / both if both else 1.0


def evenly(number: int, pictures: int) -> Tensor:
    """bool [number]: a picture behind every so many sentences, what spotting is compared with."""
    places = ((torch.arange(pictures) + 0.5) * number / pictures).long()
    return torch.zeros(number, dtype=torch.bool).index_fill(0, places, True)
