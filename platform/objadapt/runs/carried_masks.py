"""Masks of first frames carried through sequences by features (evaluation/propagation.py), written and scored."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..data.davis import Sequence, read_ids, write_ids
from ..evaluation.object_masks import upsample
from ..evaluation.prediction_files import prediction_file
from ..evaluation.predictions import score_predictions
from ..evaluation.propagation import first_labels, propagate
from ..evaluation.segmentation import VOID, mean_scores, object_count
from ..masks.sequence_features import read_grids
from ..methods.video_grouping import VideoGrouping

PROTOCOL = "official_semi_supervised"
PLAIN = "plain"


def carry_masks(
    sequences: list[Sequence],
    tokens: Path,
    grouping: VideoGrouping | None,
    out: Path,
    show: Callable[[str, int, int, str], None] | None = None,
) -> dict:
    """Carry the first annotation of each sequence through it.

    Args:
        tokens: folder of `encode_sequences`.
        grouping: whose `features` are compared; None: the frozen tokens as they are.
        out: folder for `<sequence>/NNNNN.png`.

    Returns:
        `scores`: means over objects by `official_semi_supervised`, which leaves out the first and the last frame.
        `objects`: a row each.
    """
    grids, rows = read_grids(tokens), []
    for done, sequence in enumerate(sequences, 1):
        grid = tuple(grids[sequence.name])
        features = torch.from_numpy(np.load(tokens / f"{sequence.name}.npy"))  # [T, N, J]
        if grouping is not None:
            own = grouping.features(features, grid)
            assert own is not None, "the command refuses a method without features of its own"
            features = own
        ids = read_ids(sequence.annotations[0])
        ids = np.where(ids == VOID, 0, ids).astype(np.uint8)
        first = first_labels(torch.from_numpy(ids), object_count(ids), grid)
        labels = propagate(features, first, grid).unflatten(2, grid)  # [T, C, h, w]
        folder = out / sequence.name
        folder.mkdir(parents=True, exist_ok=True)
        for path, soft in zip(sequence.annotations, labels, strict=True):
            given = path == sequence.annotations[0]
            carried = ids if given else upsample(soft[None], ids.shape)[0].argmax(dim=0).byte().numpy()
            write_ids(prediction_file(folder, path, PROTOCOL), carried)
        rows += score_predictions(sequence, out, PROTOCOL)
        if show:
            show("carry masks", done, len(sequences), sequence.name)
    return {"scores": mean_scores(rows), "objects": rows}
