"""What all pages of the results app share: the store, readings kept while their file stays the same, text, colours."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboards.folder_store import FolderStore, stamp
from dashboards.mlflow_page import run_url, server_of, start_command
from dashboards.run_files import read_clips
from dashboards.store import Records, Run, Store, Table
from objadapt.config_where import at_home
from objadapt.data.manifest import TABLE
from objadapt.declared import INSTALLED
from objadapt.errors import InputError
from objadapt.evaluation.overlay import BASE
from objadapt.passwords import redact
from objadapt.run_folder import CLIPS, MANIFEST

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#666666"
SERIES = [f"rgb{BASE[number]}" for number in (4, 5, 2, 6, 0, 1, 7, 3)]  # the slots' colours, dark ones first
SYMBOLS = ["circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon"]  # colour never speaks alone
READING = "Reading the store ..."
VIEWS = Path(__file__).resolve().parent / "views"
NAME = """<svg xmlns="http://www.w3.org/2000/svg" width="132" height="32" viewBox="0 0 132 32">
<circle cx="9" cy="12" r="7" fill="#0072B2"/><circle cx="19" cy="19" r="7" fill="#E69F00" fill-opacity=".85"/>
<text x="32" y="23" textLength="98" lengthAdjust="spacingAndGlyphs" font-family="Source Sans,Arial" font-size="22"
font-weight="600" fill="#31333F">objadapt</text>
</svg>"""  # as wide as it is told, whatever font is there
STYLE = """<style>
.stMainBlockContainer { padding-top: 3.5rem; padding-bottom: 3rem; }
[data-testid="stSidebarCollapseButton"] { display: flex !important; visibility: visible !important; }
.stMarkdown, .stCaption, .stAlert, h1, h2, h3 { overflow-wrap: anywhere; }
</style>"""  # room on small windows; a sidebar that shows how it folds; long names that wrap
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
    st.error(plain(as_installed(" ".join(str(error).split()))))


def nothing(what: str, *commands: str) -> None:
    """Tell what would fill an empty page, with the commands."""
    st.info(what)
    for command in commands:
        shell(command)


def shell(command: str) -> None:
    """A command to copy, which wraps where there is no room."""
    st.code(as_installed(command), language="bash", wrap_lines=True)


def as_installed(text: str, installed: bool = INSTALLED) -> str:
    """Commands of a checkout as those of an installed objadapt, where that is what runs."""
    if not installed:
        return text
    text = re.sub(r"(?:\.venv/bin/)?python jobs/(\w+)\.py", lambda one: f"objadapt {one[1].replace('_', '-')}", text)
    text = text.replace("make dashboard STORE=", "objadapt dashboard ").replace("make demo", "objadapt demo")
    return re.sub(r"jobs/configs/(\w+)\.yaml", r"\1", text)


def script(title: str) -> Path:
    """The file of a page."""
    return VIEWS / f"{title.lower()}.py"


def link(title: str, label: str, **query: str) -> None:
    """A link to a page of the app, with what is chosen there."""
    st.page_link(script(title), label=label, query_params=query, icon=":material/arrow_forward:")


def choose(label: str, key: str, options: list, name: Callable[[Any], str], text: Callable[[Any], str]) -> Any:
    """A select box whose choice stands in the address, so that it can be linked to; the first option needs no address.

    Args:
        key: `PAGE.WORD`, of the session; the address has `?WORD=name`.
        name: an option's name in the address, unlike that of any other.
        text: an option in the box.
    """
    named, word = {name(option): option for option in options}, key.partition(".")[2]
    first = next(iter(named))
    if st.session_state.get(key) not in named:  # a page just opened, or an option that is gone
        wanted = st.query_params.get(word)
        st.session_state[key] = wanted if wanted in named else first
    chosen = st.selectbox(label, list(named), format_func=lambda one: text(named[one]), key=key)
    if chosen != first:
        st.query_params[word] = chosen
    elif word in st.query_params:
        del st.query_params[word]
    return named[chosen]


def on_toy(job: str) -> tuple[str, str]:
    """Commands that make toy data in the store, unless they exist, and run a job on them."""
    output, data = quote(str(folder())), quote(str(folder() / "toy"))
    return f".venv/bin/python jobs/make_toy.py {data}", f".venv/bin/python {job} data.root={data} output={output}"


def plain(text: str) -> str:
    """Text of files, data sets and errors, escaped, since Streamlit would take it for Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+!|$~<>:])", r"\\\1", text)


def mlflow_links(ids: dict[str, str], uri: str) -> None:
    """Links to runs on MLflow's page, `ids`: name -> id; where no server answers, how to start one."""
    server = st.text_input("MLflow server", server_of(uri), help="MLflow's own page, where the links lead").rstrip("/")
    try:
        for name, run_id in ids.items():
            st.link_button(f"{plain(name)}: MLflow run {run_id[:8]}", run_url(server, run_id))
    except InputError as error:
        st.info(plain(str(error)))
        shell(start_command(redact(uri)))


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


def pickable(drawn: go.Figure, key: str, alt: str) -> Any:
    """Show a figure of which a point can be chosen; -> Streamlit's event."""
    config = {"displaylogo": False, "displayModeBar": False, "scrollZoom": False}
    return st.plotly_chart(drawn, key=key, config=config, alt=alt, on_select="rerun", selection_mode="points")


def outcome(table: Table) -> dict | None:
    """`Store.outcome`, kept."""
    return _outcome(store(), table, store().stamp(table))


def all_runs() -> list:
    """`Store.runs`, kept."""
    return _runs(store(), store().stamp())


def records(run: Run) -> Records:
    """`Store.records`, kept."""
    return _records(store(), run, store().stamp(run))


def records_or_none(run: Run) -> Records | None:
    """The records of a run that has not ended; None where it left none. A finished run's are not needed."""
    try:
        return None if run.finished else records(run)
    except InputError:
        return None


def outcomes() -> list[tuple[str, dict]]:
    """Title and outcome of each table that can be read."""
    found = []
    for table in store().tables():
        try:
            found.append((table.title, outcome(table)))
        except InputError:
            continue  # Tables says why
    return [(title, one) for title, one in found if one]


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
