"""What came out of a table: cells over seeds, the paper's numbers beside them, claims judged.

Plain data, ready for JSON.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..config import Experiment
from ..metric import JF, METRICS, TOP1, Metric, jf_on
from .comparison import Setting, incomparable
from .table import PUBLISHED, Row, Table
from .verdict import judge

CONVENTION = (
    "GFLOPs are 2 x MAC of one view, attention products included; parameters are the tunable ones that inference uses"
)
PROTOCOL = (
    "J&F by the official unsupervised protocol; the paper does not say by which protocol its numbers are,"
    " and a per-frame assignment of the same binary masks raises them"
)
ADAPTER_CONVENTION = (
    "adapter GFLOPs leave the backbone out; ours projects slots in place of patches, which gives the same with fewer;"
    " the paper's are about three times a count of its own order, and no convention gives them"
)


@dataclass
class RowResult:
    """What is there of one row."""

    summaries: dict[int, dict] = field(default_factory=dict)  # seed -> summary of the finished run
    # metric that a claim is about -> seed -> a score a unit, by the unit's name
    scores: dict[str, dict[int, pd.Series]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)  # seed -> one line
    missing: str | None = None  # why it was not run
    wanted: int | None = None  # runs that make it whole, where that is not one a seed
    setting: Setting | None = None  # with what it is run, whatever the seed


def outcome(  # noqa: PLR0913 -- what a table is made of
    table: Table,
    dataset: str,
    results: dict[str, RowResult],
    seeds: list[int],
    further: Collection[str] = (),
    *,
    toy: bool,
    **more,
) -> dict:
    """The whole table as plain data.

    Args:
        results: of each row of the table, by name; more of them, such as untrained masks, are rows below the table's
            own.
        seeds: that were asked for.
        further: names of further sequences that objects were scored on.
        toy: the numbers are toy numbers.
        more: said beside it, such as command, commit and date.

    Returns:
        {"table", "caption", "source", "dataset", "toy", "views", "coverage", "setting": {name: [value]}, "errors",
        "chance", "seeds", "columns", "rows", "claims", "notes", ...}. A row is {"name", "overrides", "metrics":
        {metric: {"mean", "stderr", "n"}}, "paper", "differences": {metric: ours - the paper's, where it means
        something}, "incomparable": {metric: why not}, "missing": {metric: reason}, "status"}; each in the unit
        of its metric. A claim is {"text", "metric", "verdict", "p_value", "note"}.
    """
    # masks that need no run
    extra = [Row(name=name) for name in results if name not in {row.name for row in table.rows}]
    shown_metrics = [METRICS[name] for name in table.metrics]
    shown_metrics += map(jf_on, further if JF.name in table.metrics else ())
    rows = [_row(table, row, results[row.name], len(seeds), dataset, shown_metrics) for row in [*table.rows, *extra]]
    shown = [result.setting for row in table.rows if (result := results[row.name]).summaries and result.setting]
    trained = [summary for row in table.rows for summary in results[row.name].summaries.values()]
    failures = [
        f"{name}, seed {seed} failed: {reason}"
        for name, result in results.items()
        for seed, reason in result.failures.items()
    ]
    said = {
        CONVENTION: any(METRICS[name].kind == "cost" for name in table.metrics),
        ADAPTER_CONVENTION: "adapter_gflops" in table.metrics,
        PROTOCOL: JF.name in table.metrics,
    }
    notes = [*table.notes, *(note for note, holds in said.items() if holds)]
    for row in table.rows:  # said of each row, since a table's rows may differ in epochs, batch or share of the clips
        runs = results[row.name].summaries.values()
        notes += [
            f"{row.name}: {text}" for text in dict.fromkeys(text for one in runs for text in one.get("cautions", []))
        ]
    return {
        "table": table.name,
        "caption": table.caption,
        "source": table.source,
        "dataset": dataset,
        "toy": toy,
        "views": ", ".join(dict.fromkeys(summary["views"] for summary in trained)),
        "coverage": one_value([_coverage(summary) for summary in trained]),
        "setting": {
            name: list(dict.fromkeys(one.shown[name] for one in shown)) for name in (shown[0].shown if shown else ())
        },
        "errors": what_errors_hold([one.config for one in shown]) if len(seeds) > 1 and shown else "",
        "chance": next((TOP1.scale * one["chance"] for one in trained if math.isfinite(one["chance"])), None),
        "seeds": seeds,
        "columns": table.columns(dataset, further),
        "rows": rows,
        "claims": _claims(table, results),
        "notes": notes + failures,
        **more,
    }


def _row(  # noqa: PLR0913 -- what a row is made of
    table: Table, row: Row, result: RowResult, seeds: int, dataset: str, shown: list[Metric]
) -> dict:
    metrics, missing = {}, {}
    for metric in shown:
        name = metric.name
        values = [value for summary in result.summaries.values() if (value := metric.value(summary)) is not None]
        if values:
            metrics[name] = over_seeds(values)
        elif result.summaries:
            which = "no_objects" if metric.of_objects else "masks_alone"
            reasons = [summary.get(which) for summary in result.summaries.values()]
            earlier = metric.kind == "time" and not metric.of_objects
            why = "an earlier version did not keep it" if earlier else "not measured on this data set"
            missing[name] = next(filter(None, reasons), why)
    differences, refused = {}, {}
    for column in table.columns(dataset):
        name, theirs = column["metric"], row.paper.get(column["paper"])
        if theirs is None or name not in metrics:
            continue
        if reason := incomparable(METRICS[name], table, row, dataset, result.setting, list(result.summaries.values())):
            refused[name] = reason
        else:
            differences[name] = metrics[name]["mean"] - theirs
    done, wanted = len(result.summaries), result.wanted or seeds
    if row.published:
        status = PUBLISHED
    elif result.missing and not done:
        status = f"missing: {result.missing}"
    elif done == wanted:
        status = "done"
    elif done:
        status = f"partial: {done} of {wanted} seeds"
    else:
        status = f"failed: {next(iter(result.failures.values()))}" if result.failures else "missing: not run yet"
    return {
        "name": row.name,
        "overrides": row.overrides,
        "metrics": metrics,
        "paper": row.paper,
        "differences": differences,
        "incomparable": refused,
        "missing": missing,
        "status": status,
        "failures": {str(seed): reason for seed, reason in result.failures.items()},
        "runs": {str(seed): summary.get("mlflow_run_id") for seed, summary in result.summaries.items()},
    }


def over_seeds(values: list[float]) -> dict:
    """{"mean", "stderr", "n"}.

    The standard error is the sample's standard deviation over sqrt(n), None for a single seed.
    """
    n = len(values)
    stderr = float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else None
    return {"mean": float(np.mean(values)), "stderr": stderr, "n": n}


def one_value(values: list[str]) -> str:
    """The one that all rows have, or that they differ and in what."""
    different = list(dict.fromkeys(values))
    return f"rows differ ({'; '.join(different)})" if len(different) > 1 else "".join(different)


def what_errors_hold(configs: list[Experiment]) -> str:
    """In words, which sources of noise the standard errors over seeds contain, and which they do not."""
    holds, lacks = ["initial weights", "order of clips", "triplets"], []
    cached = [config for config in configs if config.stream.cache]
    stored = sorted({config.stream.views for config in cached})
    if stored and stored[-1] > 1:
        holds.append(f"choice among {' or '.join(map(str, stored))} stored views")
    if stored:
        lacks.append("the drawing of the stored views themselves, which all seeds share")
    if len(cached) < len(configs):  # the stream draws them under the run's own seed
        holds.append("augmented views")
    drawn = [config.data.fraction < 1 for config in configs]
    if any(drawn):
        holds.append("draw of the training clips" + ("" if all(drawn) else " where it is a share of them"))
    lacks.append("other validation clips" if all(drawn) else "other training or validation clips")
    return f"errors hold the seeds' {', '.join(holds[:-1])} and {holds[-1]}; not {' nor '.join(lacks)}"


def _coverage(summary: dict) -> str:
    return (
        ", ".join(f"{split} {c['found']:,} of {c['listed']:,}" for split, c in summary["coverage"].items() if c)
        + " videos"
    )


def _claims(table: Table, results: dict[str, RowResult]) -> list[dict]:
    judged = []
    for claim in table.parsed_claims():
        metric = claim.metric
        there = {name: runs for name in claim.rows if (runs := results[name].scores.get(metric.name))}
        if metric.exact:  # whichever seeds
            there = {name: {0: next(iter(runs.values()))} for name, runs in there.items()}
        seeds = set.intersection(*map(set, there.values())) if there else set()
        paired = {name: {seed: runs[seed] for seed in seeds} for name, runs in there.items()}
        verdict = judge(claim, aligned(paired) if seeds else {})
        p_value = None if verdict.p_value is None else float(verdict.p_value)
        note = verdict.note
        if len(there) == len(claim.rows) and not seeds:
            note = "no seed that all its rows have"
        units = {len(series) for runs in paired.values() for series in runs.values()}
        if len(units) > 1:
            note += f"; over the {metric.units} that all runs have, of {max(units)}"
        if max((len(runs) for runs in there.values()), default=0) > len(seeds) > 0:
            note += f"; over the seeds that all rows have: {', '.join(map(str, sorted(seeds)))}"
        said = {"text": verdict.text, "metric": metric.name, "verdict": verdict.verdict}
        judged.append(said | {"p_value": p_value, "note": note})
    return judged


def aligned(scores: dict[str, dict[int, pd.Series]]) -> dict[str, np.ndarray]:
    """{row: {seed: scores by unit}} -> {row: float [seeds, units]} over the units that all of them have,
    in one order.
    """
    every = [series for seeds in scores.values() for series in seeds.values()]
    units = sorted(set.intersection(*(set(series.index) for series in every)))
    return {
        row: np.stack([runs[seed].loc[units].to_numpy(float) for seed in sorted(runs)]) for row, runs in scores.items()
    }
