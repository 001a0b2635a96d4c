"""Runs, the best first: settings that differ, learning curves, waiting for data, clips a second, quarantined clips."""

import time

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboards import page
from dashboards.folder_store import FolderRun
from dashboards.run_files import read_evaluations
from dashboards.run_state import ACCURACY, State, accuracy_of, so_far, state
from dashboards.store import Records, Run
from dashboards.summaries import best_first, rows_of_runs
from objadapt.errors import InputError
from objadapt.metric import METRICS, TOP1

MOST = 8  # runs in one figure: everybody can tell no more colours apart
ACCURACIES = TOP1, METRICS["top5"]
COLUMNS = {  # what else of a summary -> (title, how it is written)
    "epochs": ("epochs", None),
    "train_loss": ("training loss", "%.3f"),
    "data_wait_share": ("data wait, last epoch", "percent"),
    "quarantined": ("quarantined", None),
    "num_train_clips": ("training clips", None),
    "views": ("views", None),
    "seconds": ("seconds", "%.0f"),
    "device": ("device", None),
}
SECTIONS = ("seed", "data", "sampling", "transform", "backbone", "method", "training", "evaluation")  # what is learned
CURVES = {
    "train/total": ("Training loss", "loss"),
    ACCURACY: ("Validation accuracy", TOP1.label),
    "train/data_wait_share": ("Share of time that training waited for data", "share"),
    "train/clips_per_second": ("Throughput", "clips a second"),
}


def content() -> None:
    """The whole page."""
    runs = best_first(page.all_runs())
    if not runs:
        page.nothing(*page.store().without_runs)
        return
    for run in runs:
        if run.problem:
            page.problem(run.problem)
    records = {run.name: page.records_or_none(run) for run in runs}
    states = {run.name: state(run, records[run.name], time.time()) for run in runs}
    table = _filtered(_table(runs, records, states))
    by_name = {run.name: run for run in runs}
    shown = [by_name[name] for name in table["run"]]
    chosen = _chosen(table, shown)
    if not chosen:
        return
    told = {}
    for run in chosen:
        try:
            told[run.name] = page.records(run)
        except InputError as error:
            if states[run.name].sentence is None:
                page.problem(error)
    for run in chosen:
        _state(run, states[run.name], told.get(run.name))
    if told:
        _curves(told)
    _evaluations(chosen)
    _mlflow(chosen)
    _quarantine(chosen)


def _filtered(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold every word of the filter."""
    words = st.text_input(
        "Filter", placeholder="words of a name, a state, a table's row or a setting", key="filter"
    ).split()
    texts = [" ".join(map(str, row)).lower() for row in table.itertuples(index=False)]
    return table[[all(word.lower() in text for word in words) for text in texts]]


def _chosen(table: pd.DataFrame, runs: list[Run]) -> list[Run]:
    """The table of runs; -> those that are chosen: by boxes, else by the address, else the best."""
    named = st.query_params.get("run")
    first = next((run for run in runs if run.name == named), runs[0] if runs else None)
    if first is None:
        st.info("No run holds all these words.")
        return []
    default = "the best is shown" if first.name != named else f"{page.plain(first.name)} is shown"
    st.caption(
        f"{len(runs)} runs, the most accurate first. Choose up to {MOST} (boxes at the left); without a choice,"
        f" {default}. A column's head sorts by it."
    )
    forms = {metric.title: f"%.{metric.decimals}f" for metric in ACCURACIES} | dict(COLUMNS.values())
    written = {title: st.column_config.NumberColumn(format=form) for title, form in forms.items() if form}
    event = st.dataframe(
        table,
        hide_index=True,
        height=min(320, 40 + 35 * len(table)),
        on_select="rerun",
        selection_mode="multi-row",
        key=f"runs {' '.join(table['run'])}",
        alt="a row for each run",
        column_config=written | {"run": st.column_config.TextColumn(pinned=True, width="medium")},
    )
    chosen = [runs[row] for row in event.selection.rows if row < len(runs)] or [first]
    if len(chosen) > MOST:
        st.warning(f"{len(chosen)} runs are chosen; the first {MOST} are shown.")
    return chosen[:MOST]


def _table(runs: list[Run], records: dict[str, Records | None], states: dict[str, State]) -> pd.DataFrame:
    """A row a run: results, the tables' rows that it is of, and each setting in which runs differ."""
    rows_of, rows = rows_of_runs(page.outcomes()), []
    differing = _differing(runs)
    for run in runs:
        reached = records[run.name]
        begun = so_far(reached) if reached is not None and not run.finished else {}
        summary = begun | run.summary
        rows.append(
            {"run": run.name, "state": states[run.name].word}
            | {metric.title: metric.value(summary) for metric in ACCURACIES}
            | {"row of": rows_of.get(run.mlflow_run or "", "")}
            | {title: run.settings.get(key) for key, title in differing.items()}
            | {title: summary.get(key) for key, (title, _) in COLUMNS.items()}
        )
    return pd.DataFrame(rows).replace("", None).dropna(axis=1, how="all")


def _differing(runs: list[Run]) -> dict[str, str]:
    """Settings in which runs differ -> the shortest ends of their keys that tell them apart."""
    known = [run.settings for run in runs if run.settings]
    keys = {key: None for settings in known for key in settings if key.split(".")[0] in SECTIONS}
    differing = [key for key in keys if len({settings.get(key) for settings in known}) > 1]
    ends = {key: key.split(".")[-1] for key in differing}
    taken = {title for title, _ in COLUMNS.values()}
    return {
        key: end if list(ends.values()).count(end) == 1 and end not in taken else ".".join(key.split(".")[-2:])
        for key, end in ends.items()
    }


def _state(run: Run, known: State, records: Records | None) -> None:
    """Say where a run trains, was cut off, failed, never began, or has lines that cannot be read."""
    if records is not None and records.damaged:
        st.warning(f"{page.plain(run.name)}, records.jsonl: {records.damaged} lines cannot be read and are left out.")
    if known.sentence is not None and not run.problem:
        show = st.info if known.word.startswith(("running", "not begun")) else st.warning
        show(page.plain(f"{run.name}: {known.sentence}"))


def _evaluations(chosen: list[Run]) -> None:
    """What jobs/evaluate.py found of the chosen runs, on other splits or under more views."""
    for run in chosen:
        if not isinstance(run, FolderRun):
            continue
        try:
            table = read_evaluations(run.folder)
        except InputError as error:
            page.problem(error)
            continue
        if not table.empty:
            st.subheader(f"Evaluations of {page.plain(run.name)}")
            percent = st.column_config.NumberColumn(format="percent")
            columns = {"top-1": percent, "top-5": percent}
            st.dataframe(table, hide_index=True, column_config=columns, alt="a row for each evaluation")


def _mlflow(chosen: list[Run]) -> None:
    """Links to the runs' pages in MLflow."""
    tracked = [run for run in chosen if run.mlflow_run]
    if not tracked:
        st.caption("The chosen runs are in no MLflow store.")
        return
    with st.expander("The chosen runs in MLflow"):
        try:
            uri = page.store().tracking_uri(tracked[0])
            page.mlflow_links({run.name: run.mlflow_run for run in tracked}, uri)
        except InputError as error:
            page.problem(error)


def _curves(records: dict[str, Records]) -> None:
    steps = st.toggle("Loss by step, not by epoch") if any(len(of_run.steps) for of_run in records.values()) else False
    places = st.columns(2)
    for number, (key, (title, axis)) in enumerate(CURVES.items()):
        by_step = steps and key == "train/total"
        drawn = page.figure(title, "step" if by_step else "epoch", axis)
        for place, (name, of_run) in enumerate(records.items()):
            table, column = (of_run.steps, "total") if by_step else (of_run.epochs, key)
            if column == ACCURACY:
                column = accuracy_of(table)
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
    parts, unknown = [], [run.name for run in chosen if not run.finished]
    for run in chosen:
        try:
            parts.append(page.store().quarantine(run).assign(run=run.name))
        except InputError as error:
            page.problem(error)
    clips = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if unknown:
        st.caption(f"Not known before its end: {page.plain(', '.join(unknown))}.")
    if clips.empty:
        if len(parts) == len(chosen) > len(unknown):
            st.caption(
                f"None{' in the finished ones' if unknown else ''}: every clip that was asked for could be read."
            )
        return
    st.dataframe(
        clips.groupby(["run", "stage", "reason"], as_index=False).size(), hide_index=True, alt="clips by reason"
    )
    st.dataframe(clips, hide_index=True, alt="every quarantined clip")


page.show("Runs", content)
