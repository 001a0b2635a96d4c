"""Whether a row may be set against the paper's number: on the paper's data, backbone, frames and model,
and not elsewhere.

A difference is a statement that two numbers were got in one way. It is shown only where that is known:

- accuracies: the whole data set (more than 90 % of its published training and validation clips), none of it left out by
  `data.fraction` or held out; the testing views of the data set's config;
- norms of state changes: the same, on the 30 sequences of DAVIS-2017's validation set with their unsupervised
  annotations;
- GFLOPs and parameters: no data is in them but the number of classes, so any clips of the paper's data set will do;
- all of them: the paper's backbone with its published weights (those of a file are not known to be), T, crop, and the
  model and losses of the paper's row, which are the defaults of config.py with the row's own overrides.

Never compared: J&F, J and F, since the paper does not say by which protocol its own are (the lenient one raises them),
and adapter GFLOPs, since no convention of counting gives the paper's. Epochs, batch and stored views are named above
each table.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..config import Experiment
from ..config_file import flat, override, validate
from ..data.davis import ANNOTATIONS, Sequence
from ..errors import InputError
from ..metric import Metric
from ..plan import Plan
from ..runs.object_test import ObjectTest
from .table import PaperSetting, Row, Table

SHARE = 0.9  # of the published clips; copies miss some
DAVIS_FRAMES = 1999
DAVIS = set(
    "bike-packing blackswan bmx-trees breakdance camel car-roundabout car-shadow cows dance-twirl dog dogs-jump"
    " drift-chicane"
    " drift-straight goat gold-fish horsejump-high india judo kite-surf lab-coat libby loading mbike-trick"
    " motocross-jump"
    " paragliding-launch parkour pigs scooter-black shooting soapbox".split()
)


@dataclass(frozen=True)
class DataSet:
    """One of the paper's data sets as it was published. The paper's text does not give its testing views; `views`
    (temporal clips, spatial crops) are those that jobs/configs takes for them."""

    classes: int
    clips: dict[str, int]  # split -> clips
    views: tuple[int, int]


DATA_SETS = {
    "kinetics400": DataSet(400, {"train": 246_534, "val": 19_906}, (3, 1)),
    "something_something_v2": DataSet(174, {"train": 168_913, "val": 24_777}, (1, 1)),
}


@dataclass(frozen=True)
class Setting:
    """With what a row was run."""

    config: Experiment
    crop: int  # pixels
    classes: int  # of the first head
    davis: bool = False  # its objects are scored on DAVIS-2017's validation set

    @staticmethod
    def of(plan: Plan, test: ObjectTest | None) -> "Setting":
        """That of a planned run."""
        classes = next(iter(plan.manifest.heads.values()))
        return Setting(plan.config, plan.crop, classes, test is not None and is_davis(test.sequences))

    @property
    def shown(self) -> dict[str, str]:
        """What stands above a table."""
        config, training = self.config, self.config.training
        views = (
            str(config.stream.views) if config.stream.cache or config.stream.hold else "none, drawn anew in each epoch"
        )
        return {
            "backbone": backbone_text(config),
            "frames": str(config.sampling.frames),
            "epochs": f"{training.epochs} ({training.warmup:g} of warm-up)",
            "batch": str(training.batch_size),
            "stored views": views + (" (int8)" if config.stream.cache and config.stream.storage == "int8" else ""),
        }


def is_davis(sequences: tuple[Sequence, ...]) -> bool:
    """Whether these are the 30 sequences of DAVIS-2017's validation set, whole,
    with the annotations of the unsupervised task.
    """
    names, frames = {one.name for one in sequences}, sum(len(one.annotations) for one in sequences)
    unsupervised = all(ANNOTATIONS[0] in path.parts for one in sequences for path in one.annotations)
    return names == DAVIS and frames == DAVIS_FRAMES and unsupervised


def backbone_text(config: Experiment) -> str:
    """Library, name and weights: `open_clip ViT-B-16-quickgelu openai`."""
    backbone = config.backbone
    if backbone.library == "small_clip":
        return "small_clip"
    file = f"weights from {backbone.weights.rsplit('/', 1)[-1]}" if backbone.weights else None
    return " ".join(filter(None, (backbone.library, backbone.name, file or backbone.pretrained)))


def never(metric: Metric) -> str | None:
    """Why a metric is never set against the paper's, whatever the setting."""
    if metric.kind == "masks":
        return "the paper does not say by which protocol it scored"
    if metric.name == "adapter_gflops":
        return "no convention of counting gives the paper's numbers"
    return None


def incomparable(
    metric: Metric, table: Table, row: Row, dataset: str, setting: Setting | None, summaries: list[dict]
) -> str | None:
    """Why a metric of a row is no match for the paper's number, in words; None: it is one.

    Args:
        dataset: name of the config.
        summaries: of the row's runs.
    """
    if reason := never(metric):
        return reason
    if dataset not in DATA_SETS:
        return "the data set is not the paper's"
    if setting is None:
        return "nothing is known of how it was run"
    paper = table.setting_of(row)
    if paper.backbone is None or paper.frames is None:
        return f"{table.file} does not say with which backbone and frames the paper's number was got (paper_setting)"
    reasons = [*_of_data(metric, dataset, setting, summaries), *_of_model(row, setting, paper)]
    if metric.kind == "norm" and not setting.davis:
        reasons.append("the sequences are not DAVIS-2017's validation set")
    return "; ".join(reasons) or None


def _of_data(metric: Metric, dataset: str, setting: Setting, summaries: list[dict]) -> Iterator[str]:
    published, data, evaluation = DATA_SETS[dataset], setting.config.data, setting.config.evaluation
    if setting.classes != published.classes:
        yield f"{setting.classes} classes, the paper's data set has {published.classes}"
    if metric.kind == "cost":
        return
    for split, listed in published.clips.items():
        used = min((_used(summary, split) for summary in summaries), default=0)
        if used <= SHARE * listed:
            yield f"{used:,} {split} clips, the paper's data set has {listed:,}"
    if data.fraction < 1:
        yield f"data.fraction = {data.fraction:g}"
    if data.holdout > 0:
        yield "validated on clips held out of the training clips"
    views = evaluation.temporal_clips, evaluation.spatial_crops
    if metric.kind == "accuracy" and (views != published.views or evaluation.reverse):
        backwards = ", frames backwards" if evaluation.reverse else ""
        yield f"testing views {views[0]} x {views[1]}{backwards}, not {published.views[0]} x {published.views[1]}"


def _used(summary: dict, split: str) -> int:
    """Clips of a split that a run was trained on, or scored on; found and not broken."""
    found = (summary.get("coverage", {}).get(split) or {}).get("found", 0)
    return min(found, summary.get(f"num_{split}_clips", 0))


def _of_model(row: Row, setting: Setting, paper: PaperSetting) -> Iterator[str]:
    config, theirs = setting.config, paper.backbone
    ours = config.backbone.library, config.backbone.name, config.backbone.pretrained
    if ours != (theirs.library, theirs.name, theirs.pretrained) or config.backbone.weights:
        yield f"backbone {backbone_text(config)}, the paper's is {theirs.library} {theirs.name} {theirs.pretrained}"
    if config.sampling.frames != paper.frames:
        yield f"T = {config.sampling.frames}, the paper's is {paper.frames}"
    if setting.crop != paper.size:
        yield f"crops of {setting.crop} pixels, the paper's are of {paper.size}"
    switches = [one for one in row.overrides if one.startswith("method.")]
    try:
        reference = validate(override({"sampling": {"frames": paper.frames}}, switches), row.name)
    except InputError:
        yield f"the row's overrides are none that {paper.frames} frames allow"
        return
    expected, got = _switches(reference), _switches(config)
    for key, value in got.items():
        if value != expected.get(key):
            yield f"{key} = {value}, the paper's row has {expected.get(key, 'no such setting')}"


def _switches(config: Experiment) -> dict[str, object]:
    """Settings of the method, the default interval in numbers."""
    return flat({"method": config.method.resolved(config.sampling.frames).model_dump(mode="json")})
