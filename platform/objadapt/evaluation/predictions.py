"""Anybody's masks, read from files (prediction_files.py) and scored against a DAVIS folder, one sequence at a time,
frame by frame.
"""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..data.davis import Sequence, read_ids
from ..errors import InputError
from .prediction_files import prediction_file, scored_frames
from .segmentation import (
    MAX_PROPOSALS,
    MAX_SOFT_PROPOSALS,
    object_count,
    object_rows,
    score_sequence,
    score_soft_sequence,
)


def read_masks(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Soft masks [P, H, W] of a frame of `size` (H, W); InputError where the file holds something else."""
    wanted = f"give key 'masks', float16 [P, {size[0]}, {size[1]}] in 0 .. 1"
    try:
        with np.load(path) as archive:  # an .npy file has no `with`
            masks = archive["masks"]
    except (
        OSError,
        KeyError,
        ValueError,
        EOFError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(f"{path}: no readable soft masks ({error or type(error).__name__}); {wanted}") from None
    if masks.ndim != 3 or masks.shape[1:] != size or masks.dtype.kind not in "fb":
        raise InputError(f"{path}: {masks.dtype} {list(masks.shape)}; {wanted}")
    if len(masks) > MAX_SOFT_PROPOSALS:
        raise InputError(f"{path}: {len(masks)} masks, per_frame allows {MAX_SOFT_PROPOSALS}; leave some out")
    if masks.size and not (masks.min() >= 0 and masks.max() <= 1):  # also where there is a nan
        raise InputError(f"{path}: values from {masks.min()} to {masks.max()}; {wanted}")
    return masks


def score_predictions(sequence: Sequence, predictions: Path, protocol: str) -> list[dict]:
    """Rows of a sequence's objects, read frame by frame, so that its length does not matter.

    Raises:
        InputError: a file that cannot be read, of another size, or with more ids than the protocol allows.
    """
    folder, scored = predictions / sequence.name, set(scored_frames(sequence, protocol))
    first = read_ids(sequence.annotations[0])
    allowed = object_count(first) if protocol == "official_semi_supervised" else MAX_PROPOSALS

    def checked(path: Path) -> np.ndarray:
        ids = read_ids(path)
        if ids.shape != first.shape:
            size, wanted = (f"{array.shape[1]} x {array.shape[0]}" for array in (ids, first))
            raise InputError(
                f"{path}: {size} pixels, {sequence.annotations[0]} has {wanted};"
                " write masks at the size of the annotations (nearest neighbour keeps ids)"
            )
        return ids

    def proposals() -> Iterator[np.ndarray]:
        for annotation in sequence.annotations:
            path = prediction_file(folder, annotation, protocol)
            if annotation not in scored:
                yield np.zeros_like(first)
                continue
            ids = checked(path)
            if ids.max() > allowed:
                raise InputError(f"{path}: id {ids.max()}, {protocol} allows ids up to {allowed} here; leave masks out")
            yield ids

    truth = map(checked, sequence.annotations)
    if protocol == "per_frame":
        soft = (
            read_masks(prediction_file(folder, annotation, protocol), first.shape)
            for annotation in sequence.annotations
        )
        return object_rows(sequence.name, score_soft_sequence(truth, soft))
    return object_rows(sequence.name, score_sequence(truth, proposals(), protocol))
