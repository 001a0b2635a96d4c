"""Runs: learning curves, how long training waited for data, clips a second, and the clips that could not be used."""

import time

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboards import page
from dashboards.store import Records, Run
from objadapt.errors import InputError
from objadapt.metric import METRICS, TOP1, stored_name

MOST = 8  # runs in one figure: everybody can tell no more colours apart
RECENT = 600  # seconds since the last record within which a run without an end counts as training
ACCURACIES = TOP1, METRICS["top5"]
COLUMNS = {  # what else of a summary -> (title, how it is written)
    "epochs": ("epochs", None),
    "train_loss": ("training loss", "%.3f"),
    "data_wait_share": ("data wait", "percent"),
    "quarantined": ("quarantined", None),
    "num_train_clips": ("training clips", None),
    "views": ("views", None),
    "seconds": ("seconds", "%.0f"),
    "device": ("device", None),
}
ACCURACY = f"val/{TOP1.name}"
CURVES = {
    "train/total": ("Training loss", "loss"),
    ACCURACY: ("Validation accuracy", TOP1.label),
    "train/data_wait_share": ("Share of time that training waited for data", "share"),
    "train/clips_per_second": ("Throughput", "clips a second"),
}


def content() -> None:
    """The whole page."""
    runs = page.all_runs()
    if not runs:
        page.nothing(*page.store().without_runs)
        return
    for run in runs:
        if run.problem:
            page.problem(run.problem)
    choice = f"Choose up to {MOST} (boxes at the left); without a choice, the newest is shown."
    st.caption(f"{len(runs)} runs, the newest first. {choice}")
    forms = {metric.title: f"%.{metric.decimals}f" for metric in ACCURACIES} | dict(COLUMNS.values())
    written = {title: st.column_config.NumberColumn(format=form) for title, form in forms.items() if form}
    event = st.dataframe(
        _table(runs),
        hide_index=True,
        height=280,
        on_select="rerun",
        selection_mode="multi-row",
        key="runs",
        alt="a row for each run",
        column_config=written,
    )
    chosen = [runs[row] for row in event.selection.rows if row < len(runs)] or runs[:1]
    if len(chosen) > MOST:
        st.warning(f"{len(chosen)} runs are chosen; the first {MOST} are shown.")
    chosen = chosen[:MOST]
    records = {}
    for run in chosen:
        try:
            records[run.name] = page.records(run)
        except InputError as error:
            page.problem(error)
    for name, of_run in records.items():
        _state(page.plain(name), of_run)
    _curves(records)
    _quarantine(chosen)


def _table(runs: list[Run]) -> pd.DataFrame:
    rows = [
        {"run": run.name, "state": "finished" if run.finished else "damaged summary" if run.problem else "not finished"}
        | {metric.title: metric.value(run.summary) for metric in ACCURACIES}
        | {title: run.summary.get(key) for key, (title, _) in COLUMNS.items()}
        for run in runs
    ]
    return pd.DataFrame(rows).dropna(axis=1, how="all")


def _state(name: str, records: Records) -> None:
    """Say where a run trains, was cut off, failed, or has lines that cannot be read."""
    if records.damaged:
        st.warning(f"{name}, records.jsonl: {records.damaged} lines cannot be read and are left out.")
    if records.status in ("FAILED", "KILLED"):
        st.warning(f"{name}: ended as {records.status}; the command that trained it goes on from its last checkpoint.")
    elif records.status is None and records.seconds is not None:
        ago = time.time() - records.seconds
        state = "training" if ago < RECENT else "cut off; the command that trained it goes on from its last checkpoint"
        st.info(f"{name}: {state} (last record {_ago(ago)} ago).")


def _curves(records: dict[str, Records]) -> None:
    steps = st.toggle("Loss by step, not by epoch") if any(len(of_run.steps) for of_run in records.values()) else False
    places = st.columns(2)
    for number, (key, (title, axis)) in enumerate(CURVES.items()):
        by_step = steps and key == "train/total"
        drawn = page.figure(title, "step" if by_step else "epoch", axis)
        for place, (name, of_run) in enumerate(records.items()):
            table, column = (of_run.steps, "total") if by_step else (of_run.epochs, key)
            if column == ACCURACY:
                column = f"val/{stored_name(TOP1.name, [name.removeprefix('val/') for name in table])}"
            if column not in table:
                continue
            series = table[column].dropna()
            drawn.add_scatter(
                x=series.index,
                y=series,
                name=name,
                mode="lines" if by_step else "lines+markers",
                line={"color": page.SERIES[place], "dash": page.DASHES[place]},
                marker={"symbol": page.SYMBOLS[place], "size": 8},
            )
        if key != "train/total":
            drawn.update_yaxes(rangemode="tozero")
        if not by_step:
            last = max((series.x[-1] for series in drawn.data), default=1)
            drawn.update_xaxes(dtick=-(-last // 8), range=[0.5, last + 0.5])  # whole epochs
        with places[number % 2]:
            if drawn.data:
                page.chart(_with_names(drawn, len(records)), f"curve {key}", f"{title} of the chosen runs")
            else:
                st.info(f"{title}: the chosen runs have no such record yet.")


def _with_names(drawn: go.Figure, runs: int) -> go.Figure:
    """The figure with room below for the names of the runs, a line each."""
    return drawn.update_layout(
        height=300 + 22 * runs, showlegend=True, legend={"orientation": "v", "x": 0, "y": -0.3, "yanchor": "top"}
    )


def _quarantine(chosen: list[Run]) -> None:
    st.subheader("Quarantined clips")
    parts = []
    for run in chosen:
        try:
            parts.append(page.store().quarantine(run).assign(run=run.name))
        except InputError as error:
            page.problem(error)
    clips = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if clips.empty:
        st.caption("None in the chosen runs: every clip was read exactly.")
        return
    st.dataframe(
        clips.groupby(["run", "stage", "reason"], as_index=False).size(), hide_index=True, alt="clips by reason"
    )
    st.dataframe(clips, hide_index=True, alt="every quarantined clip")


def _ago(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )


page.show("Runs", content)
