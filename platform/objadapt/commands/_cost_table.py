"""The paper's tables of cost, `training_cost` and `throughput`: ratios measured here beside those of the paper.

    python jobs/reproduce.py --table training_cost --dataset kinetics400

Nothing is trained and no clip is read: every method takes steps on the same random frames, turn by turn
(`objadapt benchmark`). A ratio is a method's cost to that of the paper's method.
"""

import json
import shlex
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import job
from ..config_file import load_config
from ..declared import CONFIGS, find
from ..errors import InputError
from ..run_folder import BENCHMARK

if TYPE_CHECKING:
    import pandas as pd

METHODS = ["object_centric", "st_adapter", "aim", "evl", "timesformer"]
CAPTIONS = {
    "training_cost": "Training: a step from frames (paper, Table 9: whole trainings on 8 GPUs)",
    "throughput": "Inference: clips a second (paper, Table 10)",
}
COLUMNS = {  # table -> our columns, the paper's ratio
    "training_cost": (["step_ms", "cached_step_ms", "step_ratio", "saved_bytes"], "paper_training_ratio"),
    "throughput": (["clips_per_second", "gflops", "throughput_ratio"], "paper_throughput_ratio"),
}


def make(arguments: Namespace) -> None:
    """Measure and write one of the tables: terminal, Markdown, CSV, JSON and MLflow.

    Args:
        arguments: of jobs/reproduce.py.

    Raises:
        InputError: options that are of trained rows, or a wrong config.
    """
    for option, value in (("--rows", arguments.rows), ("--davis", arguments.davis), ("--masks", arguments.masks)):
        if value:
            raise InputError(f"{option}: {arguments.table} measures cost and trains no row; leave it out")
    path = find("--dataset", arguments.dataset, CONFIGS)
    overrides = [*arguments.overrides, f"output={Path(arguments.output).absolute()}"]
    base = load_config(path, overrides)
    caption = CAPTIONS[arguments.table]
    if arguments.dry_run:
        print(f"{caption}\nmeasures {', '.join(METHODS)} on {base.backbone.name}, {base.sampling.frames} frames")
        return

    import pandas as pd

    from ..capacity.steps_report import cost_figure
    from .benchmark import measure, track

    names = [name for name in METHODS if arguments.table == "training_cost" or name != "timesformer"]
    said, rows = measure(path, base, overrides, names, Namespace(clips=2, turns=7, video=None))
    said |= {"table": arguments.table, "command": shlex.join([*job.called("reproduce"), *sys.argv[1:]])}
    ours, papers = COLUMNS[arguments.table]
    found = pd.DataFrame(rows)[["method", *ours, papers]]
    folder = Path(base.output).absolute() / BENCHMARK
    folder.mkdir(parents=True, exist_ok=True)
    text = as_markdown(found, caption, said)
    (folder / f"{arguments.table}.md").write_text(text)
    found.to_csv(folder / f"{arguments.table}.csv", index=False)
    content = said | {"commit": job.commit(), "rows": rows}
    (folder / f"{arguments.table}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"{text}\nfiles   {folder}")
    job.write_json(arguments.json, content)
    track(base, said, rows, cost_figure(rows))


def as_markdown(found: "pd.DataFrame", caption: str, said: dict) -> str:
    """A table with what it was measured on below it."""
    lines = [f"# {caption}", "", "| " + " | ".join(found.columns) + " |", "| --- " * len(found.columns) + "|"]
    for row in found.itertuples(index=False):
        cells = [value if isinstance(value, str) else "" if value != value else f"{value:,.4g}" for value in row]
        lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- {name}: {value}" for name, value in said.items() if value is not None]
    return "\n".join([*lines, "", *notes]) + "\n"
