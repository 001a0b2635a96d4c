"""What a run will do: its config brought together with its data, its backbone and the nodes there are;
and its identity.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import ray

from .backbone import build_backbone
from .backbone.encoder import HALF, say_float32
from .backbone.pruning import check_pruning
from .config import Experiment, Stream
from .config_file import flat
from .config_methods import AnyMethod, Outside
from .config_where import AUTO
from .data.manifest import Manifest
from .errors import InputError
from .evaluation.cost import Cost, cost_of
from .identity import method_sources, version_of
from .methods.build import build_method, method_class, method_module, takes_frames
from .methods.method import Method
from .pipeline.automatic import place
from .pipeline.cache import cache_key
from .pipeline.cache_folder import Contents, backbone_named, cache_folders, precisions_there
from .pipeline.fitting import fit_features, fit_training
from .pipeline.precision import precision
from .pipeline.schedule import Schedule, clips_a_block
from .pipeline.source import clip_bytes
from .pipeline.stream import decoded_stream, feature_stream
from .run_folder import RUNS, WEIGHTS

MAX_BLOCK_BYTES = 64 * 2**20  # Ray Data splits blocks above 128 MiB, and a block must stay one worker's turn


@dataclass(frozen=True, eq=False)
class Plan:
    """A config brought together with its data and backbone; nothing has been decoded yet."""

    config: Experiment  # with the precision that the backbone computes in; its stream is as it was asked for
    manifest: Manifest
    joint_width: int
    crop: int  # side of the frames the backbone sees, pixels
    patch_tokens: int  # N at that size
    backbone_hash: str
    schedule: Schedule
    placed: Stream  # the config's, with a number in place of each "auto"
    fitted: tuple[str, ...] = ()  # what was chosen by the clips, a line each

    def __post_init__(self):
        training = self.config.training
        assert AUTO not in (training.epochs, training.batch_size), "a plan has numbers, of `fit_training`"

    @property
    def settings(self) -> Experiment:
        """The config as it is run here: with its stream placed."""
        return self.config.model_copy(update={"stream": self.placed})

    @property
    def takes_frames(self) -> bool:
        """Whether its method takes frames, so that there are no features of it to be stored."""
        return takes_frames(self.config.method)

    @property
    def flip(self) -> bool:
        """Whether training flips clips: the config's word, else the data set's."""
        return self.manifest.flip if self.config.transform.flip is None else self.config.transform.flip

    @property
    def labels(self) -> np.ndarray:
        """int64 [manifest rows, heads]; -1 = no label."""
        return self.manifest.table[list(self.manifest.classes)].to_numpy(np.int64)

    @cached_property
    def identity(self) -> str:
        """12 hex digits of everything that makes the result: config, clips, weights, and the method's sources."""
        parts = [
            self.config.content_hash(),
            self.manifest.content_hash(),
            self.backbone_hash,
            version_of(self.method_sources),
            str(self.flip),
            *_checkpoints_named(self.config.method),
        ]
        return hashlib.sha256("-".join(parts).encode()).hexdigest()[:12]

    @property
    def method_sources(self) -> dict[str, str]:
        """Module -> digest of the sources that decide what is learnt (identity.py)."""
        modules = [method_module(self.config.method), "objadapt.training.loop"]
        if self.takes_frames:  # the ViT's own code runs inside the training
            timm = self.config.backbone.library == "timm"
            modules.append("objadapt.backbone.timm_vit" if timm else "objadapt.backbone.open_clip_vit")
        if self.config.changes_objective:
            modules.append("objadapt.training.objective")
        if self.config.training.ema:
            modules.append("objadapt.training.average")
        return method_sources(tuple(modules))

    @property
    def folder(self) -> Path:
        """The run's folder under `config.output`."""
        return Path(self.config.output).absolute() / RUNS / f"{self.config.name}-seed{self.config.seed}-{self.identity}"

    def method(self) -> Method:
        """A new method for this plan."""
        return build_method(self.config, self.manifest.heads, self.joint_width)

    @cached_property
    def cost(self) -> Cost:
        """What one view costs behind the backbone."""
        return cost_of(self.config, self.manifest.heads, self.joint_width, self.patch_tokens, self.crop)

    @property
    def all_clips(self) -> pd.DataFrame:
        """The manifest's table before clips were held out or left out: a cache is made for the whole data set."""
        return self._whole.table

    @property
    def _whole(self) -> Manifest:
        return self.manifest.whole or self.manifest

    @cached_property
    def cache_key(self) -> str:
        """Which cache below `config.stream.cache` has this plan's features."""
        return cache_key(self.config, self.backbone_hash, self.crop, self.flip, self._whole.features_hash)

    @property
    def contents(self) -> Contents:
        """What this plan asks of its cache."""
        evaluation, stream = self.config.evaluation, self.config.stream
        return Contents(
            (self.config.sampling.frames,),
            stream.views,
            evaluation.temporal_clips,
            evaluation.spatial_crops,
            self.config.data.holdout > 0,
            stream.storage,
            backbone_named(self.config.backbone.library, self.config.backbone.name),
        )

    def stream(self, schedule: Schedule) -> ray.data.Dataset:
        """Features of a schedule of this plan's clips; frames where the method takes those."""
        stream = feature_stream if self.placed.encoders else decoded_stream
        return stream(schedule, self.manifest.table, self.settings, self.crop, self.flip)


def plan(config: Experiment, manifest: Manifest, training: bool = True, tested: str = "val") -> Plan:
    """Check a config against its data and backbone, and place it on the nodes there are (pipeline/automatic.py).

    Args:
        training: whether there is anything to learn from; else the clips are only looked at.
        tested: split of the clips that the schedule validates on.

    Raises:
        InputError: no training clips (or, without `training`, none to look at), unusable backbone or crop size.
    """
    table = manifest.table
    rows = {"train": np.flatnonzero(table["split"] == "train"), "val": np.flatnonzero(table["split"] == tested)}
    if not len(rows["train" if training else "val"]):
        kind = "training" if training else {"val": "validation", "train": "training"}.get(tested, tested)
        there = ", ".join(table["split"].unique())
        raise InputError(f"data.root: no {kind} clips in {config.data.root}, only {there}; check the annotations")
    method = method_class(config.method)
    method.check(config.training)
    encoder, asked = build_backbone(config.backbone), config.backbone.precision
    inside = method.inputs == "frames" and config.method.classifies  # motion layers only encode
    for name, plain in (("pruning", 0), ("features", "tokens")):
        if (inside or name == "pruning" and method.inputs == "frames") and getattr(config.backbone, name) != plain:
            why = f"method.name={config.method.name} takes frames and works on all their tokens"
            raise InputError(f"backbone.{name}: {why}; leave it at {plain}")
    crop = config.transform.size or encoder.image_size
    if crop % encoder.patch_size:
        raise InputError(f"transform.size: {crop} is not a multiple of the backbone's patch size {encoder.patch_size}")
    if training and (key := config.method.learns_from_labels) and not all(manifest.classes.values()):
        other = "" if key == "method.name" else ", or set it to 0 to learn from the other losses"
        raise InputError(f"{key}: no training clip has a label; check the annotations{other}")
    first_head = next(iter(manifest.classes))
    frames, tokens = config.sampling.frames, (crop // encoder.patch_size) ** 2
    check_pruning(encoder, config.backbone.pruning, tokens)
    a_clip = clip_bytes(frames, tokens, encoder.joint_width)
    training_labels = table[first_head].to_numpy(np.int64)[rows["train"]]
    config, fitted = fit_training(config, len(rows["train"]), training_labels)
    views = len(rows["train"]) * config.stream.views * training + len(rows["val"]) * _test_views(config)
    config, kept = fit_features(config, views, a_clip if method.inputs == "features" else 0)
    placed = place(config, inputs=method.inputs)
    config = _with_precision(config, precision(config.backbone, placed))
    # features or pixels of a clip
    heaviest = max(a_clip, 3 * frames * crop**2)
    most = max(1, min(config.stream.clips_per_task, MAX_BLOCK_BYTES // heaviest))
    workers = placed.worker_range
    schedule = Schedule(
        train_rows=rows["train"] if training else rows["train"][:0],
        train_labels=training_labels if training else np.empty(0, np.int64),
        val_rows=rows["val"],
        val_views=_test_views(config),
        batch_size=config.training.batch_size,
        workers=workers[1],
        block=clips_a_block(config.training.batch_size, workers, most, len(rows["train"])),
        seed=config.seed,
        clips_per_class=config.training.clips_per_class,
        balanced=config.training.class_balance == "sampling",
        repeats=config.training.repeats,
    )
    shape = encoder.joint_width, crop, tokens, encoder.weights_hash
    found = Plan(config, manifest, *shape, schedule, placed, (*fitted, *kept))
    found = _as_stored(found, asked) if config.stream.cache else found
    if asked in HALF and found.config.backbone.precision == "float32":
        say_float32(asked)
    return found


def _checkpoints_named(settings: AnyMethod) -> list[str]:
    """Digests of the checkpoints that the settings of a method from outside name: what is in them may change."""
    if not isinstance(settings, Outside):
        return []
    named = (Path(value) / WEIGHTS for value in flat(settings.settings).values() if isinstance(value, str))
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in named if file.is_file()]


def streaming(held: Plan) -> Plan:
    """A plan that holds its features, placed to compute them while they are asked for:
    encoders and workers at the same time.
    """
    stream = held.config.stream.model_copy(update={"hold": False})
    beside = plan(held.config.model_copy(update={"stream": stream}), held.manifest)
    return replace(held, placed=beside.placed, schedule=beside.schedule)


def _as_stored(plan: Plan, asked: str) -> Plan:
    """The plan in the precision of a cache that is there, where CPUs would compute in another,
    or "auto" leaves it open.
    """
    root, own = plan.config.stream.cache, plan.config.backbone.precision
    there = precisions_there(root)
    if asked == own or there <= {own}:
        return plan
    for name in [own, *sorted(there - {own})] if asked == "auto" else [asked, own]:
        other = plan if name == own else replace(plan, config=_with_precision(plan.config, name))
        if name in {own, *there} and cache_folders(root, other.cache_key):
            return other
    return plan


def _test_views(config: Experiment) -> int:
    return config.evaluation.temporal_clips * config.evaluation.spatial_crops


def _with_precision(config: Experiment, name: str) -> Experiment:
    return config.model_copy(update={"backbone": config.backbone.model_copy(update={"precision": name})})
