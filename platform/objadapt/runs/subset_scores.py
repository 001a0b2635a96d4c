"""What of a run's clips the data set's publisher scores apart, beside the scores of all."""

from pathlib import Path

import pandas as pd

from ..data.manifest import Manifest
from ..evaluation.unseen_and_tail import unseen_and_tail
from ..run_folder import CLIPS


def subset_scores(manifest: Manifest, table: pd.DataFrame, split: str) -> dict[str, float]:
    """`unseen_and_tail` of a table of scores; nothing where the manifest names no subsets."""
    if not manifest.subsets:
        return {}
    return unseen_and_tail(table, manifest.table["clip_id"], split, manifest.subsets, manifest.heads["noun_label"])


def of_training(manifest: Manifest, folder: Path) -> dict[str, float]:
    """The same of the last validation of a training, which its workers have left in `folder`."""
    path = folder / CLIPS
    return subset_scores(manifest, pd.read_parquet(path), "val") if manifest.subsets and path.exists() else {}
