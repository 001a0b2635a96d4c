"""Sweep: how a search went, what mattered, accuracy against cost; follows one that runs."""

from collections.abc import Callable
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st
from optuna.trial import FrozenTrial, TrialState

from dashboards import page, sweep_charts
from dashboards.folder_store import stamp, sweeps
from dashboards.study_file import SweepFile, read_sweep
from objadapt.errors import InputError
from objadapt.run_folder import RECORDS
from objadapt.sweeps.study import COST

TIES = 5  # named with their settings
WORDS = {TrialState.FAIL: "failed", TrialState.PRUNED: "stopped early"}
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
    folder = page.choose("Sweep", "sweep.sweep", folders, lambda path: path.name, lambda path: path.name)
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
    counts = ", ".join(f"{number} {WORDS.get(state, state.name.lower())}" for state, number in states.items() if number)
    st.caption(
        f"Trials: {counts or 'none yet'}. They are judged on training clips that are held out,"
        " never on the validation set."
    )
    if states[TrialState.RUNNING]:
        st.caption(
            "A running trial may have been cut off, which the study cannot tell. The sweep's command, given again,"
            " runs such a trial again."
        )
    if not complete:
        st.info("No trial is complete yet; the figures come with the first.")
    else:
        _best(sweep)
        _figures(sweep, folder.name)
    if sweep.trials():
        _trials(sweep, folder.name)


def _best(sweep: SweepFile) -> None:
    """The best trial; where several tie, all of them."""
    best = sweep.best()
    value = f"{page.plain(sweep.metric)} {best[0].values[0]:.4g}"
    if len(best) == 1:
        st.markdown(f"**Best: trial {best[0].number}, {value}**, {_setting(best[0])}")
        return
    st.markdown(f"**Best: {len(best)} trials tie at {value}**")
    for trial in best[:TIES]:
        st.markdown(f"- trial {trial.number}: {_setting(trial)}")
    if len(best) > TIES:
        st.caption(f"and {', '.join(str(trial.number) for trial in best[TIES:])}; the list of trials has all of them")


def _trials(sweep: SweepFile, name: str) -> None:
    """The trials, those in which the objective is best first; the details of the one that is chosen."""
    st.subheader("Trials")
    maximise = sweep.study.directions[0].name == "MAXIMIZE"
    table = sweep.table().sort_values([sweep.metric, "trial"], ascending=[not maximise, True], ignore_index=True)
    event = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"trials {name}",
        column_config={name: st.column_config.Column(sweep_charts.short(name)) for name in sweep_charts.varied(sweep)}
        | {"trial": st.column_config.Column(pinned=True)},
        alt="a row for each trial, the best first",
    )
    if event.selection.rows and event.selection.rows[0] < len(table):
        st.query_params["trial"] = str(table["trial"].iloc[event.selection.rows[0]])
    named = {str(trial.number): trial for trial in sweep.trials()}
    if (number := st.query_params.get("trial")) not in named:  # the address leads to a trial, too
        st.caption("Choose a row (the box at its left) to see its details.")
        return
    _details(named[number], sweep)


def _details(trial: FrozenTrial, sweep: SweepFile) -> None:
    """All that is known of a trial."""
    st.subheader(f"Trial {trial.number}")
    told = {"state": trial.state.name.lower()}
    told |= {sweep.metric: _value(trial.values[0])} if trial.values else {}
    told |= {page.plain(key): _value(value) for key, value in trial.params.items()}
    told |= {"began": f"{trial.datetime_start:%Y-%m-%d %H:%M:%S}"} if trial.datetime_start else {}
    told |= {"took": f"{trial.duration.total_seconds():.0f} s"} if trial.duration else {}
    told |= {page.plain(key): _value(value) for key, value in trial.user_attrs.items()}
    told |= {"why it failed": page.plain(reason)} if (reason := sweep.reasons.get(str(trial.number))) else {}
    st.markdown("\n".join(f"- {key}: {value}" for key, value in told.items()))
    if trial.intermediate_values:
        drawn = page.figure("While it trained", "epoch", sweep.metric, 260)
        steps = trial.intermediate_values
        drawn.add_scatter(x=list(steps), y=list(steps.values()), mode="lines+markers", line={"color": page.BLUE})
        page.chart(drawn, f"trial {trial.number}", f"{sweep.metric} of trial {trial.number} while it trained")


def _setting(trial: FrozenTrial) -> str:
    return ", ".join(f"{page.plain(sweep_charts.short(key))} = {_value(value)}" for key, value in trial.params.items())


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
