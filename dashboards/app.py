"""The results app: what a store has, its tables, runs, objects, classes, sweeps and uploads, on 127.0.0.1.

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

PAGES = ("Overview", "Tables", "Runs", "Objects", "Classes", "Sweep", "Upload")
SIDEBAR = 200  # pixels, of which windows of 800 have little to spare

st.set_page_config(page_title="objadapt", layout="wide", initial_sidebar_state=SIDEBAR)
pages = [st.Page(page.script(title), title=title, default=title == PAGES[0]) for title in PAGES]
chosen = st.navigation(pages)
st.set_page_config(page_title=f"{chosen.title} - objadapt")
st.logo(page.NAME, size="large")
st.html(page.STYLE)
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
