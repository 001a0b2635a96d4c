"""What a finished run says of itself: its numbers, with coverage and views beside them."""

import math

import pandas as pd

from ..methods.build import method_module
from ..passwords import redact
from ..plan import Plan
from ..run_folder import BEST, LAST
from ..training.patience import early
from .cautions import cautions


def views_text(plan: Plan) -> str:
    """The testing views as papers write them: frames x temporal clips x spatial crops; a control says so."""
    evaluation = plan.config.evaluation
    backwards = " (frames backwards)" if evaluation.reverse else ""
    return f"{plan.config.sampling.frames} x {evaluation.temporal_clips} x {evaluation.spatial_crops}{backwards}"


def coverage_text(plan: Plan) -> str:
    """`train 640 of 640, val 256 of 256 videos`."""
    splits = (f"{split} {c['found']:,} of {c['listed']:,}" for split, c in plan.manifest.coverage.items())
    return f"{', '.join(splits)} videos"


def chance(plan: Plan) -> float:
    """Top-1 of a uniform guess, on all heads at once where a clip has several; nan where clips have no labels."""
    classes = math.prod(plan.manifest.heads.values())
    return 1 / classes if classes else math.nan


def summarise(plan: Plan, result: dict) -> dict:
    """The numbers of a finished training, with coverage and views beside them."""
    table = plan.manifest.table
    dropped = table["split"].iloc[[row for row, *_ in result["quarantine"]]]
    config = plan.config
    metrics = result["state"]["metrics"]
    return {
        "name": config.name,
        "method": method_module(config.method),
        "identity": plan.identity,
        "seed": config.seed,
        **{name.removeprefix("val/"): value for name, value in metrics.items() if name.startswith("val/")},
        "chance": chance(plan),
        "epochs": result["state"]["epoch"],
        "train_loss": metrics.get("train/total"),
        "data_wait_share": metrics.get("train/data_wait_share"),
        "num_train_clips": int((table["split"] == "train").sum() - (dropped == "train").sum()),
        "num_val_clips": result.get("val_clips", 0),
        "coverage": plan.manifest.coverage,
        "views": views_text(plan),
        "evaluation": config.evaluation.label,
        "warmup_epochs": config.training.warmup,
        **({"cautions": said} if (said := cautions(plan)) else {}),
        **({"ended": why} if (why := early(result["state"]["epoch"], config.training)) else {}),
        **result["counts"],
        "tunable_parameters": sum(plan.cost.parameters.values()),
        "adapter_gflops": plan.cost.gflops,
        "checkpoint": str(plan.folder / LAST),
        "best_checkpoint": str(plan.folder / BEST),
        "best": result["state"]["best"],
        "device": result["device"],
    }


def quarantine_table(plan: Plan, result: dict) -> pd.DataFrame:
    """Rows of (clip_id, path, split, stage, reason)."""
    found = pd.DataFrame(result["quarantine"], columns=["row", "stage", "reason"])
    clips = plan.manifest.table.loc[found["row"], ["clip_id", "path", "split"]].reset_index(drop=True)
    clips["path"] = clips["path"].map(redact)  # a URL may be signed
    return pd.concat([clips, found[["stage", "reason"]]], axis=1)
