"""SSL-UVOS (arXiv 2311.17893): one block over frozen tokens of a few frames, and its attention clustered into segments.

It learns without labels and has no classifier. README.md says what departs from the published system.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...config_discovery import SSLUVOS
from ..distributed import sum_over_workers
from ..method import Method, Output
from .attention_clusters import AttentionClusters
from .consistency import drawn_queries, motion_loss, rows_of, semantic_loss, share_of
from .spatio_temporal import SpatioTemporalBlock, spread


@dataclass
class Correspondence(Output):
    """What the losses read: F frames of each clip, M = F N."""

    outputs: Tensor | None = None  # [B, F, N, J], of the block
    rows: Tensor | None = None  # [B, M, M], attention, mean over heads


class SSLUVOSMethod(Method):
    """The spatio-temporal block, its losses and what clusters its attention.

    Args:
        settings: block, losses and clustering.
        joint_width: J, width of `patches`.
        frames: T of a clip, of which `settings.frames` are looked at.
        seed: with the step, what query patches are drawn by.
    """

    splits_batches = True  # each clip's loss is its own, and its queries are drawn by its row

    def __init__(self, settings: SSLUVOS, joint_width: int, frames: int, seed: int = 0):
        super().__init__()
        self.settings, self.seed = settings, seed
        self.places = spread(frames, settings.frames)
        block = SpatioTemporalBlock(joint_width, settings.heads, settings.mlp_ratio, settings.start)
        self.clusters = AttentionClusters(settings, block)

    @property
    def grouping(self) -> AttentionClusters:
        """The clustering of a whole video."""
        return self.clusters

    def forward(self, batch: dict[str, Tensor]) -> Correspondence:
        """Correspondence between the frames of `batch["patches"]` [B, T, N, J]."""
        patches = batch["patches"].to(self.dtype)[:, self.places]  # [B, F, N, J]
        outputs, rows = self.clusters.block(patches.flatten(1, 2))
        return Correspondence({}, outputs=outputs.unflatten(1, patches.shape[1:3]), rows=rows)

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Mean over clips of "semantic" and "motion", and their weighted "total"."""
        assert isinstance(output, Correspondence) and output.outputs is not None and output.rows is not None
        settings, valid = self.settings.losses, batch["valid"]
        with torch.autocast(valid.device.type, enabled=False):
            outputs, attention = output.outputs.to(self.dtype), output.rows.to(self.dtype)
            frames, patches = outputs.shape[1:3]
            queries = drawn_queries(batch["row"], step, self.seed, frames, patches, settings.queries)
            rows = rows_of(attention, queries)
            near, far = share_of(patches, settings.semantic_near), share_of(patches, settings.semantic_far)
            semantic = semantic_loss(outputs, rows, queries, near, far, (settings.least, settings.greatest))
            near, far = share_of(patches, settings.motion_near), share_of(patches, settings.motion_far)
            motion = motion_loss(attention, rows, near, far, settings.margin)
            clips = (sum_over_workers(valid.sum()) if counts is None else counts["valid"]).clamp(min=1)
            terms = {
                name: torch.where(valid, of_clips, 0).sum() / clips
                for name, of_clips in (("semantic", semantic), ("motion", motion))
            }
            total = settings.semantic * terms["semantic"] + settings.motion * terms["motion"]
            return {**terms, "total": total}
