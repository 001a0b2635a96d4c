"""Overview: what the store has. The best run of each data set, the newest runs, tables with their claims, objects."""

import math
import time
from pathlib import Path, PurePath

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboards import page
from dashboards.clip import clip_of
from dashboards.run_files import read_scores, surest_first
from dashboards.run_state import ago_text, state
from dashboards.store import Run, read_json
from dashboards.summaries import Best, best_of_each, claims_counted, demo_rows, rows_done
from objadapt.errors import InputError
from objadapt.metric import JF, TOP1
from objadapt.run_folder import CLIPS, OBJECTS, SUMMARY

NEWEST, FRAMES = 5, 6


def content() -> None:
    """The whole page."""
    runs, tables = page.all_runs(), page.store().tables()
    if not runs and not tables:
        page.nothing(*page.store().without_runs)
        return
    found = best_of_each(runs)
    for best in found:
        _best(best)
    _demo()
    _newest(runs)
    _tables(tables)
    if found and page.store().folder is not None:
        _objects(found)


def _best(best: Best) -> None:
    """The best run of a data set against chance and a linear probe."""
    run = best.runs[0]
    st.subheader(f"Best on {page.plain(best.dataset)}")
    if best.accuracy is None:
        st.markdown(f"{len(best.runs)} runs, and none has an accuracy yet. The newest: {page.plain(run.name)}")
    else:
        cells = [(TOP1.label, best.accuracy, "of the validation clips, by the best run")]
        cells += [("chance", best.chance, "the share of a guess")] if best.chance is not None else []
        probe = ("linear probe", best.probe, "the best run of method linear_probe on this data set")
        cells += [probe] if best.probe is not None else []
        for davis, score in _best_scores(best.runs).items():
            told = f"of objects in the sequences of {davis}, by the run that scores best there; it may be another run"
            cells.append((f"J&F, {PurePath(davis).name}", score, told))
        with st.container(horizontal=True):
            for label, value, told in cells:
                st.metric(label, f"{value:.1f} %", help=told, width=150)
        words = [page.plain(run.name)]
        if best.chance:
            words.append(f"{best.accuracy - best.chance:+.1f} points over chance")
        if best.probe is not None:
            words.append(f"{best.accuracy - best.probe:+.1f} points over the linear probe")
        else:
            words.append("no linear probe was trained on this data set (method.name=linear_probe)")
        st.caption("; ".join(words))
    with st.container(horizontal=True):
        page.link("Runs", "Its curves", run=run.name)
        if page.store().folder is not None:
            page.link("Objects", "Its objects", run=run.name)
            page.link("Classes", "Its classes", run=run.name)


def _best_scores(runs: list[Run]) -> dict[str, float]:
    """Folder of sequences -> the best J&F, %, of an output folder's runs on them; a damaged file is told on Objects."""
    folder, best = page.store().folder, {}
    for run in runs if folder is not None else []:
        try:
            scores = read_scores(run.folder)
        except InputError:
            continue
        for score in scores:
            best[score["davis"]] = max(JF.scale * score["mean"], best.get(score["davis"], -math.inf))
    return dict(sorted(best.items()))


def _demo() -> None:
    """What `make demo` printed, where this store is its."""
    folder = page.store().folder
    if folder is None or not (folder / SUMMARY).exists():
        return
    accuracies, scores = demo_rows(read_json(folder / SUMMARY, "`make demo` writes it anew"))
    if not accuracies:
        return
    st.subheader("The demo's result (toy numbers)")
    for place, rows, title in zip(st.columns(2), (accuracies, scores), (TOP1.title, "J&F (%)"), strict=True):
        if rows:
            with place:
                page.chart(
                    _bars(rows, title), f"demo {title}", "; ".join(f"{name} {value:.1f} %" for name, value in rows)
                )


def _bars(rows: list[tuple[str, float]], title: str) -> go.Figure:
    """A bar a row, the method's own in colour."""
    drawn = page.figure(title, "", "", 90 + 34 * len(rows))
    drawn.add_bar(
        x=[value for _, value in rows],
        y=[name for name, _ in rows],
        text=[f"{value:.1f}" for _, value in rows],
        textposition="outside",
        cliponaxis=False,
        orientation="h",
        marker={"color": [page.BLUE, *[page.GREY] * (len(rows) - 1)]},
    )
    drawn.update_yaxes(autorange="reversed")
    return drawn.update_xaxes(range=[0, 1.15 * max(value for _, value in rows)], showticklabels=False)


def _newest(runs: list[Run]) -> None:
    """The runs that changed last."""
    if not runs:
        return
    st.subheader("Newest runs")
    rows = []
    for run in sorted(runs, key=lambda run: -run.changed)[:NEWEST]:
        accuracy = TOP1.value(run.summary)
        rows.append(
            {
                "run": run.name,
                "state": state(run, page.records_or_none(run), time.time()).word,
                TOP1.title: None if accuracy is None else f"{accuracy:.1f}",
                "changed": f"{ago_text(time.time() - run.changed)} ago" if run.changed else "",
            }
        )
    numbers = {TOP1.title: st.column_config.TextColumn(alignment="right")}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=numbers, alt="the runs that changed last")
    page.link("Runs", f"All {len(runs)} runs")


def _tables(tables: list) -> None:
    """Each table with its claims counted."""
    if not tables:
        return
    st.subheader("Tables")
    for table in tables:
        try:
            outcome = page.outcome(table)
        except InputError as error:
            page.problem(error)
            continue
        told = "started, nothing written yet" if outcome is None else f"{rows_done(outcome)}; {claims_counted(outcome)}"
        with st.container(horizontal=True, vertical_alignment="center"):
            page.link("Tables", page.plain(table.title), table=table.title)
            st.caption(told, width="content")


def _objects(found: list[Best]) -> None:
    """Strips of what the best runs see: pictures that they left, else the clip that the best is most sure of."""
    st.subheader("Objects")
    shown = False
    for best in found:
        for run in best.runs:
            folder: Path = run.folder / OBJECTS
            pictures = [path for path in sorted(folder.glob("*.png")) if not path.stem.endswith("-slots")]
            if pictures:
                st.image(str(pictures[0]), width="stretch", alt=f"objects that {run.name} sees in {pictures[0].stem}")
                st.caption(f"{page.plain(run.name)}, annotated sequence {page.plain(pictures[0].stem)}")
                shown = True
                break
    if not shown:
        _strip(found)


def _strip(found: list[Best]) -> None:
    from dashboards.inference import seen, trained  # torch takes seconds to load, and the rest of the page needs none
    from dashboards.slot_pictures import strip

    runs = trained([run for best in found for run in best.runs if (run.folder / CLIPS).exists()])
    if not runs:
        st.caption("No run has both a checkpoint and predictions yet, so there are no objects to show.")
        return
    try:
        row = next(surest_first(page.clips(runs[0].folder)[0]).itertuples())
        picture = strip(seen(runs[0].folder, clip_of(row)), FRAMES)
    except InputError as error:
        page.problem(error)
        return
    st.image(picture, width="stretch", alt=f"objects that {runs[0].name} sees in {row.clip_id}")
    st.caption(f"{page.plain(runs[0].name)}, clip {page.plain(str(row.clip_id))}")


page.show("Overview", content)
