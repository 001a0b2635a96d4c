"""Sweep: how a search went, what mattered, accuracy against cost; follows one that runs."""

from collections.abc import Callable
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st
from optuna.trial import TrialState

from dashboards import page, sweep_charts
from dashboards.folder_store import stamp, sweeps
from dashboards.study_file import SweepFile, read_sweep
from objadapt.errors import InputError
from objadapt.run_folder import RECORDS
from objadapt.sweeps.study import COST

EVERY = 5  # seconds between two looks at a sweep that runs


def content() -> None:
    """The whole page."""
    if page.needs_folder("A sweep's study lies"):
        return
    folders = sweeps(page.folder())
    if not folders:
        page.nothing(
            "No sweep has been run in this store yet. One of 20 trials takes most of an hour on toy data:",
            *page.on_toy(
                "jobs/sweep.py search_spaces/temperature_margin.yaml --config jobs/configs/toy.yaml"
                " --trials 20 --concurrent 2"
            ),
        )
        return
    folder = st.selectbox("Sweep", folders, format_func=lambda path: path.name)
    running = bool(_read(folder, *_stamps(folder)).trials(TrialState.RUNNING))
    follow = st.toggle(f"Follow (look again every {EVERY} s)", value=running, key=f"follow {folder.name}")
    st.fragment(_shown, run_every=EVERY if follow else None)(folder)


def _shown(folder: Path) -> None:
    """The state of a sweep; this part of the page is drawn again while the sweep runs."""
    try:
        sweep = _read(folder, *_stamps(folder))
    except InputError as error:
        page.problem(error)
        return
    complete = sweep.trials(TrialState.COMPLETE)
    states = {state: len(sweep.trials(state)) for state in TrialState}
    counts = ", ".join(f"{number} {state.name.lower()}" for state, number in states.items() if number)
    st.caption(
        f"Trials: {counts or 'none yet'}. They are judged on training clips that are held out,"
        " never on the validation set."
    )
    if states[TrialState.RUNNING]:
        st.caption("A trial that runs for ever was cut off; the sweep's command, given again, runs it again.")
    if not complete:
        st.info("No trial is complete yet; the figures come with the first.")
    else:
        best = max(
            complete, key=lambda one: one.values[0] * (1 if sweep.study.directions[0].name == "MAXIMIZE" else -1)
        )
        setting = ", ".join(
            f"{page.plain(sweep_charts.short(key))} = {_value(value)}" for key, value in best.params.items()
        )
        st.markdown(f"**Best: trial {best.number}, {page.plain(sweep.metric)} {best.values[0]:.4g}**, {setting}")
        _figures(sweep, folder.name)
    if sweep.trials():
        st.subheader("Trials")
        st.dataframe(sweep.table(), hide_index=True, alt="a row for each trial")


def _figures(sweep: SweepFile, name: str) -> None:
    left, right = st.columns(2)
    with left:
        _drawn(
            lambda: sweep_charts.history(sweep), f"history {name}", "the objective of each trial, and the best so far"
        )
    with right:
        _drawn(lambda: sweep_charts.importances(sweep), f"importance {name}", "how much each parameter matters")
    if sweep.front().empty:
        st.info(f"No trial has noted its cost ({COST}), so there is no accuracy against cost.")
    else:
        _drawn(lambda: sweep_charts.cost(sweep), f"cost {name}", "the objective against GFLOPs, with the Pareto front")
    _drawn(lambda: sweep_charts.slices(sweep), f"slices {name}", "the objective against each parameter")
    _drawn(lambda: sweep_charts.parallel(sweep), f"parallel {name}", "a line for each trial over all parameters")
    names = sweep_charts.varied(sweep)
    if len(names) > 1:
        left, right = st.columns(2)
        first = left.selectbox("Contour of", names, format_func=sweep_charts.short, key=f"first {name}")
        others = [one for one in names if one != first]
        second = right.selectbox("and", others, format_func=sweep_charts.short, key=f"second {name}")
        _drawn(
            lambda: sweep_charts.contour(sweep, first, second), f"contour {name}", "the objective over two parameters"
        )


def _drawn(draw: Callable[[], go.Figure], key: str, alt: str) -> None:
    """A figure, or why there is none yet."""
    try:
        page.chart(draw(), key, alt)
    except InputError as error:
        st.info(page.plain(str(error)))


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else page.plain(str(value))


def _stamps(folder: Path) -> tuple:
    return stamp(folder / "study.db"), stamp(folder / RECORDS)


@st.cache_resource(show_spinner=False, max_entries=8)
def _read(folder: Path, *stamps: tuple) -> SweepFile:
    return read_sweep(folder)


page.show("Sweep", content)
