"""What a trained representation knows: retrieval, and on Object Actions probes of motion, scene and colours.

    python -m objadapt_relatives.representation outputs/runs/RUN
    python -m objadapt_relatives.representation outputs/runs/RUN --json found.json stream.cache=outputs/features

`PYTHONPATH=platform` in a checkout. A clip is its vector `Output.video`; under `frozen_...` it is the mean cls token of
the frozen backbone. Training clips are seen as the training saw them first, validation clips in their first test view;
both come from the cache, or are encoded once and held.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from objadapt import job
from objadapt.config_file import override, validate
from objadapt.errors import InputError
from objadapt.methods.method import Method
from objadapt.pipeline.source import Source
from objadapt.runs.names import checkpoint_given
from objadapt.training.state import read_state

from .probes import colours_probe, motion_probe, recall_at, scene_probe, toy_options
from .stored_clips import ONE_VIEW, stored_clips

AT = (1, 5, 10)
FROZEN = "frozen_"  # before the name of what the backbone's mean cls token reaches


def main():
    options = job.parser(__doc__)
    options.add_argument("checkpoint", help="a run's name, its folder, or a checkpoint's folder")
    job.add_overrides(options, "changes to the config it was trained with")
    job.add_json_option(options, "what was found")
    arguments = options.parse_intermixed_args()
    job.check_overrides(arguments.overrides)
    folder = checkpoint_given(arguments.checkpoint, arguments.overrides)
    found = represent(folder, arguments.overrides)
    for name, value in found.items():
        print(f"{name:<22} {value if isinstance(value, int) else f'{100 * value:.1f} %'}")
    job.write_json(arguments.json, found)


def represent(checkpoint_folder: Path, overrides: list[str]) -> dict:
    """Retrieval of clips of the first head's class, and the probes where the data are Object Actions.

    Raises:
        InputError: not a checkpoint, other data or backbone, no labelled clips, or a method without clip vectors.
    """
    from objadapt.data.manifest import build_manifest
    from objadapt.plan import plan
    from objadapt.training import checkpoint

    state = read_state(checkpoint_folder)
    config = validate(override(state.config, [*overrides, *ONE_VIEW]))
    job.join_cluster()
    planned = plan(config, build_manifest(config.data, config.seed))
    if planned.takes_frames:
        raise InputError("checkpoint: its method takes frames; this command looks at methods on frozen features")
    if planned.backbone_hash != state.backbone_hash:
        raise InputError(f"backbone: its weights or normalisation are not those of {checkpoint_folder}; give the same")
    method = planned.method()
    checkpoint.load(checkpoint_folder, method)
    source, schedule = stored_clips(planned)
    clip_ids = planned.manifest.table["clip_id"].tolist()
    labels, made = planned.labels[:, 0], toy_options(config.data.root)
    found: dict[str, int | float] = {}
    for name, of_clips in (("", partial(vector_of, method.eval())), (FROZEN, mean_cls)):
        (train, train_rows), (val, val_rows) = (vectors(of_clips, source, segment) for segment in schedule.segments)
        if not name:
            found |= {"training_clips": len(train), "validation_clips": len(val)}
        recalls = recall_at(train, labels[train_rows], val, labels[val_rows], AT)
        found |= {f"{name}recall_at_{k}": share for k, share in zip(AT, recalls, strict=True)}
        if made:
            ids = [[clip_ids[row] for row in rows] for rows in (train_rows, val_rows)]
            found[f"{name}motion_probe"] = motion_probe(made, train, ids[0], val, ids[1])
            found[f"{name}scene_probe"] = scene_probe(made, train, ids[0], val, ids[1])
            found[f"{name}colours_probe"] = colours_probe(made, train, ids[0], val, ids[1])
    return found


def vector_of(method: Method, batch: dict) -> torch.Tensor:
    """`Output.video` [B, d] of a batch.

    Raises:
        InputError: the method has none.
    """
    video = method({"patches": batch["patches"], "cls": batch["cls"]}).video
    if video is None:
        raise InputError("checkpoint: its method gives no vector of a clip")
    return video


def mean_cls(batch: dict) -> torch.Tensor:
    """What the backbone gives without any training: the mean of the frames' cls tokens [B, J]."""
    return batch["cls"].float().mean(dim=1)


@torch.no_grad()
def vectors(of_clips: Callable[[dict], torch.Tensor], source: Source, segment) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 [n, d] of the valid clips of a segment, and their rows of the manifest int64 [n]."""
    found, rows = [], []
    for batch in source.batches(segment):
        found.append(of_clips(batch)[batch["valid"]].float().numpy())
        rows.append(batch["row"][batch["valid"]].numpy())
    return np.concatenate(found), np.concatenate(rows)


if __name__ == "__main__":
    job.run(main)
