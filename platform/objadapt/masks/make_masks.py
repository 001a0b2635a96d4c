"""Object masks of whole videos: Ray Data deals videos to backbone actors, which write them (folder.py) themselves.

Frames are read in pieces. What stays in memory of a video is the slots' attention at the resolution of patches; masks
of full size are made of it frame by frame at the end, since which slots are background is only known then.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import ray
import torch
from torch import Tensor

from .. import config
from ..backbone.weights import hash_tensors
from ..data.davis import write_ids
from ..data.probe import DecodeError
from ..errors import InputError
from ..evaluation.crf import refine
from ..evaluation.mask_baselines import grid_masks, kmeans_masks
from ..evaluation.object_masks import (
    MAX_IDS,
    background_slots,
    encode_patches,
    id_maps,
    patch_grid,
    segment_video,
    upsample,
)
from ..methods.method import Grouping
from ..methods.video_grouping import VideoGrouping
from ..pipeline.apart import apart
from ..pipeline.automatic import place_encoders
from ..pipeline.decoding import fetch
from ..pipeline.gpu_check import check_gpus
from ..pipeline.placement import check_placement
from ..pipeline.positions import positions
from ..pipeline.precision import precise
from ..pipeline.quarantine import decode_reason, encode_reason
from ..pipeline.stream import Encode, configure_data_context, decode_task, encoder_pool
from .folder import PICTURES, Extras, is_done, open_record, source_bytes, write_record, write_soft
from .pictures import write_pictures
from .whole_videos import Frames, Video

SOFT_BYTES = 2**26  # soft masks of full size that are in memory at a time
KMEANS_BYTES = 2**33  # features of one video, where they are needed all at once


@dataclass(frozen=True)
class Masks:
    """How masks are made of what groups the patches."""

    resolution: int  # pixels of the short side, brought to whole patches
    stride: int = 1  # every n-th frame
    flip: bool = False  # average with the mirrored frame
    drop_background: int = 0  # slots that cover most of the frame border become 0
    crf: bool = False  # refine the masks of full size by the picture (evaluation/crf.py)


@dataclass(frozen=True)
class Baseline:
    """In the place of slot attention: see `evaluation.mask_baselines`."""

    kind: Literal["kmeans", "grid"]
    num_slots: int
    seed: int


class MakeMasks(Encode):
    """Backbone actor: a video's number -> its masks on disk; a row with what was written, or the reason why not."""

    def __init__(  # noqa: PLR0913 -- all that Ray hands to the actor
        self,
        backbone: config.Backbone,
        stream: config.Stream,
        grouping: ray.ObjectRef,
        masks: Masks,
        out: str,
        videos: ray.ObjectRef,
        extras: Extras,
        show: Callable[[str, int, int, str], None] | None,
    ):
        super().__init__(backbone, stream.encoder_cpus, stream.encoder_gpus)
        self.grouping = fetch(grouping)
        if isinstance(self.grouping, Grouping):
            self.grouping.to(next(self.encoder.parameters()).device).eval()
        self.num_slots = self.grouping.num_slots
        self.masks, self.out, self.videos, self.extras, self.show = masks, Path(out), videos, extras, show

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        video, reason = fetch(self.videos)[int(block["id"][0])], ("", "")
        written = (0, 0, 0, np.zeros(self.num_slots, bool))
        try:
            written = self.write(video)
        except DecodeError as error:
            reason = error.stage, error.reason
        except InputError as error:
            reason = "masks", str(error)
        except MemoryError:
            reason = "masks", "out of memory"
        columns = {
            name: np.array([value])
            for name, value in zip(("frames", "height", "width", "background"), written, strict=False)
        }
        return {"id": block["id"], "reason": encode_reason(*reason)[None], **columns}

    def write(self, video: Video) -> tuple[int, int, int, np.ndarray]:
        """Masks of one video into its folder; -> T, H, W and, bool [K], the slots taken as background.

        Raises:
            DecodeError: the video cannot be read.
            InputError: the settings do not suit it.
        """
        frames, folder = Frames(video, self.masks.stride, decode=apart), self.out / video.name
        attention = self.attention(frames)  # [T, K, h, w]
        dropped = background_slots(attention, self.masks.drop_background)
        kept = [slot for slot in range(self.num_slots) if slot not in dropped]
        folder.mkdir(parents=True, exist_ok=True)
        at_once = max(1, SOFT_BYTES // (4 * self.num_slots * frames.height * frames.width))
        for start in range(0, len(frames), at_once):
            names = frames.names[start : start + at_once]
            soft = upsample(attention[start : start + at_once], (frames.height, frames.width))  # [b, K, H, W]
            if self.masks.crf:
                soft = refine(frames.read(list(range(start, start + len(names)))), soft)
            if self.extras.soft:
                for name, one in zip(names, soft, strict=True):
                    write_soft(folder / f"{name}.npz", one[kept], kept)
            for name, ids in zip(names, id_maps(soft, dropped), strict=True):
                write_ids(folder / f"{name}.png", ids)  # last: who finds it finds the soft mask, too
        if self.extras.pictures:
            write_pictures(self.out / PICTURES, frames, folder, attention)
        return len(frames), frames.height, frames.width, np.isin(np.arange(self.num_slots), dropped)

    def attention(self, frames: Frames) -> Tensor:
        """float32 [T, K, h, w] of all frames: A of the last iteration, or a baseline's masks in its place."""
        encoder, grouping, masks = self.encoder, self.grouping, self.masks
        grid = patch_grid(frames.height, frames.width, masks.resolution, encoder.patch_size)
        whole = isinstance(grouping, VideoGrouping) or isinstance(grouping, Baseline) and grouping.kind == "kmeans"
        held = len(frames) * math.prod(grid) * encoder.joint_width * 6  # float16, and float32 for the clustering
        if whole and held > KMEANS_BYTES:
            what = "method.name: clustering" if isinstance(grouping, VideoGrouping) else "--baseline: k-means"
            raise InputError(f"{what} needs {held / 1e9:.0f} GB for {len(frames)} frames; use a larger --stride")
        if isinstance(grouping, Grouping):
            return segment_video(encoder, grouping, self._told(frames), masks.resolution, masks.flip)
        if grouping.kind == "grid":
            return grid_masks(grouping.num_slots, *grid, len(frames))
        patches = torch.cat([encode_patches(encoder, piece, grid) for piece in self._told(frames)])  # [T, N, J]
        return kmeans_masks(patches, grouping.num_slots, grouping.seed).unflatten(2, grid)

    def _told(self, frames: Frames):
        """The pieces of a video, with their progress."""
        done = 0
        for piece in frames.pieces():
            yield piece
            done += len(piece)
            if self.show:
                self.show(f"segment {frames.video.name}", done, len(frames), "frames")


def segment_sequences(  # noqa: PLR0913 -- what a job asks for, each of another kind
    videos: list[Video],
    source: str,
    grouping: Grouping | Baseline,
    backbone: config.Backbone,
    backbone_hash: str,
    masks: Masks,
    out: str | Path,
    stream: config.Stream,
    extras: Extras = Extras(),  # noqa: B008 -- frozen
    show: Callable[[str, int, int, str], None] | None = None,
) -> dict:
    """Write the masks of videos, those that are there already left alone.

    Args:
        source: where the videos are from; part of the settings, since other videos may have the same names.
        grouping: a trained adapter's `slot_attention`, or a baseline.
        backbone, backbone_hash: the frozen encoder, and the hash of the weights that it was trained with.
        out: folder for the masks, on storage that all nodes share.
        stream: placement of the backbone actors.
        extras: soft masks and pictures; those that are missing are made.
        show: may be pickled; called with (what, done, in all, note): of one video its frames, by the actor, of several
            the videos.

    Returns:
        `videos` (name -> frames, height, width, ids of slots taken as background), `skipped` (those that were there
        before), `quarantined` (name, stage, reason of each video that could not be segmented), `settings`.

    Raises:
        InputError: `out` holds something else or masks made with other settings, too many slots, the cluster cannot
            place the actors, or no video could be segmented.
    """
    out = Path(out).absolute()  # Ray's workers have another working directory
    stream = place_encoders(stream)
    backbone = precise(backbone, stream)
    settings = _settings(source, grouping, backbone, backbone_hash, masks)
    record = open_record(out, settings)
    done = {
        video.name for video in videos if is_done(out, video, record["videos"].get(video.name), masks.stride, extras)
    }
    todo, quarantined, ended = [video for video in videos if video.name not in done], [], 0
    if todo:
        check_placement(stream, workers=0, encoders=stream.encoders)
        check_gpus(stream.encoder_gpus, backbone.precision)
        configure_data_context()
        pool = encoder_pool(stream) | {"compute": ray.data.ActorPoolStrategy(size=min(stream.encoders, len(todo)))}
        numbers = positions([(number, 1) for number in range(len(todo))], decode_task(stream))
        frames_shown = show if len(todo) == 1 else None  # of several videos it is counted how many are done
        arguments = (backbone, stream, ray.put(grouping), masks, str(out), ray.put(todo), extras, frames_shown)
        rows = numbers.map_batches(MakeMasks, fn_constructor_args=arguments, batch_size=None, **pool)
        for row in rows.iter_batches(batch_size=None, batch_format="numpy"):
            video, (stage, reason) = todo[int(row["id"][0])], decode_reason(row["reason"][0])
            name = video.name
            if reason:
                quarantined.append({"name": name, "stage": stage, "reason": reason})
                record["videos"].pop(name, None)  # it was readable once
            else:
                facts = {"bytes": source_bytes(video)}
                facts |= {key: int(row[key][0]) for key in ("frames", "height", "width")}
                record["videos"][name] = facts | {"background": (np.flatnonzero(row["background"][0]) + 1).tolist()}
            write_record(out, record)
            ended += 1
            if show and len(todo) > 1:
                show("segment videos", ended, len(todo), name)
    if len(quarantined) == len(videos):
        first = "{name}: {stage}: {reason}".format_map(quarantined[0])
        raise InputError(f"{source}: no video could be segmented; the first, {first}")
    written = {video.name: record["videos"][video.name] for video in videos if video.name in record["videos"]}
    return {"settings": settings, "videos": written, "skipped": sorted(done), "quarantined": quarantined}


def _settings(
    source: str, grouping: Grouping | Baseline, backbone: config.Backbone, backbone_hash: str, masks: Masks
) -> dict:
    """Whatever changes the masks."""
    slots = grouping.num_slots
    if slots > MAX_IDS:
        raise InputError(f"--slots: {slots} are more than the {MAX_IDS} ids of an indexed PNG; use fewer")
    if not 0 <= masks.drop_background < slots:
        raise InputError(f"--drop-background: {masks.drop_background} of {slots} slots; use 0 .. {slots - 1}")
    if isinstance(grouping, VideoGrouping):
        if masks.flip:
            raise InputError("--flip: averages masks slot by slot; this method finds its segments anew, leave it out")
        made = {"masks": "segments", "found": grouping.described, "weights": hash_tensors(grouping.state_dict())}
    elif isinstance(grouping, Grouping):
        made = {"masks": "slots", "iterations": grouping.iterations, "weights": hash_tensors(grouping.state_dict())}
    else:
        made = {"masks": grouping.kind, "seed": grouping.seed}
    inputs = {"backbone": backbone_hash, "precision": backbone.precision, "source": source}
    inputs |= {"pruning": backbone.pruning} if backbone.pruning else {}  # masks made before there was any stay
    return made | {"slots": slots} | asdict(masks) | inputs
