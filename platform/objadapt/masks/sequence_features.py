"""Patch tokens of whole annotated sequences, encoded once by backbone actors for every run that is tested on them.

FOLDER/<sequence>.npy   float16 [T, N, J], frames at their full aspect ratio
FOLDER/grid.json        sequence -> [h, w], N = h * w
"""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import ray
import torch

from .. import config
from ..data.davis import Sequence
from ..data.probe import DecodeError
from ..errors import InputError
from ..evaluation.object_masks import encode_patches, patch_grid
from ..files import write_whole
from ..pipeline.automatic import place_encoders
from ..pipeline.decoding import fetch
from ..pipeline.gpu_check import check_gpus
from ..pipeline.placement import check_placement
from ..pipeline.positions import positions
from ..pipeline.quarantine import decode_reason, encode_reason
from ..pipeline.stream import Encode, configure_data_context, decode_task, encoder_pool
from .whole_videos import Frames, Video


class EncodeSequence(Encode):
    """Backbone actor: a sequence's number -> its tokens on disk; a row with the patch grid, or the reason why not."""

    def __init__(
        self, backbone: config.Backbone, stream: config.Stream, sequences: ray.ObjectRef, resolution: int, folder: str
    ):
        super().__init__(backbone, stream.encoder_cpus, stream.encoder_gpus)
        self.sequences, self.resolution, self.folder = sequences, resolution, Path(folder)

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sequence, grid, reason = fetch(self.sequences)[int(block["id"][0])], (0, 0), ("", "")
        try:
            frames = Frames(Video(sequence.name, pictures=tuple(map(str, sequence.frames))))
            grid = patch_grid(frames.height, frames.width, self.resolution, self.encoder.patch_size)
            patches = torch.cat([encode_patches(self.encoder, piece, grid) for piece in frames.pieces()])  # [T, N, J]
            buffer = io.BytesIO()
            np.save(buffer, patches.numpy())
            write_whole(self.folder / f"{sequence.name}.npy", buffer.getbuffer())
        except DecodeError as error:
            reason = error.stage, error.reason
        return {"id": block["id"], "grid": np.array([grid]), "reason": encode_reason(*reason)[None]}


def encode_sequences(
    sequences: list[Sequence],
    backbone: config.Backbone,
    resolution: int,
    folder: Path,
    stream: config.Stream,
    show: Callable[[str, int, int, str], None] | None = None,
) -> None:
    """Write the tokens that a folder lacks.

    Args:
        resolution: pixels of a frame's short side.
        folder: on storage that all nodes share.
        stream: placement of the actors.

    Raises:
        InputError: a frame cannot be read, or the cluster cannot place the actors.
    """
    grids = read_grids(folder)
    todo = [one for one in sequences if one.name not in grids]
    if not todo:
        return
    folder.mkdir(parents=True, exist_ok=True)
    stream = place_encoders(stream)
    check_placement(stream, workers=0, encoders=stream.encoders)
    check_gpus(stream.encoder_gpus, backbone.precision)
    configure_data_context()
    arguments = (backbone, stream, ray.put(todo), resolution, str(folder))
    numbers = positions([(number, 1) for number in range(len(todo))], decode_task(stream))
    pool = encoder_pool(stream) | {"compute": ray.data.ActorPoolStrategy(size=min(stream.encoders, len(todo)))}
    rows = numbers.map_batches(EncodeSequence, fn_constructor_args=arguments, batch_size=None, **pool)
    for done, row in enumerate(rows.iter_batches(batch_size=None, batch_format="numpy"), 1):
        name, (_, reason) = todo[int(row["id"][0])].name, decode_reason(row["reason"][0])
        if reason:
            raise InputError(f"{name}: {reason}; every frame of a sequence is needed to score it")
        grids[name] = [int(side) for side in row["grid"][0]]
        write_whole(folder / "grid.json", json.dumps(grids) + "\n")
        if show:
            show("encode sequences", done, len(todo), name)


def read_grids(folder: Path) -> dict[str, list[int]]:
    """Sequence -> patches [h, w] of those that are written, and not deleted since."""
    path = folder / "grid.json"
    grids = json.loads(path.read_text()) if path.exists() else {}
    return {name: grid for name, grid in grids.items() if (folder / f"{name}.npy").exists()}
