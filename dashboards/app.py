"""The results app: tables, sweeps, objects, runs and uploads over one output folder, on 127.0.0.1.

    make dashboard STORE=outputs        # .venv/bin/python -m dashboards outputs
    make dashboard STORE=http://127.0.0.1:5000

It reads the plain files that jobs write and needs no server. Where MLflow's page answers, it links there. For the URI
of an MLflow store (http://..., sqlite:///...) it shows the tables and runs of that store.
"""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
for place in (REPOSITORY, REPOSITORY / "platform"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

import streamlit as st  # noqa: E402 -- behind the path that finds it

from dashboards import page  # noqa: E402 -- behind the path that finds it

VIEWS = Path(__file__).resolve().parent / "views"
PAGES = {"Tables": "tables", "Sweep": "sweep", "Objects": "objects", "Runs": "runs", "Upload": "upload"}

st.set_page_config(page_title="objadapt", layout="wide", initial_sidebar_state="auto")
pages = [st.Page(VIEWS / f"{name}.py", title=title, default=title == "Tables") for title, name in PAGES.items()]
chosen = st.navigation(pages)
store = page.store()
st.sidebar.caption(page.plain(store.caption), help=page.plain(store.place))
if store.folder is None or store.folder.is_dir():
    chosen.run()
else:
    st.title(chosen.title)
    page.nothing(
        f"There is no folder {page.plain(store.place)}. Give the output folder of your jobs, or make one:",
        "make dashboard STORE=outputs/demo",
        "make demo",
    )
