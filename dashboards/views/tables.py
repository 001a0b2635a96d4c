"""Tables: our numbers beside the paper's, claims with verdicts, missing cells; a row leads to its MLflow runs."""

import pandas as pd
import streamlit as st

from dashboards import page
from dashboards.store import Table
from objadapt.tables import formats

VERDICTS = {"holds": "blue", "fails": "orange"}  # any other verdict is grey
EXPORTS = {
    "Markdown": ("md", formats.markdown, "text/markdown"),
    "LaTeX": ("tex", formats.latex, "text/x-tex"),
    "CSV": ("csv", formats.csv_text, "text/csv"),
}


def content() -> None:
    """The whole page."""
    tables = page.store().tables()
    if not tables:
        page.nothing(
            "No table has been made in this store yet. One of toy data, over five seeds:",
            f".venv/bin/python jobs/reproduce.py --table losses --dataset toy --seeds 5 {page.store().option}",
        )
        return
    table = page.choose("Table", "tables.table", tables, lambda table: table.title, lambda table: table.title)
    outcome = page.outcome(table)
    if outcome is None:
        page.nothing(
            f"Table {page.plain(table.title)} was started, and none of it is written yet: its rows are still being"
            " trained, or the training was cut off. The same command goes on where it stopped."
            " Runs shows the runs so far."
        )
        return
    st.subheader(page.plain(outcome["caption"]))
    st.caption("  \n".join(page.plain(line) for line in formats.facts(outcome)))
    _unfinished(outcome)
    row = _grid(outcome)
    if row is not None:
        _runs_of(row, table)
    _claims(outcome)
    _comparison(outcome)
    with st.expander("Missing cells, notes, command"):
        st.markdown("\n".join(f"- {page.plain(line)}" for line in formats.below(outcome)))
    _exports(outcome)


def _unfinished(outcome: dict) -> None:
    """Rows without all their seeds, by name."""
    undone = [row for row in outcome["rows"] if row["status"] not in ("done", "published")]
    if undone:
        lines = "\n".join(f"- **{page.plain(row['name'])}**: {page.plain(row['status'])}" for row in undone)
        st.warning(f"{len(undone)} of {len(outcome['rows'])} rows are not whole:\n{lines}")
        command = outcome.get("command") or "python jobs/reproduce.py --table ..."
        left_out = "; without --rows it also adds the rows that this option left out" if "--rows" in command else ""
        st.caption(f"The same command adds what it can{left_out}:")
        page.shell(command)


def _grid(outcome: dict) -> dict | None:
    """The table itself; -> the row that is chosen."""
    header, lines = formats.grid(outcome)
    names = [f"difference, {header[at - 1]}" if name == "difference" else name for at, name in enumerate(header)]
    shown = pd.DataFrame(lines, columns=names)
    differences = [name for name in names if name.startswith("difference, ")]
    numbers = {name: st.column_config.TextColumn(alignment="right") for name in names[1:-1]}
    numbers[names[0]] = st.column_config.TextColumn(pinned=True)
    styled = shown.style.map(_tint, subset=differences) if differences else shown
    event = st.dataframe(
        styled,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"rows {outcome['table']} {outcome['dataset']}",
        column_config=numbers,
        alt=f"table {outcome['table']}: a row for each setting",
    )
    if differences:
        st.caption("Difference: ours minus the paper's; blue above it, orange below, paler where it is small.")
    st.caption("Choose a row (the box at its left) to see its runs in MLflow.")
    chosen = event.selection.rows
    return outcome["rows"][chosen[0]] if chosen and chosen[0] < len(outcome["rows"]) else None


def _tint(text: str) -> str:
    """Background of a difference: blue above, orange below, full strength from 5 on."""
    try:
        value = float(text)
    except ValueError:
        return ""
    red, green, blue = (0, 114, 178) if value > 0 else (230, 159, 0)
    strength = 0.0 if value == 0 else 0.12 + 0.43 * min(1.0, abs(value) / 5)
    return f"background-color: rgba({red}, {green}, {blue}, {strength:.2f})"


def _runs_of(row: dict, table: Table) -> None:
    """Links to a row's runs, and where no server answers, how to start one."""
    ids = {seed: run for seed, run in row["runs"].items() if run}
    st.markdown(f"**Runs of row {page.plain(row['name'])}**")
    for seed, reason in row["failures"].items():
        page.problem(f"seed {seed} failed: {reason}")
    if not ids:
        st.info("No run of this row is in MLflow: it was not trained, or no store answered then.")
        return
    page.mlflow_links({f"seed {seed}": run_id for seed, run_id in ids.items()}, page.store().tracking_uri(table))


def _claims(outcome: dict) -> None:
    """The paper's claims, judged on these runs."""
    if not outcome["claims"]:
        return
    st.subheader("Claims")
    for text, verdict, p_value, note in formats.claim_cells(outcome):
        colour = VERDICTS.get(verdict, "gray")
        line = f":{colour}-badge[{page.plain(verdict)}] {page.plain(text)}"
        st.markdown(f"{line}  \n:gray[p {page.plain(p_value)}; {page.plain(note)}]" if note else line)


def _comparison(outcome: dict) -> None:
    """One metric of all rows, with the paper's numbers."""
    columns = [c for c in outcome["columns"] if any(c["metric"] in row["metrics"] for row in outcome["rows"])]
    if not columns:
        return
    st.subheader("Row by row")
    column = st.selectbox("Metric", columns, format_func=lambda one: one["title"])
    ours = "toy" if outcome["toy"] else "ours"
    drawn = page.figure(
        f"{column['title']}, {ours}; bars: standard error over seeds",
        column["title"],
        "",
        120 + 45 * len(outcome["rows"]),
    )
    cells = [
        (row["name"], row["metrics"][column["metric"]]) for row in outcome["rows"] if column["metric"] in row["metrics"]
    ]
    errors = [cell["stderr"] or 0 for _, cell in cells]
    drawn.add_scatter(
        x=[cell["mean"] for _, cell in cells],
        y=[name for name, _ in cells],
        error_x={"array": errors},
        mode="markers",
        name=ours,
        marker={"color": page.BLUE, "size": 11},
    )
    alike = [row for row in outcome["rows"] if column["metric"] in row.get("differences", {})]
    paper = [(row["name"], row["paper"][column["paper"]]) for row in alike]
    if paper:  # one axis compares them, so they are drawn only where they can be compared
        drawn.add_scatter(
            x=[value for _, value in paper],
            y=[name for name, _ in paper],
            mode="markers",
            name=column["paper_title"],
            marker={"color": page.ORANGE, "size": 12, "symbol": "diamond-open", "line": {"width": 2}},
        )
    drawn.update_yaxes(
        autorange="reversed", categoryorder="array", categoryarray=[row["name"] for row in outcome["rows"]]
    )
    page.chart(drawn, "comparison", f"{column['title']} of each row, {ours}" + (" and the paper's" if paper else ""))
    if not paper and any(column["paper"] in row["paper"] for row in outcome["rows"]):
        st.caption("The paper's numbers are not drawn, since its setting is another one. The notes below say which.")


def _exports(outcome: dict) -> None:
    st.subheader("Export")
    for place, (name, (suffix, render, kind)) in zip(st.columns(len(EXPORTS)), EXPORTS.items(), strict=False):
        place.download_button(
            name, render(outcome), f"{outcome['table']}.{suffix}", kind, on_click="ignore", width="stretch"
        )


page.show("Tables", content)
