"""Classes: which ones a run takes for which, figures of each class; from a cell or a class to its clips."""

import numpy as np
import pandas as pd
import streamlit as st

from dashboards import page
from dashboards.clip import clip_of
from dashboards.clip_grid import Card, grid
from dashboards.confusion import PAIR, matrix, mixed_up, most_mixed_up, per_class
from dashboards.run_files import surest_first
from dashboards.summaries import best_first
from objadapt.metric import TOP1
from objadapt.run_folder import CLIPS

ENDS = 22  # letters of a name on an axis
MOST = 30  # classes in one figure, whose cells people can still tell apart
PERCENT = {name: st.column_config.NumberColumn(format="%.1f") for name in ("recall (%)", "precision (%)", PAIR[-1])}


def content() -> None:
    """The whole page."""
    if page.needs_folder("Predictions of single clips lie"):
        return
    runs = [run for run in best_first(page.all_runs()) if (run.folder / CLIPS).exists()]
    if not runs:
        page.nothing("No run of this store has predictions of single clips yet.", "make demo")
        return
    run = page.choose("Run", "classes.run", runs, lambda one: one.name, _label)
    clips, classes = page.clips(run.folder)
    heads = list(classes)
    head = page.choose("Judged by", "classes.head", heads, str, str) if len(heads) > 1 else heads[0]
    judged, names = surest_first(clips[clips["head"] == head]), list(classes[head])
    judged = judged[judged["true"].notna()]
    if judged.empty:
        st.info("The run's clips have no labels, so nothing can be said of its classes.")
        return
    counts = matrix(judged, names)
    right = int(np.trace(counts))
    st.caption(f"{right} of {len(judged)} validation clips are right, of {len(names)} classes.")
    cell = _matrix(counts, names, run.name)
    table, pairs = st.columns(2)
    with table:
        one = _per_class(counts, names, run.name)
    with pairs:
        pair = _pairs(counts, names, run.name)
    _clips(judged, cell or pair or one, run.name)


def _label(run) -> str:
    accuracy = TOP1.value(run.summary)
    return run.name if accuracy is None else f"{run.name} ({TOP1.label} {TOP1.text(accuracy)})"


def _matrix(counts: np.ndarray, names: list[str], key: str) -> tuple[str, str] | None:
    """The confusion matrix; -> the true and the predicted class of the cell that is chosen."""
    kept = most_mixed_up(counts, MOST)
    if len(kept) < len(names):
        st.caption(f"The figure shows the {MOST} classes with the most mistakes; the lists below have all.")
    shown, own = counts[np.ix_(kept, kept)], [names[place] for place in kept]
    shares = shown / np.maximum(counts[kept].sum(axis=1, keepdims=True), 1)
    true, predicted = np.nonzero(shown)
    ticks = {"tickmode": "array", "tickvals": list(range(len(own))), "ticktext": [_short(name) for name in own]}
    drawn = page.figure("True class (rows) and answer (columns)", "answer", "true class", 190 + 26 * len(own))
    drawn.add_heatmap(
        z=shares,
        text=np.where(shown > 0, shown.astype(str), ""),
        texttemplate="%{text}",
        hoverinfo="skip",
        colorscale=[[0, "white"], [0.001, "#d8e6f0"], [1, page.BLUE]],
        zmin=0,
        zmax=1,
        xgap=1,
        ygap=1,
        showscale=False,
    )
    drawn.add_scatter(  # a heatmap's cells cannot be chosen, so points lie over them
        x=predicted,
        y=true,
        mode="markers",
        hovertext=[
            f"{own[t]}<br>taken for {own[p]}:<br>{shown[t, p]} clips" for t, p in zip(true, predicted, strict=True)
        ],
        hoverinfo="text",
        marker={"symbol": "square", "size": 12, "color": page.ORANGE, "opacity": 0.01},
        selected={"marker": {"opacity": 0.6}},
        unselected={"marker": {"opacity": 0.01}},
        showlegend=False,
    )
    half = [-0.5, len(own) - 0.5]
    drawn.update_xaxes(**ticks, range=half, tickangle=-90, showgrid=False, zeroline=False)
    drawn.update_yaxes(**ticks, range=half[::-1], showgrid=False, zeroline=False)
    event = page.pickable(drawn, f"confusion {key}", "clips of each true class and answer")
    st.caption(
        "Darker: a larger share of the true class. Right answers lie on the diagonal. Choose a cell to see its clips."
    )
    points = event["selection"]["points"]
    if not points:
        return None
    return own[int(points[0]["y"])], own[int(points[0]["x"])]


def _per_class(counts: np.ndarray, names: list[str], key: str) -> tuple[str, None] | None:
    """Figures of each class; -> the class that is chosen."""
    st.subheader("Each class")
    table = per_class(counts, names)
    row = _row(table, f"class {key}", "a row for each class, the least recognised first")
    return None if row is None else (table["class"].iloc[row], None)


def _pairs(counts: np.ndarray, names: list[str], key: str) -> tuple[str, str] | None:
    """Pairs of classes that are mixed up; -> the one that is chosen."""
    st.subheader("Most often mixed up")
    table = mixed_up(counts, names)
    if table.empty:
        st.caption("None: every clip is right.")
        return None
    row = _row(table, f"pair {key}", "classes that are mixed up, the most frequent first")
    return None if row is None else tuple(table[PAIR[:2]].iloc[row])


def _row(table: pd.DataFrame, key: str, alt: str) -> int | None:
    event = st.dataframe(
        table,
        hide_index=True,
        height=min(360, 40 + 35 * len(table)),
        on_select="rerun",
        selection_mode="single-row",
        key=key,
        column_config={name: form for name, form in PERCENT.items() if name in table},
        alt=alt,
    )
    rows = event.selection.rows
    return rows[0] if rows and rows[0] < len(table) else None


def _clips(judged: pd.DataFrame, cell: tuple[str, str | None] | None, run: str) -> None:
    """The clips of a cell or a class; one leads to Objects."""
    st.subheader("Clips")
    if cell is None:
        st.caption("Choose a cell, or a row (the box at its left), to see its clips.")
        return
    true, predicted = cell
    some = judged[judged["true"] == true]
    some = some if predicted is None else some[some["predicted"] == predicted]
    taken = "" if predicted is None else f", taken for {page.plain(predicted)}"
    st.markdown(f"**{page.plain(true)}{taken}: {len(some)} clips**")
    query = {"run": run, "true": true} | ({} if predicted is None else {"predicted": predicted})
    page.link("Objects", "Look at them on Objects", **query)
    if some.empty:
        return
    cards = [Card(str(row.clip_id), clip_of(row), _told(row)) for row in some.itertuples()]
    if (pressed := grid(cards, None, "classes")) is not None:
        st.switch_page(page.script("Objects"), query_params=query | {"clip": pressed})


def _told(row: tuple) -> str:
    verdict = ":orange-badge[wrong]" if row.wrong else ":blue-badge[right]"
    return f"{verdict} {100 * row.probability:.0f} %  \n{page.plain(str(row.predicted))}"


def _short(name: str) -> str:
    """The end of a long name, which tells it from others more often than its beginning."""
    return name if len(name) <= ENDS else f"…{name[1 - ENDS :]}"


page.show("Classes", content)
