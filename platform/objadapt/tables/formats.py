"""A table's outcome as text: terminal, Markdown, LaTeX, CSV, JSON. Every function takes the outcome alone, so that a
JSON file read back gives the same texts."""

import csv
import io
import json
import re
from pathlib import Path

from ..files import write_whole
from ..metric import TOP1

SUFFIXES = ("md", "tex", "csv", "json")
_LATEX = {c: "\\" + c for c in "&%$#_{}"} | {"±": r"$\pm$"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
TOY = (
    "toy numbers: Object Actions, a toy data set with a small CLIP of this project;"
    " they say nothing about the paper's data"
)


def write(outcome: dict, folder: Path) -> list[Path]:
    """Write NAME.md, .tex, .csv and .json into a folder; -> the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, text in zip(
        SUFFIXES, (markdown(outcome), latex(outcome), csv_text(outcome), json_text(outcome)), strict=True
    ):
        path = folder / f"{outcome['table']}.{suffix}"
        write_whole(path, text)
        paths.append(path)
    return paths


def json_text(outcome: dict) -> str:
    """The outcome itself."""
    return json.dumps(outcome, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def grid(outcome: dict) -> tuple[list[str], list[list[str]]]:
    """Header and cells: row, for each metric the paper's value, ours, the difference where it means something,
    then status.

    A paper's column is left out where no row has a value, a difference where none of its rows can be compared.
    """
    shown = outcome["columns"]
    header, ours = ["row"], "toy" if outcome["toy"] else "ours"
    for column in shown:
        title = column["title"]
        header += [f"{title}, {column['paper_title']}"] if _papers(outcome, column) else []
        header += [f"{title}, {ours}"] + (["difference"] if _compares(outcome, column) else [])
    lines = []
    for row in outcome["rows"]:
        line = [row["name"]]
        for column in shown:
            cell, paper = row["metrics"].get(column["metric"]), row["paper"].get(column["paper"])
            line += [_reported(paper, column)] if _papers(outcome, column) else []
            line.append("missing" if column["metric"] in row["missing"] else _cell(cell, column))
            if _compares(outcome, column):
                difference = row.get("differences", {}).get(column["metric"])
                line.append("-" if difference is None else f"{difference:+.{column['decimals']}f}")
        lines.append([*line, _one_line(row["status"])])
    return [*header, "status"], lines


def facts(outcome: dict) -> list[str]:
    """Lines below the title: what the numbers are, over which clips, views and seeds."""
    said = [f"source: {outcome['source']}"]
    if outcome["toy"]:
        said.insert(0, TOY)
    seeds = len(outcome["seeds"])
    over = f"mean ± standard error over {seeds} seeds" if seeds > 1 else "one seed, so no standard error"
    said.append(f"data set {outcome['dataset']}; {over}; views (frames x clips x crops) {outcome['views'] or '-'}")
    if outcome.get("errors"):
        said.append(outcome["errors"])
    if setting := outcome.get("setting"):  # absent from tables of earlier versions
        names = {"frames": "T"}
        said.append("; ".join(f"{names.get(name, name)} {_one_or_all(values)}" for name, values in setting.items()))
    chance = "-" if outcome["chance"] is None else TOP1.text(outcome["chance"])
    said.append(f"coverage: {outcome['coverage'] or '-'}; chance {chance}")
    return said


def below(outcome: dict) -> list[str]:
    """Lines below the table: cells that are missing, and why; notes."""
    said = []
    for column in outcome["columns"]:
        reasons = {}
        for row in outcome["rows"]:
            if reason := row["missing"].get(column["metric"]):
                reasons.setdefault(reason, []).append(row["name"])
        for reason, rows in reasons.items():
            which = "" if len(rows) == len(outcome["rows"]) else f" ({', '.join(rows)})"
            said.append(f"missing: {column['title']}{which}: {reason}")
    said += [*_not_compared(outcome), *outcome["notes"]]
    by = [f"{key}: {outcome[key]}" for key in ("command", "commit", "date") if outcome.get(key)]
    return [*said, *by]


def claim_cells(outcome: dict) -> list[list[str]]:
    """[claim, verdict, p, note] of each claim."""
    return [[c["text"], c["verdict"], _p_value(c["p_value"]), c.get("note") or ""] for c in outcome["claims"]]


def terminal(outcome: dict) -> str:
    """For people at a terminal: aligned columns."""
    header, lines = grid(outcome)
    text = [f"\n{_title(outcome)}", *facts(outcome), "", *_aligned([header, *lines])]
    if outcome["claims"]:
        text += ["", *_aligned([["claim", "verdict", "p", ""], *claim_cells(outcome)])]
    return "\n".join([*text, "", *below(outcome)]) + "\n"


def markdown(outcome: dict) -> str:
    """A page: title, facts, table, claims, notes."""
    header, lines = grid(outcome)
    text = [
        f"# {_title(outcome)}",
        "",
        *(f"- {_cell_text(line)}" for line in facts(outcome)),
        "",
        *_pipes(header, lines),
    ]
    if outcome["claims"]:
        text += ["", *_pipes(["claim", "verdict", "p", "note"], claim_cells(outcome), right=())]
    return "\n".join([*text, "", *(f"- {_cell_text(line)}" for line in below(outcome))]) + "\n"


def latex(outcome: dict) -> str:
    """A `table` environment for booktabs; the claims follow as comments."""
    header, lines = grid(outcome)
    rows = [" & ".join(map(_escaped, line)) + r" \\" for line in lines]
    columns = "l" + "r" * (len(header) - 2) + "l"
    caption = ". ".join([_title(outcome), *facts(outcome)])
    text = [
        r"\begin{table}",
        r"\centering",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_escaped, header)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{_escaped(caption)}}}",
        rf"\label{{tab:{outcome['table']}}}",
        r"\end{table}",
    ]
    text += [f"% claim: {' | '.join(cells)}" for cells in claim_cells(outcome)] + [
        f"% {line}" for line in below(outcome)
    ]
    return "\n".join(line.replace("\n", " ") for line in text) + "\n"


def csv_text(outcome: dict) -> str:
    """A line a row of the table.

    Each metric as mean, stderr and n, unrounded, the paper's columns, and differences to them.
    """
    buffer, columns = io.StringIO(), outcome["columns"]
    papers = list(dict.fromkeys(key for row in outcome["rows"] for key in row["paper"]))
    writer = csv.writer(buffer, lineterminator="\n")
    values = [f"{column['metric']}_{part}" for column in columns for part in ("mean", "stderr", "n")]
    compared = [column["metric"] for column in columns if _compares(outcome, column)]
    beside = [*(f"paper_{key}" for key in papers), *(f"{metric}_difference" for metric in compared)]
    writer.writerow(["table", "dataset", "toy", "row", "overrides", *values, *beside, "status"])
    for row in outcome["rows"]:
        cells = [
            row["metrics"].get(column["metric"], {}).get(part) for column in columns for part in ("mean", "stderr", "n")
        ]
        differences = row.get("differences", {})
        numbers = [
            *cells,
            *(row["paper"].get(key) for key in papers),
            *(differences.get(metric) for metric in compared),
        ]
        first = [outcome["table"], outcome["dataset"], outcome["toy"], row["name"], " ".join(row["overrides"])]
        writer.writerow([*first, *("" if one is None else one for one in numbers), row["status"]])
    return buffer.getvalue()


def _title(outcome: dict) -> str:
    return f"{outcome['caption']} ({outcome['table']})" + (": toy numbers" if outcome["toy"] else "")


def _ours(outcome: dict, column: dict) -> bool:
    return any(column["metric"] in row["metrics"] for row in outcome["rows"])


def _papers(outcome: dict, column: dict) -> bool:
    return column["paper"] is not None and any(column["paper"] in row["paper"] for row in outcome["rows"])


def _compares(outcome: dict, column: dict) -> bool:
    return any(column["metric"] in row.get("differences", {}) for row in outcome["rows"])


def _not_compared(outcome: dict) -> list[str]:
    """Why a paper's number stands beside ours without a difference: metrics and rows of one reason together."""
    found: dict[tuple, list[str]] = {}  # (reason, metric's title) -> rows
    for column in outcome["columns"]:
        for row in outcome["rows"]:
            if reason := row.get("incomparable", {}).get(column["metric"]):
                found.setdefault((reason, column["title"]), []).append(row["name"])
    together: dict[tuple, list[str]] = {}
    for (reason, title), rows in found.items():
        together.setdefault((reason, tuple(rows)), []).append(title)
    said = []
    for (reason, rows), titles in together.items():
        which = "" if len(rows) == len(outcome["rows"]) else f" ({', '.join(rows)})"
        said.append(f"for orientation alone, no difference to the paper: {', '.join(titles)}{which}: {reason}")
    return said


def _one_or_all(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"rows differ ({', '.join(values)})"


def _reported(value: float | None, column: dict) -> str:
    return "-" if value is None else f"{value:g}" if column["count"] else f"{value:.{column['decimals']}f}"


def _cell(cell: dict | None, column: dict) -> str:
    if cell is None:
        return "-"
    mean = f"{cell['mean']:.{column['decimals']}f}"
    return mean if column["count"] or cell["stderr"] is None else f"{mean} ± {cell['stderr']:.{column['decimals']}f}"


def _p_value(value: float | None) -> str:
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=False)]
    right = range(1, len(widths) - 1)
    return ["  ".join(_padded(line, widths, right)).rstrip() for line in lines]


def _padded(line: list[str], widths: list[int], right: range | tuple) -> list[str]:
    return [
        cell.rjust(width) if n in right else cell.ljust(width)
        for n, (cell, width) in enumerate(zip(line, widths, strict=False))
    ]


def _pipes(header: list[str], lines: list[list[str]], right: range | tuple | None = None) -> list[str]:
    """A Markdown table; numbers (all but the first and the last column, unless told) are set right."""
    right = range(1, len(header) - 1) if right is None else right
    rows = [[_cell_text(cell) for cell in line] for line in [header, *lines]]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=False)]
    rule = ["-" * (w - 1) + ":" if n in right else "-" * w for n, w in enumerate(widths)]
    first, *others = ["| " + " | ".join(_padded(line, widths, right)) + " |" for line in rows]
    return [first, "| " + " | ".join(rule) + " |", *others]


def _cell_text(text: str) -> str:
    """Markdown: a pipe would end the cell, a line break the row."""
    return _one_line(text).replace("|", r"\|")


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _escaped(text: str) -> str:
    return _one_line("".join(_LATEX.get(character, character) for character in text))
