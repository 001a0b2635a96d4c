"""What all pages of the results app share: the store, readings kept while their file stays the same, text, colours."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from types import ModuleType

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboards.run_files import Records, read_clips, read_quarantine, read_records
from dashboards.store import Run, TableFile, read_outcome, runs, stamp, tables
from objadapt.config_where import at_home
from objadapt.data.manifest import TABLE
from objadapt.errors import InputError
from objadapt.evaluation.overlay import BASE
from objadapt.run_folder import CLIPS, MANIFEST, RECORDS, RUNS, SUMMARY

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#666666"
SERIES = [f"rgb{BASE[number]}" for number in (4, 5, 2, 6, 0, 1, 7, 3)]  # the slots' colours, dark ones first
SYMBOLS = ["circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon"]  # colour never speaks alone
FRESH = 10  # seconds for which MLflow's answers are kept
DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash"]


def _given() -> str:
    """The STORE of `python -m dashboards STORE`, which starts `streamlit run dashboards/app.py -- STORE`."""
    options = argparse.ArgumentParser(prog="dashboards/app.py")
    options.add_argument(
        "store", nargs="?", default="outputs", help="a job's output folder, or the URI of an MLflow store"
    )
    return at_home(options.parse_args().store)


def tracking() -> str | None:
    """URI of the MLflow store that the app was started for; None for an output folder."""
    return _given() if "://" in _given() else None


def store() -> Path:
    """The output folder that the app was started for."""
    return Path(_given()).absolute()


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
    output, data = quote(str(store())), quote(str(store() / "toy"))
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


def all_tables() -> list:
    """`tables` of the folder or of the MLflow store."""
    return _mlflow().tables(tracking()) if tracking() else tables(store())


def outcome(table: TableFile) -> dict | None:
    """A table's outcome, kept; None where it is not written yet."""
    if tracking():
        return _mlflow_outcome(tracking(), table)
    return _outcome(stamp(table.outcome)) if table.outcome else None


def all_runs() -> list[Run]:
    """`runs` of the folder, kept until a run begins, ends or goes; or those of the MLflow store."""
    if tracking():
        return _mlflow_runs(tracking())
    folder = store()
    return _runs(str(folder), tuple(sorted(stamp(path / SUMMARY) for path in folder.glob(f"{RUNS}/*"))))


def records(run: Run) -> Records:
    """`read_records`, kept."""
    return _mlflow_records(tracking(), run) if tracking() else _records(stamp(run.folder / RECORDS))


def quarantine(run: Run) -> pd.DataFrame:
    """`read_quarantine`."""
    return _mlflow().read_quarantine(tracking(), run) if tracking() else read_quarantine(run.folder)


def needs_folder(what: str) -> bool:
    """Whether the app was started for an MLflow store; then say that this page needs an output folder."""
    if tracking():
        nothing(
            f"{what} in an output folder, not in MLflow. Start the app for that folder:", "make dashboard STORE=outputs"
        )
    return bool(tracking())


def clips(run: Path) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """`run_files.read_clips`, kept."""
    return _clips(str(run), stamp(run / CLIPS), stamp(run / MANIFEST / TABLE))


@st.cache_data(show_spinner=False, max_entries=64)
def _outcome(key: tuple[str, int, int]) -> dict:
    return read_outcome(Path(key[0]))


def _mlflow() -> ModuleType:
    from dashboards import mlflow_store  # MLflow takes seconds to load, and most stores are folders

    return mlflow_store


@st.cache_data(show_spinner="Asking MLflow ...", max_entries=16, ttl=FRESH)
def _mlflow_outcome(uri: str, table: object) -> dict | None:
    return _mlflow().read_outcome(uri, table)


@st.cache_data(show_spinner="Asking MLflow ...", max_entries=2, ttl=FRESH)
def _mlflow_runs(uri: str) -> list:
    return _mlflow().runs(uri)


@st.cache_data(show_spinner="Asking MLflow ...", max_entries=32, ttl=FRESH)
def _mlflow_records(uri: str, run: object) -> Records:
    return _mlflow().read_records(uri, run)


@st.cache_data(show_spinner=False, max_entries=4)
def _runs(folder: str, stamps: tuple) -> list[Run]:
    return runs(Path(folder))


@st.cache_data(show_spinner=False, max_entries=32)
def _records(key: tuple[str, int, int]) -> Records:
    return read_records(Path(key[0]))


@st.cache_data(show_spinner=False, max_entries=8)
def _clips(run: str, *stamps: tuple) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    return read_clips(Path(run))
