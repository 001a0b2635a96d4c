"""What all pages of the results app share: the store, readings kept while their file stays the same, text, colours."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from shlex import quote

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboards.folder_store import FolderStore, stamp
from dashboards.run_files import read_clips
from dashboards.store import Records, Run, Store, Table
from objadapt.config_where import at_home
from objadapt.data.manifest import TABLE
from objadapt.errors import InputError
from objadapt.evaluation.overlay import BASE
from objadapt.run_folder import CLIPS, MANIFEST

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#666666"
SERIES = [f"rgb{BASE[number]}" for number in (4, 5, 2, 6, 0, 1, 7, 3)]  # the slots' colours, dark ones first
SYMBOLS = ["circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon"]  # colour never speaks alone
READING = "Reading the store ..."
DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash"]


def _given() -> str:
    """The STORE of `python -m dashboards STORE`, which starts `streamlit run dashboards/app.py -- STORE`."""
    options = argparse.ArgumentParser(prog="dashboards/app.py")
    options.add_argument(
        "store", nargs="?", default="outputs", help="a job's output folder, or the URI of an MLflow store"
    )
    return at_home(options.parse_args().store)


def store() -> Store:
    """The store that the app was started for."""
    given = _given()
    if "://" in given:
        from dashboards.mlflow_store import MlflowStore  # MLflow takes seconds to load, and most stores are folders

        return MlflowStore(given)
    return FolderStore(Path(given).absolute())


def folder() -> Path:
    """The output folder that the app was started for; pages that need one ask `needs_folder` first."""
    found = store().folder
    assert found is not None
    return found


def show(title: str, content: Callable[[], None]) -> None:
    """A page: its title, then `content()`. An InputError becomes one line with the remedy."""
    st.title(title)
    try:
        content()
    except InputError as error:
        problem(error)


def problem(error: InputError | str) -> None:
    """Show in one line what cannot be shown, why, and what to do."""
    st.error(plain(" ".join(str(error).split())))


def nothing(what: str, *commands: str) -> None:
    """Tell what would fill an empty page, with the commands."""
    st.info(what)
    for command in commands:
        st.code(command, language="bash")


def on_toy(job: str) -> tuple[str, str]:
    """Commands that make toy data in the store, unless they exist, and run a job on them."""
    output, data = quote(str(folder())), quote(str(folder() / "toy"))
    return f".venv/bin/python jobs/make_toy.py {data}", f".venv/bin/python {job} data.root={data} output={output}"


def plain(text: str) -> str:
    """Text of files, data sets and errors, escaped, since Streamlit would take it for Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+!|$~<>:])", r"\\\1", text)


def figure(title: str, x: str, y: str, height: int = 320) -> go.Figure:
    """An empty figure with named axes. Its legend is below, so that narrow windows leave it its width."""
    return go.Figure(
        layout={
            "title": {"text": title, "font": {"size": 15}},
            "height": height,
            "margin": {"l": 10, "r": 10, "t": 44, "b": 10},
            "xaxis": {"title": x, "automargin": True},
            "yaxis": {"title": y, "automargin": True},
            "legend": {"orientation": "h", "y": -0.25, "yanchor": "top"},
            "template": "plotly_white",
        }
    )


def chart(drawn: go.Figure, key: str, alt: str) -> None:
    """Show a figure; `alt` describes it in words."""
    st.plotly_chart(drawn, key=key, config={"displaylogo": False, "displayModeBar": False}, alt=alt)


def outcome(table: Table) -> dict | None:
    """`Store.outcome`, kept."""
    return _outcome(store(), table, store().stamp(table))


def all_runs() -> list:
    """`Store.runs`, kept."""
    return _runs(store(), store().stamp())


def records(run: Run) -> Records:
    """`Store.records`, kept."""
    return _records(store(), run, store().stamp(run))


def needs_folder(what: str) -> bool:
    """Whether the app was started for an MLflow store; then say that this page needs an output folder."""
    if store().folder is None:
        nothing(
            f"{what} in an output folder, not in MLflow. Start the app for that folder:", "make dashboard STORE=outputs"
        )
    return store().folder is None


def clips(run: Path) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """`run_files.read_clips`, kept."""
    return _clips(str(run), stamp(run / CLIPS), stamp(run / MANIFEST / TABLE))


@st.cache_data(show_spinner=READING, max_entries=64)
def _outcome(_where: Store, _table: Table, stamp: tuple) -> dict | None:
    return _where.outcome(_table)


@st.cache_data(show_spinner=READING, max_entries=4)
def _runs(_where: Store, stamp: tuple) -> list:
    return _where.runs()


@st.cache_data(show_spinner=READING, max_entries=32)
def _records(_where: Store, _run: Run, stamp: tuple) -> Records:
    return _where.records(_run)


@st.cache_data(show_spinner=False, max_entries=8)
def _clips(run: str, *stamps: tuple) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    return read_clips(Path(run))
