"""The objects of finished runs on annotated sequences in DAVIS layout: masks nobody taught them, scored once a run.

The backbone is frozen, so the sequences are encoded once for all rows; a run's result is `objects-KEY.json` in its
folder, KEY the content of the sequences.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ..data.davis import Sequence, davis_sequences, notes_on_objects, read_ids, unpaired
from ..errors import InputError, printable
from ..evaluation.mask_baselines import ceiling_masks, grid_masks, kmeans_masks
from ..evaluation.prediction_files import refuse_gaps
from ..evaluation.predictions import score_predictions
from ..evaluation.segmentation import mean_scores, object_rows
from ..evaluation.slots_on_sequences import (
    attention_of,
    change_norms,
    confidence_interval,
    foreground_slots,
    score_masks,
)
from ..files import write_whole
from ..masks.pictures import write_scored_pictures
from ..masks.sequence_features import encode_sequences, read_grids
from ..masks.whole_videos import Frames, Video
from ..metric import jf_on
from ..plan import Plan
from ..run_folder import FEATURES, LAST, OBJECTS, RECORDS, object_scores, output_of, store_uri
from ..tracking import Tracker
from ..training import checkpoint

log = logging.getLogger(__name__)

PROTOCOL = "official"
JOINT = "J&F-Mean"
MEASURES = {"davis_jf": JOINT, "davis_j": "J-Mean", "davis_f": "F-Mean"}  # a table's metric -> that of a score
Untrained = Literal["k-means", "grid", "ceiling"]
PICTURED = 2  # sequences that pictures are drawn of, for each run


@dataclass(frozen=True)
class ObjectTest:
    """Annotated sequences; `key` is 12 hex digits of their frames and masks.

    Attributes:
        discovery: whether the masks are looked at by `discovery_test.py`, too.
        name: of further sequences, whose J&F is a metric of its own; none of those that claims are about.
        others: further sequences.
    """

    root: Path
    sequences: tuple[Sequence, ...]
    key: str
    discovery: bool = False
    name: str = ""
    others: tuple["ObjectTest", ...] = ()

    @property
    def every(self) -> tuple["ObjectTest", ...]:
        """These sequences, then the others."""
        return self, *self.others

    def features(self, plan: Plan) -> Path:
        """Folder of the sequences' patch tokens, the same for all runs on this backbone at this size."""
        backbone = plan.config.backbone
        parts = [self.key, plan.backbone_hash, backbone.precision, str(plan.crop)]
        parts += [f"pruning {backbone.pruning}"] if backbone.pruning else []
        kind = hashlib.sha256("-".join(parts).encode()).hexdigest()[:12]
        cache = plan.config.stream.cache
        root = Path(cache).absolute() if cache else output_of(plan.folder) / FEATURES
        return root / f"sequences-{kind}"

    def result(self, plan: Plan) -> Path:
        """File of a run's result."""
        return plan.folder / object_scores(self.key)


def object_test(root: str | Path, name: str = "") -> ObjectTest:
    """The sequences that `ImageSets/2017/val.txt` lists, frames and masks read once to know them again.

    Args:
        name: of further sequences.

    Raises:
        InputError: not a DAVIS folder, a sequence has frames without a mask, or masks without a frame, or there is no
            object.
    """
    root = Path(root).absolute()  # Ray's workers have another working directory
    sequences = davis_sequences(root)
    digest = hashlib.sha256()
    for one in sequences:
        if wrong := unpaired(one.frames, one.annotations):
            raise InputError(f"--davis: {root}: {one.name} {wrong}; give both for each frame")
        for path in (*one.frames, *one.annotations):
            digest.update(f"{one.name}/{path.name}".encode() + path.read_bytes())
    for note in notes_on_objects(sequences):
        log.warning("%s: %s", root, printable(note))
    return ObjectTest(root, tuple(sequences), digest.hexdigest()[:12], name=name)


def has_objects(plan: Plan) -> bool:
    """Whether a plan's method groups patches into objects."""
    return plan.method().grouping is not None


def encode_for(test: ObjectTest, plans: list[Plan], show: Callable[[str, int, int, str], None] | None = None) -> None:
    """Encode all sequences for every backbone and frame size among the plans that have slots."""
    for one in test.every:
        for folder, plan in {one.features(plan): plan for plan in plans if has_objects(plan)}.items():
            stream = plan.config.stream  # not as placed: the training of a method that takes frames has no encoders
            encode_sequences(list(one.sequences), plan.config.backbone, plan.crop, folder, stream, show)


def run_object_test(test: ObjectTest, plan: Plan, summary: dict) -> dict:
    """Score the slots of a finished run, draw some, and add both to its MLflow run; nothing where that is done already.

    Args:
        summary: of the finished run.

    Returns:
        `protocol`, `davis`, `sequences`, `names` (of the columns that it was asked for), `scores` (means over objects),
        `interval` (95 %, of J&F), `objects` (a row each) and, where the model has state changes, `norms`: mean norm of
        those of foreground slots and of background slots.
    """
    path = test.result(plan)
    if path.exists():
        found = json.loads(path.read_text())
        if test.name not in found.get("names", [""]):  # scored before in another column
            _log(plan, summary, metrics(found, test.name))
            found["names"] = [*found.get("names", [""]), test.name]
            write_whole(path, json.dumps(found, indent=1) + "\n")
        return found
    method, rows = plan.method().eval(), []
    checkpoint.load(plan.folder / LAST, method)
    norms: dict[str, list[float]] = {"foreground": [], "background": []}
    for sequence, patches, grid in tokens_of(test, plan):
        soft = attention_of(method, patches, grid)  # [T, K, h, w]
        scored = score_masks(soft, [read_ids(annotation) for annotation in sequence.annotations])
        rows += object_rows(sequence.name, scored)
        if sequence in test.sequences[:PICTURED]:
            video = Video(sequence.name, pictures=tuple(map(str, sequence.frames)))
            write_scored_pictures(plan.folder / OBJECTS / test.name, Frames(video), soft, sequence.annotations)
        if (changes := change_norms(method, patches, plan.config.sampling.frames)) is not None:
            front = foreground_slots(scored, soft.shape[1])
            for slot, norm in enumerate(changes.tolist()):
                norms["foreground" if slot in front else "background"].append(norm)
    found = {"protocol": PROTOCOL, "davis": str(test.root), "sequences": len(test.sequences), "names": [test.name]}
    found |= {"scores": mean_scores(rows), "interval": confidence_interval(rows), "objects": rows}
    if norms["foreground"] and norms["background"]:
        found["norms"] = {kind: float(np.mean(values)) for kind, values in norms.items()}
    _log(plan, summary, metrics(found, test.name))
    write_whole(path, json.dumps(found, indent=1) + "\n")
    return found


def untrained(test: ObjectTest, plan: Plan, kind: Untrained) -> dict:
    """What a plan's slots are measured by, scored alike.

    They have to beat as many k-means clusters of the same frozen tokens, and as many rectangles; "ceiling" is the
    ground truth brought to the resolution of patches.

    Returns:
        `scores`, `interval` and `objects`, as `run_object_test`; kept beside the tokens.
    """
    path = given_to(test, plan, kind)
    if path.exists():
        return json.loads(path.read_text())
    rows = []
    for sequence, patches, grid in tokens_of(test, plan):
        truth = [read_ids(annotation) for annotation in sequence.annotations]
        rows += object_rows(sequence.name, score_masks(untrained_masks(plan, kind, patches, grid, truth), truth))
    found = {"scores": mean_scores(rows), "interval": confidence_interval(rows), "objects": rows}
    write_whole(path, json.dumps(found, indent=1) + "\n")
    return found


def given_to(test: ObjectTest, plan: Plan, kind: Untrained, before: str = "") -> Path:
    """File beside the tokens for what masks without training scored, with as many of them as the plan has slots."""
    number = "" if kind == "ceiling" else f"-{plan.method().grouping.num_slots}"
    return test.features(plan) / f"{before}{kind}{number}.json"


def untrained_masks(
    plan: Plan, kind: Untrained, patches: torch.Tensor, grid: tuple[int, int], truth: list[np.ndarray]
) -> torch.Tensor:
    """Masks [T, K, h, w] that need no training, K as the plan has slots, but of "ceiling" background and objects."""
    number = plan.method().grouping.num_slots
    match kind:
        case "k-means":
            return kmeans_masks(patches, number, seed=0).unflatten(2, grid)
        case "grid":
            return grid_masks(number, *grid, len(patches))
        case "ceiling":
            return ceiling_masks(truth, *grid)


def given(test: ObjectTest, masks: Path) -> dict:
    """Masks that others made, indexed PNGs in a folder for each sequence, scored by the same protocol.

    Raises:
        InputError: a file is missing, unreadable or of another size.
    """
    refuse_gaps(list(test.sequences), masks, PROTOCOL)
    rows = [row for sequence in test.sequences for row in score_predictions(sequence, masks, PROTOCOL)]
    return {"scores": mean_scores(rows), "interval": confidence_interval(rows), "objects": rows}


def tokens_of(test: ObjectTest, plan: Plan) -> Iterator[tuple[Sequence, torch.Tensor, tuple[int, int]]]:
    """Each sequence with its patch tokens float16 [T, N, J] and its patch grid."""
    folder = test.features(plan)
    grids = read_grids(folder)
    for sequence in test.sequences:
        yield sequence, torch.from_numpy(np.load(folder / f"{sequence.name}.npy")), tuple(grids[sequence.name])


def metrics(found: dict, further: str = "") -> dict[str, float]:
    """What tables show of a result: J&F, J and F as shares, norms as they are, and how many times the foreground's is
    the background's. Of further sequences, by their name, J&F alone.
    """
    if further:
        return {jf_on(further).name: found["scores"][JOINT]}
    scores, norms = found["scores"], found.get("norms", {})
    shown = {name: scores[measure] for name, measure in MEASURES.items()}
    shown |= {f"{kind}_norm": norm for kind, norm in norms.items()}
    if norms.get("background"):
        shown["norm_ratio"] = norms["foreground"] / norms["background"]
    return shown


def _log(plan: Plan, summary: dict, values: dict[str, float]) -> None:
    """Add numbers and pictures to the run's own MLflow run, which has ended."""
    uri = store_uri(plan.config.tracking.uri, output_of(plan.folder))
    tracker = Tracker(uri, plan.config.tracking.experiment, plan.folder / RECORDS)
    tracker.run_id = summary["mlflow_run_id"]
    tracker.metrics({f"objects/{name}": value for name, value in values.items()}, step=summary["epochs"])
    tracker.artifact(plan.folder / OBJECTS, OBJECTS)
    tracker.delivered()
