"""Which of the candidates: retrieval by CLIP embeddings, then a choice that knows the text and the pictures so far."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

CANDIDATES = 4  # among which the published system chooses


def retrieve(captions: Tensor, pictures: Tensor, number: int = CANDIDATES) -> Tensor:
    """Numbers of the pictures [G, E] of the greatest cosine with each caption [Q, E], best first: [Q, number].

    ValueError where there are fewer pictures.
    """
    if number > len(pictures):
        raise ValueError(f"pictures: {len(pictures)}, fewer than the {number} candidates")
    return (normalize(captions, dim=-1) @ normalize(pictures, dim=-1).T).topk(number, dim=1).indices


class Chooser(nn.Module):
    """Scores candidates by what came before: sentences and chosen pictures in their order.

    Args:
        width: of sentences' and pictures' embeddings.
        longest: items of the context; their places are counted from its end.
    """

    def __init__(self, width: int, inner: int = 64, heads: int = 4, layers: int = 2, longest: int = 64):
        super().__init__()
        self.sentence, self.picture = nn.Linear(width, inner), nn.Linear(width, inner)
        self.place = nn.Parameter(torch.randn(longest, inner) * 0.02)
        layer = nn.TransformerEncoderLayer(inner, heads, 4 * inner, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(inner), enable_nested_tensor=False)
        self.out = nn.Linear(inner, 1)

    def forward(self, context: Tensor, pictured: Tensor, candidates: Tensor) -> Tensor:
        """Scores [B, A] of the candidates; each is read behind the context and apart from the others.

        Args:
            context: [B, L, width]: sentences and pictures, the last sentence being the one that wants a picture.
            pictured: bool [B, L], which of them are pictures.
            candidates: [B, A, width].
        """
        seen = torch.where(pictured[..., None], self.picture(context), self.sentence(context))  # [B, L, d]
        batch, number = candidates.shape[:2]
        seen = (seen + self.place[-context.shape[1] :]).repeat_interleave(number, dim=0)  # [B A, L, d]
        asked = self.picture(candidates).flatten(0, 1)[:, None]  # [B A, 1, d]
        return self.out(self.layers(torch.cat([seen, asked], dim=1))[:, -1]).view(batch, number)
