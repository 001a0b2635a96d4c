"""Two frames' tokens in, K layers out: an opacity at each patch and an affine motion each; together they are the flow.

Only the layers' sum is compared with a flow. So an opacity becomes the mask of what moves as one.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..cross_attention import CrossAttentionBlock
from ..video_grouping import VideoGrouping

MATCH = 20.0  # how sharply, at first, a token looks for its like in the other frame: cosines times this
RIDGE = 1e-3  # patches' worth of a motion of nothing in each fit
PAIRS = 32  # of a video that are looked at at a time


@dataclass
class Layers:
    """What a frame is made of on the way to another: b pairs, K layers, N patches."""

    opacity: Tensor  # [b, K, N], sums to 1 over K
    motion: Tensor  # [b, K, 2, 3]: (x, y) in patches is motion @ (1, x, y), with places in [-1, 1]
    objects: Tensor  # [b, K, d]
    flow: Tensor  # [b, N, 2], (x, y) in patches


def places(grid: tuple[int, int], like: Tensor) -> Tensor:
    """Patch centres [N, 2], (x, y) in [-1, 1], row by row."""
    y, x = ((torch.arange(side, device=like.device) + 0.5) * 2 / side - 1 for side in grid)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1).to(like.dtype)


def compose(opacity: Tensor, motion: Tensor, grid: tuple[int, int]) -> Tensor:
    """Opacities [b, K, N] and motions [b, K, 2, 3] -> the flow [b, N, 2] in patches: each layer as far as it is
    opaque.
    """
    return torch.einsum("bkn,bkci,ni->bnc", opacity, motion, _affine(grid, opacity))


def best_motion(opacity: Tensor, flow: Tensor, grid: tuple[int, int]) -> Tensor:
    """The affine motion [b, K, 2, 3] of each layer that fits a flow [b, N, 2] best, by least squares weighted by its
    opacity [b, K, N]; of a layer that is nowhere, none.
    """
    at = _affine(grid, opacity)
    weighted = torch.einsum("bkn,ni->bkin", opacity, at)
    products = weighted @ at + RIDGE * torch.eye(3, device=at.device, dtype=at.dtype)  # [b, K, 3, 3]
    return torch.linalg.solve(products, weighted @ flow[:, None]).transpose(2, 3)


def _affine(grid: tuple[int, int], like: Tensor) -> Tensor:
    """(1, x, y) of each patch, [N, 3]."""
    xy = places(grid, like)
    return torch.cat([torch.ones_like(xy[:, :1]), xy], dim=1)


class LayeredFlow(VideoGrouping):
    """The network. Masks of a video are the opacities of each frame and its next one; no flow goes in.

    Args:
        layers: K.
        joint_width: J, width of the patch tokens.
        width: d.
        heads: attention heads; d is a multiple.
    """

    def __init__(self, layers: int, joint_width: int, width: int, heads: int):
        super().__init__()
        self.num_slots = layers
        self.projection = nn.Sequential(nn.LayerNorm(joint_width), nn.Linear(joint_width, width))
        self.match = nn.Linear(joint_width, width, bias=False)  # what is compared across frames
        self.sharpness = nn.Parameter(torch.tensor(math.log(MATCH)))
        self.displacement = nn.Linear(3, width)
        self.across, self.read = (CrossAttentionBlock(width, heads, nn.GELU(), 0.0) for _ in range(2))
        self.queries = nn.Parameter(torch.randn(layers, width))
        self.norm = nn.LayerNorm(width)
        self.masks = nn.Linear(width, width)
        self.motion = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 6))

    def forward(self, first: Tensor, second: Tensor, grid: tuple[int, int]) -> Layers:
        """Layers of the first frames on their way to the second.

        Args:
            first, second: [b, N, J], tokens of two frames of a video, in any order of time.
            grid: (h, w), N = h * w.
        """
        here, there = self.projection(first), self.projection(second)  # [b, N, d]
        tokens = self.across(here + self.displacement(self.displaced(first, second, grid)), there)
        queries = self.read(self.queries.expand(len(tokens), -1, -1), tokens)  # [b, K, d]
        tokens = self.norm(tokens)
        opacity = (queries @ self.masks(tokens).transpose(1, 2)).div(tokens.shape[2] ** 0.5).softmax(dim=1)
        share = opacity / opacity.sum(dim=2, keepdim=True).clamp(min=1e-6)
        motion = self.motion(torch.cat([queries, share @ tokens], dim=2)).unflatten(2, (2, 3))  # [b, K, 2, 3]
        return Layers(opacity, motion, queries, compose(opacity, motion, grid))

    def displaced(self, first: Tensor, second: Tensor, grid: tuple[int, int]) -> Tensor:
        """Where in the second frame each token's like is, less where it is itself; and how sure that is: [b, N, 3].

        (x, y) in patches, and the greatest share that one token has. It is of tokens alone.
        """
        # what all tokens of a frame have in common would make them all alike
        one, other = (normalize(self.match(part - part.mean(dim=1, keepdim=True)), dim=2) for part in (first, second))
        shares = (one @ other.transpose(1, 2) * self.sharpness.exp()).softmax(dim=2)  # [b, N, N]
        xy = places(grid, like=first) * first.new_tensor([grid[1] / 2, grid[0] / 2])
        return torch.cat([shares @ xy - xy, shares.amax(dim=2, keepdim=True)], dim=2)

    @torch.no_grad()
    def video_masks(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """See `VideoGrouping.video_masks`: layer k is mask k. The last frame is paired with the one before it."""
        following = torch.arange(1, len(patches) + 1).clamp(max=len(patches) - 1)
        following[-1] = max(0, len(patches) - 2)
        parts = []
        for frames in torch.arange(len(patches)).split(PAIRS):
            pair = (patches[one].to(self.queries) for one in (frames, following[frames]))
            parts.append(self(*pair, grid).opacity.float().cpu())
        return torch.cat(parts)

    @property
    def described(self) -> dict:
        """See `VideoGrouping.described`: nothing beside the weights decides."""
        return {"layers": self.num_slots}
