"""What a training command is about to do, in a line: begin, go on, or show what is finished; and why it begins anew."""

from pathlib import Path

from ..config import Experiment
from ..config_file import read_yaml, validate
from ..errors import InputError
from ..plan import Plan
from ..run_folder import CONFIG, LAST, SUMMARY, output_of
from ..stored_format import current_config, format_of, read_run
from ..training import checkpoint
from .names import runs_of

NAMED = 6  # settings at the most
BESIDE = {"manifest_hash": "the clips", "backbone_hash": "the backbone's weights"}


def standing_text(plan: Plan) -> str:
    """`goes on from epoch 110 of 300, step 4,180`, or that it begins, and how it differs from the last of its name."""
    last = checkpoint.newest(plan.folder / LAST)
    if (plan.folder / SUMMARY).exists():
        return "is finished; delete its folder to train it again"
    if last.exists():
        state = checkpoint.read_state(last)
        return f"goes on from epoch {state.epoch} of {plan.config.training.epochs}, step {state.global_step:,}"
    others = [path for path in runs_of(output_of(plan.folder), plan.config.name) if path != plan.folder]
    why = differences(plan, others[0]) if others else []
    return f"starts anew: {', '.join(why)}, unlike {others[0].name}" if why else "starts"


def differences(plan: Plan, folder: Path) -> list[str]:
    """How a plan differs from a run of the same name: `training.lr 0.0003 (was 0.001)`; [] where that is not known."""
    try:
        tree, record = read_yaml(folder / CONFIG, "config"), read_run(folder)
        before = validate(current_config(tree, format_of(record, folder))) if isinstance(tree, dict) else None
    except InputError:  # a run of another version: nothing to be told of
        return []
    if before is None:
        return []
    ours, theirs = _settings(plan.config), _settings(before)
    found = [
        f"{key} {ours.get(key, 'at its default')} (was {theirs.get(key, 'at its default')})"
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]
    more = [f"{len(found) - NAMED} more settings"] * (len(found) > NAMED)
    hashes = {"manifest_hash": plan.manifest.content_hash(), "backbone_hash": plan.backbone_hash}
    beside = [words for name, words in BESIDE.items() if record.get(name, hashes[name]) != hashes[name]]
    return [*found[:NAMED], *more, *beside]


def _settings(config: Experiment) -> dict[str, object]:
    """What counts, under the keys that a user sets."""
    named = {"hold_views": "stream.views", "cache": "stream.storage"}
    return {named.get(key, key): value for key, value in config.counted().items()}
