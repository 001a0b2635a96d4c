"""Which feature caches a set of runs needs, and filling them: one extraction serves every row of every table."""

import dataclasses
import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..pipeline.cache import open_cache
from ..pipeline.cache_folder import INDEX, RECORD, Contents, cache_folders, folder_bytes, read_record, write_record
from ..pipeline.extraction import extract, views_kept
from ..pipeline.gpu_check import check_gpus
from ..pipeline.placement import check_placement
from ..pipeline.schedule import Schedule
from ..plan import MAX_BLOCK_BYTES, Plan
from ..training.display import stage, tell


@dataclass(frozen=True, eq=False)
class Order:
    """One cache as a set of plans needs it."""

    plan: Plan  # any of them: data, backbone and preprocessing are the same
    contents: Contents
    folder: Path  # ROOT/KEY, or ROOT/KEY-2 and so on for what earlier ones lack

    @property
    def finished(self) -> bool:
        """Whether nothing is left to extract."""
        return (self.folder / INDEX).exists()

    @property
    def token_bytes(self) -> int:
        """Bytes of a clip view."""
        tokens = self.contents.frames_stored * (1 + self.plan.patch_tokens)
        a_token = 2 * self.plan.joint_width if self.contents.storage == "float16" else self.plan.joint_width + 2
        return tokens * a_token

    @property
    def block(self) -> int:
        """Clips a shard: at most `MAX_BLOCK_BYTES` of pixels or features."""
        features = 2 * (1 + self.plan.patch_tokens) * self.plan.joint_width
        heaviest = self.contents.frames_stored * max(features, 3 * self.plan.crop**2)
        return max(1, min(self.plan.config.stream.clips_per_task, MAX_BLOCK_BYTES // heaviest))

    def schedule(self, block: int) -> Schedule:
        """Every training clip under every augmentation, then the test views, in blocks."""
        clips = self.plan.all_clips
        train, val = (np.flatnonzero(clips["split"] == split) for split in ("train", "val"))
        return Schedule(
            train_rows=train,
            train_labels=np.full(len(train), -1),
            val_rows=np.concatenate([val, train]) if self.contents.train_tested else val,
            val_views=self.contents.temporal_clips * self.contents.spatial_crops,
            batch_size=block,
            workers=1,
            block=block,
            seed=0,
        ).for_holding(self.contents.views)

    @property
    def views(self) -> int:
        """Clip views in all."""
        splits = self.plan.all_clips["split"]
        train, val = (splits == "train").sum(), (splits == "val").sum()
        tested = val + train if self.contents.train_tested else val
        return int(train * self.contents.views + tested * self.contents.temporal_clips * self.contents.spatial_crops)


def orders(plans: list[Plan], later: Sequence[Plan] = ()) -> list[Order]:
    """The caches that plans need: those that are there, finished or not, and for the rest new ones. Plans of methods
    that take frames need none.

    New ones of a key, test views and storage are one cache, with the union of the plans' T and the most views.

    Args:
        later: plans that are not run now; a new cache that is made anyway has what they need, too.

    Raises:
        InputError: a plan has no `stream.cache`, or a folder of its name is no cache.
    """
    found: dict[Path, Order] = {}
    lacking: dict[tuple, list[Plan]] = {}
    for plan in plans:
        if plan.takes_frames:
            continue
        if not plan.config.stream.cache:
            raise InputError(
                "stream.cache: no folder given; say where features are to be kept,"
                " such as stream.cache=outputs/features"
            )
        root, contents = Path(plan.config.stream.cache).absolute(), plan.contents
        there = {folder: read_record(folder)["contents"] for folder in cache_folders(root, plan.cache_key)}
        serving = next((folder for folder, has in there.items() if not has.lacks(contents)), None)
        if serving:
            found.setdefault(serving, Order(plan, there[serving], serving))
        else:
            lacking.setdefault(_group(plan), []).append(plan)
    for plan in later:
        if not plan.takes_frames and (together := lacking.get(_group(plan))):
            together.append(plan)
    for (root, key, *_), together in lacking.items():
        every = [plan.contents for plan in together]
        union = dataclasses.replace(
            every[0],
            frames=tuple(sorted({frames for one in every for frames in one.frames})),
            views=max(one.views for one in every),
            train_tested=any(one.train_tested for one in every),
        )
        names = (key if number == 1 else f"{key}-{number}" for number in itertools.count(1))
        taken = {folder.name for folder in [*found, *cache_folders(root, key)]}
        folder = root / next(name for name in names if name not in taken)
        found[folder] = Order(together[0], union, folder)
    return list(found.values())


def _group(plan: Plan) -> tuple:
    """What plans of one new cache have in common."""
    contents = plan.contents
    root = Path(plan.config.stream.cache or "").absolute()
    return root, plan.cache_key, contents.temporal_clips, contents.spatial_crops, contents.storage, contents.backbone


def ensure_features(
    plans: list[Plan],
    show: Callable[[str, int, int, str], None] | None = None,
    limit_bytes: int | None = None,
    later: Sequence[Plan] = (),
) -> list[Path]:
    """Extract what the caches of the plans lack; -> their folders.

    Finished ones are checked and left alone, unfinished go on.

    Args:
        later: as `orders` takes them.

    Raises:
        InputError: a cache is damaged, the features would not fit on the disk or into `limit_bytes` beside the caches
            that are there, or the cluster cannot place the encoders.
    """
    wanted = orders(plans, later)
    _check_room([order for order in wanted if not order.finished], limit_bytes)
    for order in wanted:
        folder, plan = order.folder, order.plan
        if order.finished:
            open_cache(folder.parent, plan.cache_key, order.contents)
            continue
        check_placement(plan.placed, workers=0, encoders=plan.placed.encoders)
        check_gpus(plan.placed.encoder_gpus, plan.config.backbone.precision)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / RECORD).exists():
            shape = 1 + plan.patch_tokens, plan.joint_width, order.block
            write_record(folder, plan.cache_key, order.contents, *shape, _settings(plan))
        stage(show, "encode: waiting for the first clips")
        # its shards are counted in the block that it began with
        schedule = order.schedule(read_record(folder)["block"])
        try:
            extract(schedule, plan.all_clips, plan.settings, order.contents, plan.crop, plan.flip, folder, show)
        except KeyboardInterrupt:
            tell(show, f"kept {views_kept(folder):,} of {order.views:,} clip views in {folder}")
            raise
    return [order.folder for order in wanted]


def estimate_features(plans: list[Plan]) -> dict[str, int]:
    """Bytes and clip views of the plans' caches, and of those of them that are not finished."""
    wanted = orders(plans)
    missing = [order for order in wanted if not order.finished]
    return {
        "bytes": sum(order.views * order.token_bytes for order in wanted),
        "views": sum(order.views for order in wanted),
        "missing_bytes": sum(order.views * order.token_bytes for order in missing),
        "missing_views": sum(order.views for order in missing),
    }


def _check_room(missing: list[Order], limit_bytes: int | None) -> None:
    for root in {order.folder.parent for order in missing}:
        here = [order for order in missing if order.folder.parent == root]
        need = sum(order.views * order.token_bytes - _written(order.folder) for order in here)
        there = folder_bytes(root) if root.exists() else 0
        if limit_bytes is not None and there + need > limit_bytes:
            raise InputError(
                f"--limit-gb: {need / 1e9:.2f} GB of features beside {there / 1e9:.2f} GB in"
                f" {root} pass {limit_bytes / 1e9:.2f} GB;"
                " prune some, declare fewer T or views, or use stream.storage=int8"
            )
        parent = next(path for path in (root, *root.parents) if path.exists())
        if need > (free := shutil.disk_usage(parent).free):
            raise InputError(
                f"stream.cache: {need / 1e9:.2f} GB of features, {root} has {free / 1e9:.2f} GB free;"
                " use stream.storage=int8"
            )


def _written(folder: Path) -> int:
    return folder_bytes(folder) if folder.exists() else 0


def _settings(plan: Plan) -> dict:
    """For people who look into cache.json."""
    config = plan.config
    named = {name: getattr(config, name).model_dump(mode="json") for name in ("backbone", "sampling", "transform")}
    return {
        "name": config.name,
        "data": config.data.root,
        "backbone_hash": plan.backbone_hash,
        "crop": plan.crop,
        **named,
    }
